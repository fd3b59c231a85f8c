"""What the answers to one request cost: bounded before the first call, settled after the last.

charge = Charge(usage, caller, "support", calls, chains, count)
...: make charge.calls, if charge.reserve()
charge.settle(ends, is_complete=True)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock

from assay.accounts.costs import MAX_TOKENS, most_usd, price_request
from assay.accounts.keys import Caller
from assay.accounts.reservations import Reservation
from assay.accounts.usage import UsageLog
from assay.agent.answering import EngineCall
from assay.config import is_remote
from assay.generate.stream import End


class Charge:
    """The cost of a request: set aside once, before the first call; settled once, when nothing
    comes any more of any answer. All methods may be called from any thread.

    Args:
        name: that was asked for.
        calls: that an answer may take.
        chains: for each of them the models of which one will answer; asked for only where the
            caller has a budget.
        count: of the answers.
        share: of the price, see `PriceList`.
        reserved: was set aside for this request before; None: nothing was.

    Attributes:
        calls: to be made in place of those that were given: with a budget their cost has a bound.

    Raises:
        BudgetError: the caller has a budget, and a price is not known.
    """

    def __init__(
        self,
        usage: UsageLog,
        caller: Caller,
        name: str,
        calls: Sequence[EngineCall],
        chains: Sequence[Sequence[str]] = (),
        count: int = 1,
        *,
        share: float = 1.0,
        reserved: Reservation | None = None,
    ) -> None:
        self.calls = tuple(calls)
        self._usage, self._caller, self._name = usage, caller, name
        self._prices = usage.list_prices(share)
        self._most_usd: float | None = None
        if any(is_remote(model) for chain in chains for model in chain):
            self.calls = tuple(call.bound(MAX_TOKENS) for call in calls)
            self._most_usd = most_usd(self._prices, chains, self.calls, count)
        self._started_at = time.perf_counter()
        self._reserved = reserved
        self._is_settled = False
        self._settling = Lock()

    def reserve(self) -> bool:
        """Set aside what the answers may cost; whether anybody still waits for them.

        Raises:
            BudgetError: the budget does not allow it.
        """
        if self._most_usd is None:
            return self._hold(self._reserved)
        usage, key = self._usage, self._caller.key_id
        reserved = usage.take(key, self._most_usd) or usage.reserve(key, self._most_usd)
        is_held = self._hold(reserved)
        if not is_held:  # it was closed meanwhile, and nothing was asked
            self._add_usage((), reserved, is_complete=True)
        return is_held

    def _hold(self, reserved: Reservation | None) -> bool:
        with self._settling:
            if not self._is_settled:
                self._reserved = reserved
            return not self._is_settled

    @property
    def reserved(self) -> Reservation | None:
        """What is set aside; None: nothing is."""
        return self._reserved

    def settle(self, ends: Sequence[End], *, is_complete: bool) -> bool:
        """Write down what providers' models have answered, and settle what was reserved.

        Args:
            ends: of all calls that have one.
            is_complete: no call beyond these can have cost anything.

        Returns:
            Whether this was the first call, the only one that counts.
        """
        with self._settling:
            if self._is_settled:
                return False
            self._is_settled = True
        self._add_usage(ends, self._reserved, is_complete=is_complete)
        return True

    def cost_usd(
        self, machine_hour_usd: float | None, ends: Sequence[End], seconds: float
    ) -> float | None:
        """What the request has cost, see `costs.price_request`."""
        return price_request(self._prices, machine_hour_usd, ends, seconds)

    def _add_usage(
        self, ends: Sequence[End], reserved: Reservation | None, *, is_complete: bool
    ) -> None:
        self._usage.add(
            self._caller.project,
            self._caller.key_id,
            self._name,
            ends,
            time.perf_counter() - self._started_at,
            reserved,
            prices=self._prices,
            is_complete=is_complete,
        )
