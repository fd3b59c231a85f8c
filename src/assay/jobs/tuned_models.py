"""Fine-tuned models by the names that they are served under: what needs one, and its removal.

Whoever removes one holds `versions.REMOVAL` from asking here until its name is forgotten.
"""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from assay.jobs import queue
from assay.jobs.queue import OVER, Job
from assay.models.versions import REMOVAL, VersionRecord, is_saved, save_version
from assay.store.store import Store
from assay.store.tables import (
    AgentRow,
    FineTuningCheckpointRow,
    FineTuningRow,
    JobRow,
    ServedNameRow,
)

MADE = "made"
"""In `FineTuningRow.chosen`: the version that a job has saved last, which it is about to name."""


def has_other_name(session: Session, version: str, name: str) -> bool:
    """Whether a version has another name than this (the same training twice makes one)."""
    named = select(ServedNameRow.name).where(
        ServedNameRow.target == f"version:{version}", ServedNameRow.name != name
    )
    return session.scalar(named.limit(1)) is not None


def has_agent(session: Session, version: str) -> bool:
    """Whether an agent answers with a version, which may be named by its first digits."""
    agents = select(AgentRow.body).where(AgentRow.body.contains(f"version:{version[:6]}"))
    return any(names_version(body, version) for body in session.scalars(agents))


def names_version(text: str, version: str) -> bool:
    """Whether a text has a reference to a version."""
    return any(version.startswith(id) for id in re.findall(r"version:([0-9a-f]{6,})", text))


def find_maker(session: Session, version: str) -> str | None:
    """The job that is not over and has saved a version last, or None."""
    running = (
        select(FineTuningRow.id, FineTuningRow.chosen)
        .join(JobRow, JobRow.id == FineTuningRow.id)
        .where(JobRow.status.not_in(OVER))
    )
    rows = session.execute(running)
    return next((id for id, chosen in rows if (chosen or {}).get(MADE) == version), None)


def save(store: Store, job: Job, made: Path, record: VersionRecord) -> str:
    """Keep what a job has made as a version (`save_version`), which it is about to name.

    Raises:
        JobLostError: the job is another worker's by now.
    """
    version = save_version(store, made, record, job.project)
    mine = FineTuningRow.id == job.id
    with store.lock(REMOVAL):
        with queue.as_owner(store, job) as session:
            chosen = session.scalar(select(FineTuningRow.chosen).where(mine)) or {}
            session.execute(
                update(FineTuningRow).where(mine).values(chosen=chosen | {MADE: version})
            )
        # Once more, if it was there as another job's, whose last name for it went meanwhile.
        if not is_saved(store, version):
            save_version(store, made, record, job.project)
    return version


def forget_name(session: Session, name: str) -> None:
    """Let a name stand for nothing any more, as a model and as a checkpoint."""
    kept = FineTuningCheckpointRow
    session.execute(delete(ServedNameRow).where(ServedNameRow.name == name))
    session.execute(delete(kept).where(kept.name == name))
