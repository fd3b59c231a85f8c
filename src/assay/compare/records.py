"""Comparisons in the store and on disk: the plan before, result and answers after."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlalchemy import select

from assay.compare.holdout import LoggedOpening, next_opening, openings
from assay.compare.result import AnswerRow, Plan, Result
from assay.compare.shared_results import replacing
from assay.data.split import LOCK
from assay.store.files import write_atomic
from assay.store.store import Store
from assay.store.tables import ComparisonRow, exactly_now

RESULT_FILE = "result.json"
ANSWERS_FILE = "answers.jsonl.gz"
_ENDED = (
    select(ComparisonRow.id)
    .where(ComparisonRow.result.is_not(None))
    .order_by(ComparisonRow.at.desc(), ComparisonRow.id)
)
"""Comparisons that ended, newest first."""


def save_plan(store: Store, id: str, holdout: str, plan: Plan, folder: Path) -> Plan:
    """Write the plan down, and return the one that stands: a comparison that goes on keeps the plan
    it began with (`find_plan`)."""
    with store.lock(LOCK):  # nobody opens a holdout at this moment
        if kept := find_plan(store, id, holdout):
            plan = kept
        else:
            row = ComparisonRow(
                id=id, holdout=holdout, plan=plan.model_dump(mode="json"), at=exactly_now()
            )
            with store.session() as session:
                session.merge(row)  # as if it began now; what was found stays
        write_atomic(folder / "plan.json", plan.model_dump_json(indent=2) + "\n")
        return plan


def find_plan(store: Store, id: str, holdout: str) -> Plan | None:
    """The plan that a comparison goes on with; None where its number is no longer that of its
    opening: it did not open the holdout, and another has since."""
    plan = load_plan(store, id)
    if plan is None or plan.opening != next_opening(store, holdout, plan.opened_by or id):
        return None
    return plan


def find_opened(
    store: Store, id: str, holdout: str, tests: str
) -> tuple[LoggedOpening, Plan] | None:
    """The opening of this holdout by another comparison for the same tests, and its plan."""
    for record in openings(store, holdout):
        plan = None if record.comparison == id else load_plan(store, record.comparison)
        if plan is not None and plan.tests == tests:
            return record, plan
    return None


def load_plan(store: Store, id: str) -> Plan | None:
    """The plan of a comparison as it was last written, or None."""
    with store.session() as session:
        row = session.get(ComparisonRow, id)
        return None if row is None else Plan.model_validate(row.plan)


def load_result(store: Store, id: str) -> Result | None:
    """The result of a comparison that ended, or None."""
    with store.session() as session:
        row = session.get(ComparisonRow, id)
        return None if row is None or row.result is None else Result.model_validate(row.result)


def save_result(store: Store, result: Result, answers: Iterable[AnswerRow], folder: Path) -> None:
    """Write result and answers; the store is told last, so that it never points at nothing, nor at
    what another server has only as it was before."""
    with replacing(store, folder):
        write_atomic(folder / ANSWERS_FILE, _zipped(answers))
        write_atomic(folder / RESULT_FILE, result.model_dump_json(indent=2) + "\n")
    with store.session() as session:
        row = session.get_one(ComparisonRow, result.comparison)
        row.result = result.model_dump(mode="json")


def load_results(store: Store) -> Iterator[Result]:
    """The results of all comparisons that ended, newest first (by when they were begun)."""
    with store.session() as session:
        ids = session.scalars(_ENDED).all()
    for id in ids:
        result = load_result(store, id)
        if result is not None:
            yield result


def count_as_newest(store: Store, id: str) -> None:
    """Count a comparison that ended as begun now, if the newest that ended rests on the same tests:
    costs were changed in between, and are as they were. What another comparison has shown since
    then stays the newest."""
    with store.session() as session:
        newest = session.scalars(_ENDED.limit(1)).one()
        row, other = (session.get_one(ComparisonRow, one) for one in (id, newest))
        tests = row.plan.get("tests")  # not in older plans
        if row is not other and tests is not None and tests == other.plan.get("tests"):
            row.at = exactly_now()


def _zipped(answers: Iterable[AnswerRow]) -> bytes:
    """The same rows give the same bytes: no time in the header."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as file:
        for row in answers:
            file.write((row.model_dump_json() + "\n").encode())
    return buffer.getvalue()
