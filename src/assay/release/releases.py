"""Releases: names that point at agents, and which agent answers a request.

    agent = resolve(store, "support", "tickets", key="customer 4711")

One row says all that holds: a request that reads it is answered by one agent. Rows are added by
`assay.release.changes` and never altered: they are the history, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select

from assay.errors import AssayError, NotFoundError, Step
from assay.store.store import Store
from assay.store.tables import ReleaseRow

_SERVED = (
    select(ReleaseRow.agent, ReleaseRow.canary, ReleaseRow.share)
    .where(ReleaseRow.project == bindparam("project"), ReleaseRow.name == bindparam("name"))
    .order_by(ReleaseRow.number.desc())
    .limit(1)
)


_DONE = {"promote": "promoted", "rollback": "rolled back", "canary": "canary set"}


class ReleaseError(AssayError):
    """The release cannot be changed so."""


class NoReleaseError(ReleaseError, NotFoundError):
    """There is no such release, or it is another project's."""


@dataclass(frozen=True, slots=True)
class Release:
    """One change of a release, and all that held after it.

    Attributes:
        number: of the change, from 1.
        action: `promote`, `rollback` or `canary`.
        agent: id of the agent that answers; `label` is its `NAME@VERSION`.
        canary: id of the agent that answers `share` (0 to 1) of the keys; None without one.
        previous: number of the change that a rollback brings back; None: there is none.
        comparison: that `agent` was promoted on; with a `reason` it measured the agent and need not
            show that it is fit. None where there was none, and of older changes with a reason.
        reason: what was said when the check of comparisons was skipped.
    """

    project: str
    name: str
    number: int
    action: str
    agent: str
    label: str
    canary: str | None
    canary_label: str | None
    share: float
    previous: int | None
    comparison: str | None
    reason: str | None
    who: str
    at: datetime

    @classmethod
    def of(cls, row: ReleaseRow) -> Release:
        """As the database has it."""
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})

    @property
    def done(self) -> str:
        """What was done, in words; a canary of no share is one that was ended."""
        is_end = self.action == "canary" and self.canary is None
        return "canary ended" if is_end else _DONE.get(self.action, self.action)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "number": self.number,
            "action": self.action,
            "agent": self.label,
            "agent_id": self.agent,
            "canary": self.canary_label,
            "canary_id": self.canary,
            "share": self.share,
            "comparison": self.comparison,
            "reason": self.reason,
            "who": self.who,
            "at": self.at.isoformat(),
        }


def resolve(store: Store, project: str, name: str, key: str) -> str | None:
    """The id of the one agent that answers a request to a release; None: no such release.

    Args:
        key: whom the request is for (a user, a conversation, an API key); while a canary runs,
            one key is always answered by one agent, and a larger share keeps those it had.
    """
    with store.engine.connect() as connection:  # every request asks: no session, three columns
        found = connection.execute(_SERVED, {"project": project, "name": name}).one_or_none()
    if found is None:
        return None
    agent, canary, share = found
    return str(canary if canary is not None and place(project, name, key) < share else agent)


def place(project: str, name: str, key: str) -> float:
    """Where a key stands between 0 and 1, evenly over keys and always the same."""
    digest = hashlib.sha256("\0".join((project, name, key)).encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def current(store: Store, project: str, name: str) -> Release:
    """What holds now.

    Raises:
        NoReleaseError: there is no such release.
    """
    found = newest(store, project, name)
    if found is None:
        raise NoReleaseError(
            f"there is no release {name!r}.",
            fix=f"{Step.LIST_RELEASES} shows all releases; {Step.PROMOTE} creates one.",
        )
    return found


def newest(store: Store, project: str, name: str) -> Release | None:
    """What holds now; None: there is no such release."""
    query = (
        select(ReleaseRow)
        .where(ReleaseRow.project == project, ReleaseRow.name == name)
        .order_by(ReleaseRow.number.desc())
        .limit(1)
    )
    with store.session() as session:
        row = session.scalar(query)
    return None if row is None else Release.of(row)


def releases(store: Store, project: str) -> list[Release]:
    """What holds now, of every release of a project, by name."""
    last = (
        select(ReleaseRow.name, func.max(ReleaseRow.number).label("number"))
        .where(ReleaseRow.project == project)
        .group_by(ReleaseRow.name)
        .subquery()
    )
    with store.session() as session:
        rows = session.scalars(
            select(ReleaseRow)
            .join(
                last,
                (ReleaseRow.name == last.c.name) & (ReleaseRow.number == last.c.number),
            )
            .where(ReleaseRow.project == project)
            .order_by(ReleaseRow.name)
        ).all()
    return [Release.of(row) for row in rows]


def history(store: Store, project: str, name: str) -> list[Release]:
    """Every change of a release, newest first.

    Raises:
        NoReleaseError: there is no such release.
    """
    current(store, project, name)
    with store.session() as session:
        rows = session.scalars(
            select(ReleaseRow)
            .where(ReleaseRow.project == project, ReleaseRow.name == name)
            .order_by(ReleaseRow.number.desc())
        ).all()
    return [Release.of(row) for row in rows]


def find_promotion(changes: Sequence[Release]) -> Release:
    """The change that made the agent of now answer, whose reason and comparison still count.

    Args:
        changes: of one release, newest first, at least one.
    """
    now = changes[0]
    for number, one in enumerate(changes):
        before = changes[number + 1] if number + 1 < len(changes) else None
        arrived = before is None or before.agent != one.agent
        if one.action == "promote" and one.agent == now.agent and arrived:
            return one
    return now
