"""What was used is written down with what it settles, once, and after the answer."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from assay.accounts import usage as usage_log
from assay.accounts.costs import BudgetError, budgets, set_budget, usage
from assay.accounts.keys import create_key
from assay.accounts.usage import UsageLog
from assay.agent.providers import Providers
from assay.config import Provider, TokenPrice
from assay.generate.stream import End
from assay.store.store import Store

MODEL = "remote:far/m"
TOLD = End("stop", 1000, 0, model=MODEL)
UNTOLD = End("stop", None, None, model=MODEL)
HERE = End("stop", 5, 5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def key(store: Store) -> str:
    made, _ = create_key(store, "p", "k", ["chat"])
    set_budget(store, made.id, 1.0)
    return made.id


def log_of(store: Store) -> UsageLog:
    prices = {"m": TokenPrice(input=1.0, output=1.0)}
    far = Provider(base_url="https://far.invalid/v1", prices=prices)
    return UsageLog(store, Providers({"far": far}, store))


@pytest.mark.parametrize(
    ("ends", "is_complete", "spent", "answers"),
    [
        ([TOLD], True, 0.001, 1),
        ([TOLD, TOLD], True, 0.002, 2),
        ([UNTOLD], True, 0.01, 1),
        ([TOLD], False, 0.01, 1),
        ([HERE], True, 0.0, 0),
        ([], True, 0.0, 0),
        ([], False, 0.01, 0),
    ],
    ids=["told", "route", "untold", "cut", "here", "never", "unknown"],
)
def test_the_budget_and_the_log_agree(
    store: Store, key: str, ends: list[End], is_complete: bool, spent: float, answers: int
) -> None:
    log = log_of(store)
    held = log.reserve(key, 0.01)
    log.add("p", key, "m", ends, 1.0, held, is_complete=is_complete)
    log.close()
    [budget] = budgets(store).values()
    assert (budget.spent, budget.reserved) == (pytest.approx(spent), 0.0)
    assert sum(line["answers"] for line in usage(store, "p")) == answers


def test_lines_that_could_not_be_written_are_written_once_they_can(store: Store, key: str) -> None:
    log = log_of(store)
    failing = [True, True]

    def busy(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO usage") and failing.pop():
            raise sqlite3.OperationalError("database is locked")

    event.listen(store.engine, "before_cursor_execute", busy)
    failing.insert(0, False)
    for _ in range(3):
        log.add("p", key, "m", [TOLD], 1.0)
        log.flush()
    event.remove(store.engine, "before_cursor_execute", busy)
    log.close()
    assert sum(line["answers"] for line in usage(store, "p")) == 3


def test_what_is_refused_says_what_it_would_have_cost(store: Store, key: str) -> None:
    log = log_of(store)
    with pytest.raises(BudgetError, match=r"may cost 2\.000000 USD"):
        log.reserve(key, 2.0)
    assert key not in log._reservations._leases


def test_a_smaller_budget_holds_within_two_seconds_without_a_request(
    store: Store, key: str
) -> None:
    log = log_of(store)
    held = log.reserve(key, 0.001)
    log.add("p", key, "m", [TOLD], 1.0, held)
    set_budget(store, key, 0.0)
    began = time.monotonic()
    while key in log._reservations._leases:
        assert time.monotonic() - began < 10 * usage_log.LOOK_S  # of a machine that is busy
        time.sleep(0.01)
    assert log.take(key, 0.0001) is None
    with pytest.raises(BudgetError):
        log.reserve(key, 0.0001)
