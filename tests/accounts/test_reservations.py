"""A process's own part of a budget: when the database is asked, and what goes back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tests.accounts.passing_time import Clock

from assay.accounts import leases
from assay.accounts.costs import set_budget
from assay.accounts.keys import create_key
from assay.accounts.leases import LASTS
from assay.accounts.reservations import IDLE_S, Reservations
from assay.store.store import Store
from assay.store.tables import BudgetRow

MOST = 1_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def clock(store: Store) -> Clock:
    return Clock(store)


@pytest.fixture
def key(store: Store) -> str:
    made, _ = create_key(store, "p", "k", ["chat"])
    set_budget(store, made.id, MOST / 1e9)
    return made.id


def budget(store: Store, key: str) -> tuple[int, int]:
    """Spent and reserved."""
    with store.session() as session:
        row = session.get_one(BudgetRow, key)
        return row.spent, row.reserved


def ended(reservations: Reservations, store: Store, *spent: object) -> None:
    with reservations.settling(spent) as settle, store.engine.begin() as connection:  # type: ignore[arg-type]
        settle(connection)


def test_the_database_is_asked_once_for_many_requests(
    store: Store, key: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Reservations(store, clock)
    assert mine.take(key, 1000) is None
    first = mine.lease(key, 1000)
    assert first is not None
    assert budget(store, key) == (0, MOST // leases.SHARE)
    monkeypatch.setattr(store, "engine", None)
    spent = [mine.end(first, 10)]
    for _ in range(50):
        held = mine.take(key, 1000)
        assert held is not None
        spent.append(mine.end(held, 10))
    monkeypatch.undo()
    ended(mine, store, *spent)
    assert budget(store, key) == (510, MOST // leases.SHARE - 510)


def test_at_the_end_of_a_budget_requests_lease_what_they_need_and_give_back_the_rest(
    store: Store, key: str, clock: Clock
) -> None:
    mine, other = Reservations(store, clock), Reservations(store, clock)
    held = mine.lease(key, 600_000)
    assert held is not None
    assert budget(store, key) == (0, 600_000)
    assert other.lease(key, 500_000) is None
    ended(mine, store, mine.end(held, 100_000))
    assert budget(store, key) == (100_000, 0)
    last = other.lease(key, 900_000)
    assert last is not None
    ended(other, store, other.end(last, None))
    assert budget(store, key) == (MOST, 0)


def test_what_nobody_takes_from_goes_back(store: Store, key: str, clock: Clock) -> None:
    mine = Reservations(store, clock)
    held = mine.lease(key, 1000)
    assert held is not None
    ended(mine, store, mine.end(held, 0))
    mine.look()
    assert budget(store, key)[1] == MOST // leases.SHARE
    clock.wait(timedelta(seconds=IDLE_S + 1))
    mine.look()
    assert budget(store, key) == (0, 0)
    assert key not in mine._leases


def test_a_smaller_budget_is_noticed_at_the_next_look(store: Store, key: str, clock: Clock) -> None:
    mine = Reservations(store, clock)
    held = mine.lease(key, 1000)
    assert held is not None
    assert mine.take(key, 1000) is not None
    set_budget(store, key, 0.0)
    mine.look()
    assert mine.take(key, 1) is None
    assert mine.lease(key, 1) is None
    assert budget(store, key) == (0, 2000)  # both are under way


def test_a_larger_budget_counts_at_once(store: Store, key: str, clock: Clock) -> None:
    mine = Reservations(store, clock)
    assert mine.lease(key, MOST + 1) is None
    set_budget(store, key, 2 * MOST / 1e9)
    assert mine.lease(key, MOST + 1) is not None


def test_of_a_killed_process_the_risk_is_spent_and_the_rest_comes_back(
    store: Store, key: str, clock: Clock
) -> None:
    killed, other = Reservations(store, clock), Reservations(store, clock)
    assert killed.lease(key, 1000) is not None
    clock.wait(LASTS / 2)
    assert other.lease(key, 990_000) is None  # not yet
    clock.wait(LASTS / 2)
    assert other.lease(key, 990_000) is not None
    spent, reserved = budget(store, key)
    assert (spent, reserved) == (leases.SPARE * 1000, 990_000)


def test_who_was_only_asleep_is_not_counted_twice(store: Store, key: str, clock: Clock) -> None:
    asleep, other = Reservations(store, clock), Reservations(store, clock)
    held = asleep.lease(key, 1000)
    assert held is not None
    clock.wait(LASTS)
    assert other.lease(key, 1) is not None
    spent = budget(store, key)[0]
    ended(asleep, store, asleep.end(held, 900))
    assert budget(store, key)[0] == spent
    assert key not in asleep._leases


def test_a_process_that_lives_keeps_what_it_holds(store: Store, key: str, clock: Clock) -> None:
    mine, other = Reservations(store, clock), Reservations(store, clock)
    assert mine.lease(key, 1000) is not None
    for _ in range(10):
        clock.wait(LASTS / 2)
        mine.look()
        assert other.lease(key, 1) is not None
    assert key in mine._leases


def test_a_provider_that_bills_more_than_it_may_is_paid(
    store: Store, key: str, clock: Clock
) -> None:
    mine = Reservations(store, clock)
    held = mine.lease(key, 600_000)
    assert held is not None
    ended(mine, store, mine.end(held, 2 * MOST))
    assert budget(store, key) == (2 * MOST, 0)
    assert mine.lease(key, 1) is None


def test_a_transaction_that_failed_leaves_its_lease_to_expire(
    store: Store, key: str, clock: Clock
) -> None:
    mine = Reservations(store, clock)
    held = mine.lease(key, 1000)
    assert held is not None
    with pytest.raises(ConnectionError), mine.settling([mine.end(held, 5)]):
        raise ConnectionError
    assert key not in mine._leases
    clock.wait(LASTS)
    leases.reclaim(store)
    assert budget(store, key) == (leases.SPARE * 1000, 0)
