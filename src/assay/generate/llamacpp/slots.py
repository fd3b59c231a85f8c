"""Who answers next: the slots of a llama.cpp server, and the line of those who wait for one.

A slot keeps the keys and values of what it computed last. A request gets the free slot that holds
the longest beginning of its prompt under the same adapter and for the same owner; what was computed
under another adapter (see `server`) or for another owner (see `Sampling.owner`) is never reused.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Condition
from typing import NamedTuple

from assay.generate.stream import BusyError
from assay.quantities import say_count


class CacheOrigin(NamedTuple):
    """Where keys and values come from: the adapter that made them (None: the base alone), and the
    owner for whom."""

    adapter: str | None
    owner: str = ""


@dataclass(slots=True)
class Slot:
    """One place in the batch.

    Attributes:
        origin: of the keys and values of `tokens`; None: there are none yet.
        tokens: the last prompt.
        used: when it was taken last (monotonic seconds).
    """

    number: int
    origin: CacheOrigin | None = None
    tokens: Sequence[int] = ()
    used: float = 0.0
    busy: bool = False


class QueueTicket:
    """A place in the line; `cancelled` is set by whoever gives it up."""

    def __init__(self) -> None:
        self.cancelled = False


class SlotQueue:
    """Slots given out in the order of asking.

    Args:
        count: answers made at the same time.
        waiting: most that may wait; one more is sent away.
    """

    def __init__(self, count: int, waiting: int) -> None:
        self._slots = [Slot(number) for number in range(count)]
        self._most = waiting
        self._queue: deque[QueueTicket] = deque()
        self._changed = Condition()
        self._seconds = 1.0  # that an answer takes, a moving mean

    def acquire(
        self, origin: CacheOrigin, tokens: Sequence[int], ticket: QueueTicket
    ) -> Slot | None:
        """Wait for a slot; None when the ticket was cancelled meanwhile.

        Raises:
            BusyError: too many wait already.
        """
        with self._changed:
            if (self._queue or not self._free()) and len(self._queue) >= self._most:
                wait = self._seconds * (len(self._queue) + 1) / len(self._slots)
                raise BusyError(
                    f"{say_count(len(self._queue), 'request is', 'requests are')} already waiting.",
                    retry_after_s=max(1.0, wait),
                )
            self._queue.append(ticket)
            try:
                self._changed.wait_for(
                    lambda: ticket.cancelled or (self._queue[0] is ticket and self._free())
                )
                if ticket.cancelled:
                    return None
                slot = max(self._free(), key=lambda s: _reuse(s, origin, tokens))
                slot.busy, slot.used = True, time.monotonic()
                return slot
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def release(self, slot: Slot) -> None:
        """Free a slot for the next in the queue."""
        with self._changed:
            slot.busy = False
            self._seconds += 0.2 * (time.monotonic() - slot.used - self._seconds)
            self._changed.notify_all()

    def cancel(self, ticket: QueueTicket) -> None:
        """Mark a ticket as cancelled: its `acquire` returns None."""
        with self._changed:
            ticket.cancelled = True
            self._changed.notify_all()

    @property
    def busy(self) -> int:
        """Number of slots that are answering now."""
        with self._changed:
            return sum(slot.busy for slot in self._slots)

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a slot."""
        with self._changed:
            return len(self._queue)

    def _free(self) -> list[Slot]:
        return [slot for slot in self._slots if not slot.busy]


def _reuse(slot: Slot, origin: CacheOrigin, tokens: Sequence[int]) -> tuple[int, float]:
    """The tokens that need not be computed again; else what was used longest ago."""
    if slot.origin != origin:
        return 0, -slot.used
    shared = 0
    for ours, theirs in zip(slot.tokens, tokens, strict=False):
        if ours != theirs:
            break
        shared += 1
    return shared, -slot.used
