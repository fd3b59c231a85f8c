"""What was used at providers, written down a fraction of a second later: no answer waits for it.

The same transaction settles what was set aside for a request, see `assay.accounts.reservations`: a
budget knows of every line of the log, once. Where the database cannot be written, the lines are
tried again, and the budget counts them at the most that they can have cost; so it does with what is
not written when the process is killed, which is in no line.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert

from assay.accounts import leases
from assay.accounts.costs import BudgetError, cost_of, costs, units
from assay.accounts.reservations import Reservation, Reservations, Settlement
from assay.agent.prices import PriceList
from assay.agent.providers import Providers
from assay.errors import StoreError
from assay.generate.stream import End
from assay.store.store import Store
from assay.store.tables import UsageRow

_BATCH, _PAUSE_S = 500, 0.25
_LATE = 20 * _BATCH  # lines that are kept while the database cannot be written
LOOK_S = 1.0
"""Between two looks at what this process holds of budgets."""
log = logging.getLogger("assay.spending")


@dataclass(frozen=True, slots=True)
class UsageEntry:
    """A request that has ended: the calls of providers' models that it took, and its cost."""

    project: str
    key: str
    name: str
    ends: tuple[End, ...]
    seconds: float
    prices: PriceList
    spent: Settlement | None = None


class UsageLog:
    """The log of one process, and what it holds of budgets."""

    def __init__(self, store: Store, providers: Providers) -> None:
        self._store, self._providers = store, providers
        self._reservations = Reservations(store)
        self._waiting: queue.SimpleQueue[UsageEntry | threading.Event] = queue.SimpleQueue()
        self._late: list[dict[str, Any]] = []  # rows of the writing thread, to be tried again
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def take(self, key: str, usd: float) -> Reservation | None:
        """Set money aside without the database; None: `reserve` must be asked."""
        return self._reservations.take(key, units(usd))

    def reserve(self, key: str, usd: float) -> Reservation:
        """Set money aside.

        Raises:
            BudgetError: it is not there.
        """
        reserved = self._reservations.lease(key, units(usd))
        if reserved is None:
            error = BudgetError(
                f"this key's budget does not allow a request that may cost {usd:.6f} USD.",
                fix="Ask for fewer tokens, or have the budget raised.",
            )
            error.is_passing = units(usd) <= leases.unspent(self._store, key)
            raise error
        self._start()
        return reserved

    def add(
        self,
        project: str,
        key: str,
        name: str,
        ends: Sequence[End],
        seconds: float,
        reserved: Reservation | None = None,
        *,
        prices: PriceList | None = None,
        is_complete: bool = True,
    ) -> None:
        """A request has ended.

        Args:
            name: as it was asked for.
            ends: of all calls that were answered; only those of providers' models are written down.
            prices: by which the money was set aside; None: those of now.
            is_complete: nothing beyond these calls can have cost anything.
        """
        prices, spent = prices or self.list_prices(), None
        if reserved is not None:
            usd = costs(prices, ends) if is_complete else None
            spent = self._reservations.end(reserved, None if usd is None else units(usd))
        paid = tuple(end for end in ends if end.model is not None)
        if paid or (spent is not None and spent.cost):
            self._waiting.put(UsageEntry(project, key, name, paid, seconds, prices, spent))
            self._start()

    def list_prices(self, share: float = 1.0) -> PriceList:
        """Prices of the project's providers, as they are from now on; `share` of them is paid."""
        return PriceList(self._providers, share)

    def flush(self) -> None:
        """Return when all that was added is written."""
        if self._thread is not None:
            done = threading.Event()
            self._waiting.put(done)
            done.wait(10)

    def close(self) -> None:
        """Write all, and give back what no request under way needs of budgets."""
        self.flush()
        try:
            self._reservations.give_back()
        except Exception as error:
            log.error("reserved budget will be released later", exc_info=error)

    def _start(self) -> None:
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._work, name="assay-usage", daemon=True
                    )
                    self._thread.start()

    def _work(self) -> None:
        looked = time.monotonic()
        while True:
            items = self._next()
            try:
                self._write([item for item in items if isinstance(item, UsageEntry)])
            except Exception as error:
                log.error("usage could not be recorded", exc_info=error)
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()
            if time.monotonic() - looked >= LOOK_S:
                looked = time.monotonic()
                try:
                    self._reservations.look()
                except Exception as error:
                    log.error("budgets could not be read", exc_info=error)

    def _next(self) -> list[UsageEntry | threading.Event]:
        try:
            items = [self._waiting.get(timeout=LOOK_S)]
        except queue.Empty:
            return []
        if isinstance(items[0], UsageEntry):
            time.sleep(_PAUSE_S)
        while len(items) < _BATCH:
            try:
                items.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return items

    def _write(self, used: Sequence[UsageEntry]) -> None:
        rows = self._late + [self._row(one, end) for one in used for end in one.ends]
        spent = [one.spent for one in used if one.spent is not None]
        self._late = []
        if not rows and not spent:
            return
        ending = False
        try:
            with (
                self._reservations.settling(spent) as settle,
                self._store.engine.begin() as connection,
            ):
                if rows:
                    connection.execute(insert(UsageRow), rows)
                settle(connection)
                ending = True
        except StoreError:
            if not ending:  # nothing of it is there: the database was busy, or away
                self._late = rows[-_LATE:]
            raise

    @staticmethod
    def _row(used: UsageEntry, end: End) -> dict[str, Any]:
        usd = cost_of(used.prices, end)
        return {
            "project": used.project,
            "key": used.key,
            "name": used.name,
            "model": end.model,
            "prompt": end.prompt_tokens,
            "cached": end.cached_tokens,
            "completion": end.completion_tokens,
            "reasoning": end.reasoning_tokens,
            "cost": None if usd is None else units(usd),
            "seconds": used.seconds,
        }
