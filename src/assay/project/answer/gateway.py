"""What an answer costs, and whom: the one place that every answer to anybody passes.

    path, most = lay_out(workspace, served, messages, tools, options, payer)
    account = Account(workspace, payer, served.name, routes, reserved)
    ...; account.settle(whole=True)

The most that it may cost is set aside before it is asked for, where the payer has a budget; what
providers' models have answered is in the usage log when it has ended, whatever has become of it.
Whether the project has agreed that it leaves this machine is asked where a provider's engine is
found (`assay.agent.engines`), so that no caller can go past it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from assay.accounts.costs import bounded, has_budget, is_remote, most_usd
from assay.accounts.keys import STUDIO
from assay.accounts.reservations import Reserved
from assay.agent.answering import EngineCall, GenerationOptions, Routed, Target, ask
from assay.errors import AssayError
from assay.example import Message
from assay.generate.stream import End, EnginePool, Piece
from assay.project.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose budget and whose lines of the usage log they are.

    Attributes:
        key: id of the API key, or `STUDIO`.
        budgeted: what it may spend is limited.
    """

    project: str
    key: str
    budgeted: bool


def studio(workspace: Workspace) -> Payer:
    """Whoever asks in the studio: they share a budget (`assay keys budget studio`)."""
    return Payer(workspace.name, STUDIO, has_budget(workspace.store, STUDIO))


def lay_out(
    workspace: Workspace,
    served: Target,
    messages: Sequence[Message],
    tools: Sequence[dict[str, Any]],
    options: GenerationOptions,
    payer: Payer,
    *,
    labels: frozenset[str] | None = None,
    count: int = 1,
) -> tuple[tuple[EngineCall, ...], float | None]:
    """The calls that an answer may take, and the USD to set aside for them; None: nothing.

    Args:
        labels: of the documents that are seen; None: all.
        count: answers wanted.

    Raises:
        BudgetError: the payer has a budget, and a price is not known. More as `ask`.
    """
    path = ask(served, messages, tools, options, workspace.store, payer.project, labels)
    if not payer.budgeted:
        return path, None
    chains = [workspace.chain(asked.model) for asked in path]
    if not any(is_remote(name) for chain in chains for name in chain):
        return path, None
    path = tuple(map(bounded, path))
    return path, most_usd(workspace.providers, chains, path, count)


class Account:
    """Of one request.

    Args:
        name: as it was asked for.
        routes: the streams of its answers, where they may ask providers' models.
        reserved: for them.
    """

    def __init__(
        self,
        workspace: Workspace,
        payer: Payer,
        name: str,
        routes: Sequence[Routed],
        reserved: Reserved | None,
    ) -> None:
        self._workspace, self._payer, self._name = workspace, payer, name
        self._routes, self._reserved = tuple(routes), reserved
        self._began, self._settled = time.perf_counter(), Lock()

    def settle(self, *, whole: bool) -> None:
        """Write down, once, what providers' models have answered, and settle what was reserved.

        May be called from any thread; the first call counts.

        Args:
            whole: no call beyond those that have ended can have cost anything.
        """
        if not self._settled.acquire(blocking=False):
            return
        self._workspace.usage.add(
            self._payer.project,
            self._payer.key,
            self._name,
            [end for route in self._routes for end in route.answered],
            time.perf_counter() - self._began,
            self._reserved,
            whole=whole,
        )


class PaidAnswer(Iterator[Piece | End]):
    """The stream of one answer, accounted for when it ends, fails or is closed.

    Nothing is asked, or set aside, before the first piece is. `close` may be called from any
    thread.

    Attributes:
        asked: see `Routed`.
    """

    def __init__(
        self,
        workspace: Workspace,
        engines: EnginePool,
        served: Target,
        messages: Sequence[Message],
        options: GenerationOptions,
        payer: Payer,
    ) -> None:
        path, self._most = lay_out(workspace, served, messages, (), options, payer)
        self._workspace, self._payer, self._name = workspace, payer, served.name
        self._route = Routed(engines.engine, path)
        self._account: Account | None = None
        self._begun = self._ended = self._closed = False

    @property
    def asked(self) -> EngineCall:
        """See `Routed`."""
        return self._route.asked

    def __next__(self) -> Piece | End:
        if self._closed:  # before anything was set aside, perhaps
            raise StopIteration
        if self._account is None:
            usage, key = self._workspace.usage, self._payer.key
            reserved = None if self._most is None else usage.reserve(key, self._most)
            routes = [self._route]
            self._account = Account(self._workspace, self._payer, self._name, routes, reserved)
        try:
            item = next(self._route)
        except StopIteration:
            self._account.settle(whole=self._ended)  # without an end it was cut, and paid for
            raise
        except BaseException as error:
            free = isinstance(error, AssayError) and not error.charged and not self._begun
            self._account.settle(whole=free)
            raise
        self._begun, self._ended = True, isinstance(item, End)
        return item

    def close(self) -> None:
        """Nobody reads on."""
        self._closed = True
        self._route.close()
        if self._account is not None:
            self._account.settle(whole=False)
