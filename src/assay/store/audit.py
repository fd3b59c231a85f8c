"""Who changed what: a log that is only ever added to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from assay.store.store import Store
from assay.store.tables import AuditRow


def record(
    session: Session,
    project: str,
    who: str,
    action: str,
    what: str,
    details: dict[str, Any] | None = None,
) -> AuditRow:
    """Add one entry to the transaction that makes the change: both are there, or neither.

    Args:
        who: the id of an API key, `user:NAME`, `cli:USER`, `mcp: ...` (a program), or `expired`.
        action: a verb with its object, such as `key.create` or `file.delete`.
        what: the id or name of the thing that was changed.
        details: what else is worth knowing; never a secret.
    """
    row = AuditRow(project=project, who=who, action=action, what=what[:300], details=details)
    session.add(row)
    return row


def audit(
    store: Store,
    project: str,
    who: str,
    action: str,
    what: str,
    details: dict[str, Any] | None = None,
) -> None:
    """Add one entry, see `record`, after a change to files, documents or jobs.

    A process that dies in between leaves the change without its line.
    """
    with store.session() as session:
        record(session, project, who, action, what, details)


def who_did(store: Store, project: str, action: str, what: str) -> str | None:
    """Who did something to a thing first; None: there is no such entry."""
    query = (
        select(AuditRow.who)
        .where(AuditRow.project == project, AuditRow.action == action, AuditRow.what == what)
        .order_by(AuditRow.key)
        .limit(1)
    )
    with store.session() as session:
        return session.scalar(query)


def entries(
    store: Store, project: str, limit: int = 100, after: int | None = None
) -> list[AuditRow]:
    """The newest entries of a project, newest first.

    Args:
        after: key of an entry; those behind it (older ones) are listed.
    """
    query = select(AuditRow).where(AuditRow.project == project).order_by(AuditRow.key.desc())
    if after is not None:
        query = query.where(AuditRow.key < after)
    query = query.limit(limit)
    with store.session() as session:
        return list(session.scalars(query))
