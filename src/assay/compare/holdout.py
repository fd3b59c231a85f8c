"""The locked holdout: the one place that reads its rows, and the log of every opening.

An opening is logged before a row is read, so that a look cannot go unrecorded. The same
comparison (same candidates, same plan) resumed after a kill is the same opening.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from assay.compare.result import OpeningRecord
from assay.errors import HoldoutError
from assay.evaluate.stats import opening_alpha
from assay.example import Example, read_examples
from assay.store.files import sha256_file
from assay.store.store import Store
from assay.store.tables import ComparisonRow, OpeningRow

HOLDOUT_FILE = "holdout.jsonl"


def openings(store: Store, holdout: str) -> list[OpeningRecord]:
    """The log of a holdout (by its sha256), oldest first."""
    with store.session() as session:
        rows = session.scalars(
            select(OpeningRow).where(OpeningRow.holdout == holdout).order_by(OpeningRow.number)
        ).all()
        return [
            OpeningRecord(
                number=row.number,
                at=row.at.isoformat(),
                reason=row.reason,
                comparison=row.comparison,
                alpha=row.alpha,
            )
            for row in rows
        ]


def next_opening(store: Store, holdout: str, comparison: str) -> int:
    """The number this comparison's opening has, or would have."""
    log = openings(store, holdout)
    for record in log:
        if record.comparison == comparison:
            return record.number
    return len(log) + 1


def open_holdout(
    store: Store, split: Path, holdout: str, *, comparison: str, reason: str, alpha: float
) -> list[Example]:
    """Log the opening, check the lock, and only then read the rows.

    Args:
        split: folder of the split.
        holdout: sha256 that the holdout was locked with.
        comparison: id of the comparison, whose plan must have been written down.
        alpha: family-wise level over all openings.

    Raises:
        HoldoutError: no plan was written, the file is missing, or it is not the one locked.
    """
    with store.session() as session:
        if session.get(ComparisonRow, comparison) is None:
            raise HoldoutError("a holdout can be opened only for a comparison with a written plan.")
    path = _locked(split, holdout)
    _log(store, holdout, comparison, reason, alpha)
    return list(read_examples(path))


def holdout_ids(split: Path, holdout: str) -> list[str]:
    """The ids of the holdout's rows, which tell nothing of what is in them; no opening."""
    return [example.id for example in read_examples(_locked(split, holdout))]


def rows_held_out(split: Path, holdout: str, rows: Collection[str]) -> int:
    """How many of the holdout's rows are among `rows` (by `Example.content_hash`).

    A count tells nothing of what is in them; no opening.
    """
    return sum(e.content_hash() in rows for e in read_examples(_locked(split, holdout)))


def _locked(split: Path, holdout: str) -> Path:
    """The holdout's file, as it was locked."""
    path = split / HOLDOUT_FILE
    if not path.exists():
        raise HoldoutError(
            "the locked holdout is missing.",
            where=str(path),
            fix="Restore it from a backup, or start afresh with `assay data renew-holdout FILE`.",
        )
    if sha256_file(path) != holdout:
        raise HoldoutError(
            "the holdout was changed after it was locked, so nothing measured on it would be "
            "valid.",
            where=str(path),
            fix="Restore the file, or start afresh with `assay data renew-holdout FILE`.",
        )
    return path


def _log(store: Store, holdout: str, comparison: str, reason: str, alpha: float) -> None:
    for _ in range(3):
        try:
            with store.session() as session:
                mine = (OpeningRow.holdout == holdout) & (OpeningRow.comparison == comparison)
                if session.scalar(select(OpeningRow).where(mine)) is not None:
                    return
                last = session.scalar(
                    select(func.max(OpeningRow.number)).where(OpeningRow.holdout == holdout)
                )
                number = (last or 0) + 1
                session.add(
                    OpeningRow(
                        holdout=holdout,
                        number=number,
                        comparison=comparison,
                        reason=reason,
                        alpha=opening_alpha(alpha, number),
                    )
                )
            return
        except IntegrityError:
            continue  # another comparison took the number between the look and the insert
    raise HoldoutError("the log of openings is busy.", fix="Try again in a moment.")
