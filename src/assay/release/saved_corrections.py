"""Which corrections are saved in a file, and which were added to a project's examples.

    find_unadded(store, "support", "tickets")     # some in a file, others in none
    mark_saved(store, "support", used, "data/traces-2026-12-01-5e1f09ab.jsonl")
    mark_added(store, "support", "data/traces-2026-12-01-5e1f09ab.jsonl")

Files are named as they are in the project's folder (`name_file`); others are not remembered.

What was added once may be mended or taken out there, so the examples do not tell. A correction
that changes is neither saved nor added any more, see `assay.release.traces.attach`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import ColumnElement, bindparam, func, or_, select, update

from assay.release.policies import lock_traces
from assay.release.traces import Trace, as_trace, prune, unsave
from assay.store.store import Store
from assay.store.tables import TraceRow

MOST_LETTERS = 200


@dataclass(frozen=True, slots=True)
class CorrectionGroup:
    """Corrections of a release that were not added to the examples, in one file or in none.

    Attributes:
        file: the one that they are saved in; None: they are not.
        newest: when the last of them was given; None: by an earlier version.
    """

    file: str | None
    count: int
    newest: datetime | None


def name_file(root: Path, file: Path) -> str | None:
    """What a file in a project's folder is called here; None: it lies elsewhere, or far down."""
    file, root = file.resolve(), root.resolve()
    name = file.relative_to(root).as_posix() if file.is_relative_to(root) else ""
    return name if 0 < len(name) <= MOST_LETTERS else None


def find_unadded(store: Store, project: str, release: str) -> list[CorrectionGroup]:
    """The corrections that were not added, by the file they are saved in, oldest file first; those
    in no file come last."""
    prune(store, project)
    file = TraceRow.saved_in
    wanted = (
        select(file, func.count(), func.max(TraceRow.corrected_at))
        .where(*_unadded(project, release))
        .group_by(file)
        .order_by(file.is_(None), func.min(TraceRow.key))
    )
    with store.session() as session:
        return [CorrectionGroup(*row) for row in session.execute(wanted)]


def list_unsaved(
    store: Store, project: str, release: str, *, lost: Collection[str], count: int
) -> list[Trace]:
    """The newest corrections that were not added and are in no file, newest first.

    Args:
        lost: files that are gone.
    """
    wanted = (
        select(TraceRow)
        .where(*_unadded(project, release))
        .where(or_(TraceRow.saved_in.is_(None), TraceRow.saved_in.in_(lost)))
        .order_by(TraceRow.key.desc())
        .limit(count)
    )
    with store.session() as session:
        return [as_trace(row) for row in session.scalars(wanted)]


def forget_file(store: Store, project: str, file: str) -> None:
    """Take what is not added for saved in no file, where the one of this name is gone."""
    with store.session() as session:
        lock_traces(store, session, project)
        unsave(session, project, file)


def mark_saved(store: Store, project: str, traces: Sequence[Trace], file: str) -> bool:
    """Remember the file that corrections are in, unless one of them has changed since or was added:
    the file would bring an answer that is no longer right, or a row that was taken out.

    Returns:
        Whether it is remembered.
    """
    if not traces:
        return True
    changed = (
        update(TraceRow.__table__)  # type: ignore[arg-type]
        .where(TraceRow.project == project)
        .where(TraceRow.id == bindparam("of"), TraceRow.corrected == bindparam("right"))
        .where(TraceRow.added.is_(False))
        .values(saved_in=file)
    )
    rows = [{"of": trace.id, "right": trace.corrected} for trace in traces]
    with store.session() as session:
        lock_traces(store, session, project)
        are_all = session.connection().execute(changed, rows).rowcount == len(rows)
        if not are_all:
            session.rollback()
    return are_all


def mark_added(store: Store, project: str, file: str) -> None:
    """Remember that the corrections in a file were added to the examples."""
    with store.session() as session:
        lock_traces(store, session, project)
        session.execute(
            update(TraceRow)
            .where(TraceRow.project == project, TraceRow.saved_in == file)
            .values(added=True)
        )


def _unadded(project: str, release: str) -> list[ColumnElement[bool]]:
    return [
        TraceRow.project == project,
        TraceRow.release == release,
        TraceRow.corrected.is_not(None),
        TraceRow.added.is_(False),
    ]
