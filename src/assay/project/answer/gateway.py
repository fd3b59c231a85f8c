"""The one gateway: every answer that is given to anybody is opened here.

    gateway = Gateway(workspace, engines)
    answering = gateway.open(caller, "support", Conversation(messages), options)
    for item in answering.streams()[0]: ...         # pieces, an end, a receipt

When the first stream is read the name is resolved, the calls are laid out, and the most that they
may cost is set aside, where the caller has a budget. What providers' models have answered is in
the usage log when all has ended, whatever has become of it. Whether the project has agreed that a
request leaves this machine is asked where a provider's engine is found (`assay.agent.engines`), so
that no caller can go past it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from assay.accounts.charge import Charge
from assay.accounts.costs import has_budget
from assay.accounts.keys import STUDIO, Caller
from assay.agent.answering import (
    EngineCall,
    GenerationOptions,
    RouteStream,
    ServedExchange,
    Target,
    prepare,
    sampling_of,
)
from assay.errors import ConfigError, UsageError
from assay.example import Message
from assay.generate.constrained import check_schema
from assay.generate.stream import EnginePool
from assay.project.answer.answering import Answering, Conversation, Preparation
from assay.project.answer.names import resolve
from assay.project.workspace import Workspace

log = logging.getLogger("assay.serve")


class SchemaError(UsageError):
    """The schema that an answer is to follow cannot be enforced."""


class NotConversationError(UsageError):
    """A text cannot be continued as it is by what answers conversations."""


def studio_caller(workspace: Workspace) -> Caller:
    """Whoever asks in the studio: they share a budget (`assay keys budget studio`)."""
    budgeted = has_budget(workspace.store, STUDIO)
    return Caller(STUDIO, workspace.name, ("chat",), budgeted)


class Gateway:
    """Opens answers of a workspace.

    Args:
        engines: that give them, see `Workspace.engines`.
    """

    def __init__(self, workspace: Workspace, engines: EnginePool) -> None:
        self._workspace, self._engines = workspace, engines

    def resolve(self, caller: Caller, name: str) -> Target:
        """What answers for a name, see `names.resolve`."""
        return resolve(self._workspace, name, caller.project, caller.key_id)

    def open(
        self,
        caller: Caller,
        name: str | Target,
        conversation: Conversation,
        options: GenerationOptions,
        count: int = 1,
        id: str | None = None,
    ) -> Answering:
        """Answers to a conversation. Nothing is done before one of their streams is read.

        Args:
            name: or what it stands for.
            count: of the answers; each has a seed of its own.
            id: what the client knows the answers by; None: no trace is kept.

        Raises, when it is read:
            UnknownModelError: there is no such name.
            SchemaError: the options' schema cannot be enforced.
            BudgetError: the caller's budget does not allow it, or a price is not known. More as
                `agent.answering.prepare` and engines.
        """
        lay_out = partial(self._lay_out, caller, name, conversation, options, count)
        return Answering(lay_out, conversation, caller, count=count, id=id)

    def complete(
        self,
        caller: Caller,
        name: str,
        prompts: Sequence[str | Sequence[int]],
        options: GenerationOptions,
        count: int = 1,
        id: str | None = None,
    ) -> Answering:
        """Continuations of texts or token ids, `count` of each. Providers give none.

        Raises, when it is read:
            UnknownModelError: there is no such name.
            NotConversationError: it stands for an agent.
        """
        lay_out = partial(self._lay_out_prompts, caller, name, prompts, options, count)
        turns = [Message("user", prompt) for prompt in prompts if isinstance(prompt, str)]
        conversation, many = Conversation(turns), len(prompts)
        return Answering(lay_out, conversation, caller, count=count, prompts=many, id=id)

    def _lay_out(
        self,
        caller: Caller,
        name: str | Target,
        conversation: Conversation,
        options: GenerationOptions,
        count: int,
    ) -> Preparation:
        workspace = self._workspace
        target = self.resolve(caller, name) if isinstance(name, str) else name
        if options.schema is not None:
            try:
                check_schema(options.schema)
            except ConfigError as error:
                raise SchemaError(error.what) from None
        messages, tools = conversation.messages, conversation.tools
        store, project = workspace.store, caller.project
        calls = prepare(target, messages, tools, options, store, project, caller.labels)
        return self._ask(caller, target, calls, count)

    def _ask(
        self, caller: Caller, target: Target, calls: Sequence[EngineCall], count: int
    ) -> Preparation:
        """What is asked for answers that each take these calls."""
        workspace = self._workspace
        chains = [workspace.chain(call.model) for call in calls] if caller.budgeted else ()
        charge = Charge(workspace.usage, caller, target.name, calls, chains, count)
        paths = zip(*(call.repeat(count) for call in charge.calls), strict=True)
        routes = [RouteStream(self._engines.engine, path) for path in paths]
        return self._preparation(target, routes, charge)

    def _lay_out_prompts(
        self,
        caller: Caller,
        name: str,
        prompts: Sequence[str | Sequence[int]],
        options: GenerationOptions,
        count: int,
    ) -> Preparation:
        target = self.resolve(caller, name)
        if target.agent is not None:
            raise NotConversationError(f"{name} answers conversations.")
        sampling = sampling_of(options, caller.project)
        calls = [EngineCall((), (), sampling, target.model, prompt=prompt) for prompt in prompts]
        find = self._engines.engine
        routes = [RouteStream(find, [one]) for call in calls for one in call.repeat(count)]
        charge = Charge(self._workspace.usage, caller, target.name, calls)
        return self._preparation(target, routes, charge)

    def _preparation(
        self, target: Target, routes: Sequence[RouteStream], charge: Charge
    ) -> Preparation:
        watchers = self._workspace.watching(target)
        if not watchers:
            return Preparation(target, routes, charge)
        hour = self._workspace.machine_hour_usd
        return Preparation(target, routes, charge, hour, partial(_trace, watchers))


def _trace(watchers: Sequence[Callable[[ServedExchange], None]], exchange: ServedExchange) -> None:
    """Tell those who keep traces; that they cannot write takes no answer from its client."""
    for watch in watchers:
        try:
            watch(exchange)
        except Exception as error:
            log.error("the trace of %s could not be saved", exchange.id, exc_info=error)
