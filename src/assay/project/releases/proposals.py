"""Promotions that a program proposes and a person decides on.

    propose(workspace, "support", "few-shot@3", "as good as the other, at half the cost")
    for one in proposals(workspace): ...
    releases.promote(workspace, one.release, one.agent)      # a person's, as ever

A proposal is a line of the audit log and changes nothing. It is open until its release is changed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from assay.agent.versions import find_version
from assay.errors import StateError
from assay.project.releases import find_doubt
from assay.project.workspace import Workspace
from assay.release import releases
from assay.release.changes import check_name
from assay.store.audit import record
from assay.store.tables import AuditRow, now

ACTION = "release.propose"
_CHANGES = ("release.promote", "release.canary", "release.rollback")
"""By the last line of these it is told whether a proposal is open."""
MOST_OPEN = 20
MOST_A_DAY = 10
"""For one release: each is kept for good."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """An agent that a release should serve, as somebody thinks.

    Attributes:
        agent: `NAME@VERSION`.
        doubt: why promoting it takes a reason of its own; None: a stored comparison shows that it
            is fit.
    """

    release: str
    agent: str
    reason: str
    who: str
    at: datetime
    doubt: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `at` is an ISO 8601 time."""
        return {**asdict(self), "at": self.at.isoformat()}


def propose(workspace: Workspace, release: str, label: str, reason: str) -> Proposal:
    """Put a promotion before the owner. The same one twice is one.

    Raises:
        AssayError: there is no such agent, or no release can be called so.
        StateError: the release serves the agent already, or too many proposals are open, or
            were made for it today.
    """
    check_name(workspace.store, release)
    agent = find_version(workspace.store, label)
    serving = releases.newest(workspace.store, workspace.name, release)
    if serving is not None and serving.agent == agent.agent:
        raise StateError(f"{release} serves {agent.label} already.")
    waiting = {row.what: row for row in _open_rows(workspace)}
    known = waiting.get(release)
    if known is not None and _details(known)["agent"] == agent.label:
        return _to_proposal(workspace, known)
    if known is None and len(waiting) >= MOST_OPEN:
        raise StateError(
            f"{len(waiting)} proposals wait for the owner already.",
            fix="Ask the owner to decide on some of them.",
        )
    if _count_of_today(workspace, release) >= MOST_A_DAY:
        raise StateError(
            f"{MOST_A_DAY} promotions of {release} were proposed within a day.",
            fix="Ask the owner to decide on the newest one.",
        )
    details = {"agent": agent.label, "reason": reason}
    with workspace.store.session() as session:
        row = record(session, workspace.name, workspace.who, ACTION, release, details)
    return _to_proposal(workspace, row)


def _count_of_today(workspace: Workspace, release: str) -> int:
    query = select(func.count()).where(
        AuditRow.project == workspace.name,
        AuditRow.action == ACTION,
        AuditRow.what == release,
        AuditRow.at > now() - timedelta(days=1),
    )
    with workspace.store.session() as session:
        return session.scalar(query) or 0


def proposals(workspace: Workspace) -> list[Proposal]:
    """The newest open proposal of each release, newest first."""
    return [_to_proposal(workspace, row) for row in _open_rows(workspace)]


def _open_rows(workspace: Workspace) -> list[AuditRow]:
    """The lines of the log that are the last of a release, and propose something; newest first."""
    last = (
        select(func.max(AuditRow.key))
        .where(AuditRow.project == workspace.name, AuditRow.action.in_((ACTION, *_CHANGES)))
        .group_by(AuditRow.what)
    )
    query = (
        select(AuditRow)
        .where(AuditRow.key.in_(last), AuditRow.action == ACTION)
        .order_by(AuditRow.key.desc())
    )
    with workspace.store.session() as session:
        return list(session.scalars(query))


def _to_proposal(workspace: Workspace, row: AuditRow) -> Proposal:
    told = _details(row)
    doubt = find_doubt(workspace, row.what, told["agent"])
    return Proposal(row.what, told["agent"], told["reason"], row.who, row.at, doubt)


def _details(row: AuditRow) -> dict[str, str]:
    return row.details or {}
