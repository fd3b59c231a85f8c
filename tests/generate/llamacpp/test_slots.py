"""Who answers next: in order, with the longest shared beginning, never too many in line."""

from __future__ import annotations

import time
from threading import Thread

import pytest

from assay.generate.llamacpp.slots import CacheOrigin, QueueTicket, SlotQueue
from assay.generate.stream import BusyError

BASE = CacheOrigin(None)


def _take(slots: SlotQueue, adapter: str | None, tokens: list[int], owner: str = "") -> int:
    origin = CacheOrigin(adapter, owner)
    slot = slots.acquire(origin, tokens, QueueTicket())
    assert slot is not None
    slot.origin, slot.tokens = origin, tokens
    slots.release(slot)
    return slot.number


def test_a_request_gets_the_slot_that_knows_most_of_its_prompt_under_its_adapter() -> None:
    slots = SlotQueue(3, 4)
    first = _take(slots, None, [1, 2, 3, 4])
    other = _take(slots, "a", [1, 2, 3, 4])
    assert first != other
    assert _take(slots, None, [1, 2, 9]) == first
    assert _take(slots, "a", [1, 2, 3]) == other
    assert _take(slots, "b", [1, 2, 3]) not in (first, other)


def test_requests_are_served_in_the_order_they_came_and_may_leave_the_line() -> None:
    slots = SlotQueue(1, 8)
    held = slots.acquire(BASE, [1], QueueTicket())
    assert held is not None
    order: list[str] = []
    tickets = {name: QueueTicket() for name in "abc"}

    def wait(name: str) -> None:
        slot = slots.acquire(BASE, [1], tickets[name])
        if slot is not None:
            order.append(name)
            slots.release(slot)

    threads = []
    for place, name in enumerate("abc", 1):
        threads.append(Thread(target=wait, args=(name,)))
        threads[-1].start()
        while slots.waiting < place:
            time.sleep(0.001)
    slots.cancel(tickets["b"])
    slots.release(held)
    for thread in threads:
        thread.join(5)
    assert order == ["a", "c"]
    assert slots.busy == slots.waiting == 0


def test_one_too_many_is_sent_away_with_a_time() -> None:
    slots = SlotQueue(1, 0)
    held = slots.acquire(BASE, [1], QueueTicket())
    with pytest.raises(BusyError) as refused:
        slots.acquire(BASE, [1], QueueTicket())
    assert refused.value.retry_after_s >= 1
    assert held is not None
    slots.release(held)
    assert slots.acquire(BASE, [1], QueueTicket()) is held
