"""Lines of a batch of the API that go to a provider's own batches: put off, and answered later.

    line = OutgoingLine(workspace, engines)         # a gateway
    ...: line.request                               # None: it was answered at once

    AnsweredLine(workspace, engine, agent, reply, held)     # a gateway, once the reply is there

A line goes through the gateway twice, with all that a request goes through: before it is sent, when
what it may cost is set aside, and with its reply, when what it did cost is written down. Both times
the price is that of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from assay.accounts.charge import Charge
from assay.accounts.keys import Caller
from assay.accounts.reservations import Reservation
from assay.agent.answering import EngineCall, RouteStream, Target
from assay.agent.versions import load_agent
from assay.config import REMOTE, is_remote, split_reference
from assay.errors import UsageError
from assay.generate.remote.batch_endpoint import PRICE_SHARE
from assay.generate.remote.stream import RemoteStreamEngine, RepliedEngine
from assay.generate.remote.wire import CompletionRequest
from assay.generate.stream import EnginePool, StreamEngine
from assay.project.answer.answering import Preparation
from assay.project.answer.gateway import Gateway
from assay.project.answer.names import UnknownModelError
from assay.project.workspace import Workspace


class PutOffError(UsageError):
    """The request goes to its provider together with others; nobody is told of this."""


class OutgoingLine(Gateway):
    """Opens the answer to one line, unless it goes to its provider together with others: then what
    the budget must bear is set aside, and nothing is asked.

    Args:
        is_stored: its answer is to be kept, as a completion that can be listed.
        can_wait: whoever asks has agreed to wait for up to a day.

    Attributes:
        engine, request: whom it asks, and what; None: it is answered at once.
        agent: id of the one that asks; "": none does.
        reserved: what is set aside; None: the caller has no budget.
        reason: why it is answered at once though its provider's batches are to be asked.
    """

    def __init__(
        self,
        workspace: Workspace,
        engines: EnginePool,
        *,
        is_stored: bool = False,
        can_wait: bool = True,
    ) -> None:
        super().__init__(workspace, engines)
        self._is_stored, self._can_wait = is_stored, can_wait
        self.engine: RemoteStreamEngine | None = None
        self.request: CompletionRequest | None = None
        self.agent = ""
        self.reserved: Reservation | None = None
        self.reason: str | None = None
        self._charge: Charge | None = None
        self._is_left = False

    def leave(self) -> None:
        """It goes to nobody: nothing stays set aside for it, now or when it is about to be. May be
        called from any thread."""
        self._is_left = True
        if self._charge is not None:
            self._charge.settle((), is_complete=True)

    @property
    def model(self) -> str | None:
        """Whom it asks together with others; None: it was answered at once."""
        return None if self.engine is None else self.engine.remote.reference

    def _ask(
        self, caller: Caller, target: Target, calls: Sequence[EngineCall], count: int
    ) -> Preparation:
        workspace = self._workspace
        if not any(map(self._has_batches, calls)):
            return super()._ask(caller, target, calls, count)
        chains = [workspace.chain(call.model) for call in calls]
        self.reason = _reason_for_single(calls, chains, count)
        if self.reason is None and self._is_stored:
            self.reason = "its completion is to be kept (`store: true`)"
        if self.reason is None and workspace.store.bucket is not None:
            self.reason = "the state is in a bucket, where another server cannot find a batch again"
        engine = None if self.reason is not None else self._engines.engine(calls[0].model)
        if not isinstance(engine, RemoteStreamEngine):
            return super()._ask(caller, target, calls, count)
        kept = chains if caller.budgeted else ()
        charge = Charge(workspace.usage, caller, target.name, calls, kept, share=PRICE_SHARE)
        [call] = charge.calls
        request = engine.request(call.messages, call.tools, call.sampling)
        engine.key()
        self._charge = charge
        if self._is_left:  # before there was a charge; whoever leaves it from now on settles that
            self.leave()
        charge.reserve()
        self.engine, self.request, self.reserved = engine, request, charge.reserved
        self.agent = "" if target.agent is None else target.agent.id
        raise PutOffError("this request goes to its provider together with others.")

    def _has_batches(self, call: EngineCall) -> bool:
        if not is_remote(call.model):
            return False
        provider = self._workspace.providers.get(split_reference(call.model)[0])
        return provider is not None and provider.asks_batches(can_wait=self._can_wait)


class AnsweredLine(Gateway):
    """Opens the answer to one line whose reply is there, whatever its model's name stands for by
    now.

    Args:
        engine: has the reply, of the provider's batch.
        model: that has given it.
        agent: that has asked, see `OutgoingLine`.
        held: gives, once, what was set aside for it; None: nothing is now.
    """

    def __init__(
        self,
        workspace: Workspace,
        engine: RepliedEngine,
        model: str,
        agent: str,
        held: Callable[[], Reservation | None],
    ) -> None:
        super().__init__(workspace, _OneEngine(engine))
        self._model, self._agent, self._held = model, agent, held

    def resolve(self, caller: Caller, name: str) -> Target:
        """Who has answered, whatever the name stands for by now."""
        try:
            target = super().resolve(caller, name)
        except UnknownModelError:
            provider, _ = split_reference(self._model)
            target = Target(name, self._model, known_as=f"{REMOTE}{provider}/other")
        if ("" if target.agent is None else target.agent.id) == self._agent:
            return target
        agent = load_agent(self._workspace.store, self._agent) if self._agent else None
        return replace(target, model=self._model, agent=agent)

    def _ask(
        self, caller: Caller, target: Target, calls: Sequence[EngineCall], count: int
    ) -> Preparation:
        usage, held = self._workspace.usage, self._held()
        charge = Charge(usage, caller, target.name, calls, share=PRICE_SHARE, reserved=held)
        routes = [RouteStream(self._engines.engine, calls[:1])]
        return replace(self._preparation(target, routes, charge), is_live=False)


class _OneEngine:
    """An `EnginePool` of one engine."""

    def __init__(self, engine: StreamEngine) -> None:
        self._engine = engine

    def engine(self, model: str) -> StreamEngine:
        """It, whatever the model."""
        return self._engine

    def close(self) -> None:
        """Nothing is held."""


def _reason_for_single(
    calls: Sequence[EngineCall], chains: Sequence[Sequence[str]], count: int
) -> str | None:
    """Why a request cannot be one of a batch."""
    if len(calls) > 1:
        return "its agent may ask several models for an answer"
    if count > 1:
        return "it asks for several answers"
    if len(chains[0]) > 1:
        return "other models answer in its model's place while that fails"
    if calls[0].sampling.logprobs is not None or calls[0].sampling.confidence:
        return "it asks for log-probabilities, which are read from streams"
    return None
