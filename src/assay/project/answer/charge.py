"""What the answers to one request cost: reserved before the first call, settled after the last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock

from assay.accounts.keys import Caller
from assay.accounts.reservations import Reservation
from assay.agent.answering import RouteStream
from assay.project.workspace import Workspace


class Charge:
    """The cost of a request: set aside once, before the first call; settled once, when nothing
    comes any more of any answer. All methods may be called from any thread.

    Args:
        name: that was asked for.
        routes: whose calls cost something.
        most_usd: that they may cost together; None: nothing is set aside.
    """

    def __init__(
        self,
        workspace: Workspace,
        caller: Caller,
        name: str,
        routes: Sequence[RouteStream],
        most_usd: float | None,
    ) -> None:
        self._workspace, self._caller, self._name = workspace, caller, name
        self._routes, self._most_usd = tuple(routes), most_usd
        self._started_at = time.perf_counter()
        self._over: dict[RouteStream, bool] = {}
        self._reserved: Reservation | None = None
        self._is_reserved = self._is_settled = False
        self._reserving, self._settling = Lock(), Lock()

    def reserve(self) -> bool:
        """Set aside, once, what the answers may cost; whether anybody still waits for them.

        Raises:
            BudgetError: the budget does not allow it.
        """
        with self._reserving:
            if not self._is_reserved and self._most_usd is not None:
                try:
                    self._set_aside(self._most_usd)
                except BaseException:  # none of the answers may be asked for
                    self.settle(is_complete=True)
                    raise
            self._is_reserved = True
        return not self._is_settled

    def _set_aside(self, usd: float) -> None:
        if self._is_settled:
            return
        usage, key = self._workspace.usage, self._caller.key_id
        reserved = usage.take(key, usd) or usage.reserve(key, usd)
        if not self._hold(reserved):  # it was closed meanwhile, and nothing was asked
            self._add_usage(reserved, is_complete=True)

    def _hold(self, reserved: Reservation) -> bool:
        with self._settling:
            if not self._is_settled:
                self._reserved = reserved
            return not self._is_settled

    def finish(self, route: RouteStream, *, is_complete: bool) -> None:
        """Nothing comes any more of one answer; with the last one, settle.

        Args:
            is_complete: its calls have ended, or cost nothing.
        """
        self._over[route] = is_complete
        if len(self._over) == len(self._routes):
            self.settle(is_complete=all(self._over.values()))

    def settle(self, *, is_complete: bool) -> None:
        """Write down, once, what providers' models have answered, and settle what was reserved.

        The first call counts.

        Args:
            is_complete: no call beyond those that have ended can have cost anything.
        """
        with self._settling:
            if self._is_settled:
                return
            self._is_settled = True
            reserved = self._reserved
        self._add_usage(reserved, is_complete=is_complete)

    def _add_usage(self, reserved: Reservation | None, *, is_complete: bool) -> None:
        self._workspace.usage.add(
            self._caller.project,
            self._caller.key_id,
            self._name,
            [end for route in self._routes for end in route.ends],
            time.perf_counter() - self._started_at,
            reserved,
            is_complete=is_complete,
        )
