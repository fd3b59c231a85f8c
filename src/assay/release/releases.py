"""Releases: names that point at agents, changed as a whole and never half.

    promote(store, "support", "tickets", "fine-tune@2", who="ann")
    agent = resolve(store, "support", "tickets", key="customer 4711")

Every change is one new row that says all that holds from now on. It is there or it is not,
whenever the process dies, and a request that reads one row is answered by one agent. Old rows
stay: they are the history, and what a rollback goes back to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assay.agent.agent import Agent
from assay.agent.versions import AgentVersion, find_version, load_agent
from assay.compare.records import all_finished
from assay.errors import AssayError, NotFoundError, UsageError
from assay.release.evidence import Evidence, judge
from assay.store.store import Store
from assay.store.tables import AuditRow, ReleaseRow

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST_NAME = 100

_SERVED = (
    select(ReleaseRow.agent, ReleaseRow.canary, ReleaseRow.share)
    .where(ReleaseRow.project == bindparam("project"), ReleaseRow.name == bindparam("name"))
    .order_by(ReleaseRow.number.desc())
    .limit(1)
)

Parity = Callable[[Agent], None]
"""Asks the engine that will serve an agent whether it answers as the one that was measured;
raises an `AssayError` that shows the first difference when it does not."""


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
        comparison: in which `agent` was shown to be fit; None where it was forced.
        reason: what was said when it was forced.
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

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
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
    with store.session() as session:
        row = _newest(session, project, name)
    if row is None:
        raise NoReleaseError(
            f"there is no release {name!r}.",
            fix="`assay release list` names them; `assay release promote` makes one.",
        )
    return _release(row)


def releases(store: Store, project: str) -> list[Release]:
    """What holds now, of every release of a project, by name."""
    newest = (
        select(ReleaseRow.name, func.max(ReleaseRow.number).label("number"))
        .where(ReleaseRow.project == project)
        .group_by(ReleaseRow.name)
        .subquery()
    )
    with store.session() as session:
        rows = session.scalars(
            select(ReleaseRow)
            .join(
                newest,
                (ReleaseRow.name == newest.c.name) & (ReleaseRow.number == newest.c.number),
            )
            .where(ReleaseRow.project == project)
            .order_by(ReleaseRow.name)
        ).all()
    return [_release(row) for row in rows]


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
    return [_release(row) for row in rows]


def promote(
    store: Store,
    project: str,
    name: str,
    label: str,
    *,
    who: str,
    force: str | None = None,
    parity: Parity | None = None,
) -> Release:
    """Let an agent answer all requests of a release; a canary that runs is over.

    Args:
        label: the agent, `NAME@VERSION`.
        force: why it is promoted although no comparison shows that it is fit; kept.
        parity: see `Parity`; asked last before the change, whether forced or not.

    Raises:
        UnprovenError: no stored comparison shows that it is fit, and it was not forced.
        ReleaseError: it is served already, cannot be served, or the release was changed by
            somebody else meanwhile.
    """
    before = _find(store, project, _checked(name))
    version = find_version(store, label)
    if before is not None and before.agent == version.agent and before.canary is None:
        raise ReleaseError(f"{name} is at {version.label} already; nothing was changed.")
    shown = None
    if before is None or before.agent != version.agent:
        shown = _fit(store, version, before, force, parity)
        comparison = shown.comparison if shown else None
    else:
        comparison = before.comparison  # the canary is over, the agent stays
    return _add(
        store,
        before,
        ReleaseRow(
            project=project,
            name=name,
            action="promote",
            agent=version.agent,
            label=version.label,
            share=0.0,
            previous=_came_from(before, version.agent),
            comparison=comparison,
            reason=force,
            who=who,
        ),
        {"to": version.label, "from": before.label if before else None, **_said(shown)},
    )


def canary(
    store: Store,
    project: str,
    name: str,
    share: float,
    label: str | None = None,
    *,
    who: str,
    force: str | None = None,
    parity: Parity | None = None,
) -> Release:
    """Let an agent answer a share of the keys; 0 ends it.

    Args:
        share: 0 to below 1.
        label: the agent; None: the canary that runs gets another share.
        force, parity: as `promote`, which asks the same of an agent.

    Raises:
        UsageError: the share is no share, or it is not said whose.
        UnprovenError, ReleaseError: as `promote`.
    """
    if not 0 <= share < 1:
        raise UsageError(
            f"{100 * share:g}% is no share of a canary.",
            fix="Give 0% to below 100%; `assay release promote` gives an agent everything.",
        )
    before = current(store, project, name)
    after = ReleaseRow(
        project=project,
        name=name,
        action="canary",
        agent=before.agent,
        label=before.label,
        share=share,
        previous=before.previous,
        comparison=before.comparison,
        reason=force,
        who=who,
    )
    if share == 0:
        if before.canary is None:
            raise ReleaseError(f"{name} has no canary; nothing was changed.")
        return _add(store, before, after, {"ended": before.canary_label})
    shown = None
    if label is None:
        if before.canary is None:
            raise UsageError(f"{name} has no canary.", fix="Name its agent: NAME@VERSION.")
        after.canary, after.canary_label = before.canary, before.canary_label
    else:
        version = find_version(store, label)
        if version.agent == before.agent:
            raise ReleaseError(f"{name} is at {version.label} already; nothing was changed.")
        if version.agent != before.canary:
            shown = _fit(store, version, before, force, parity)
        after.canary, after.canary_label = version.agent, version.label
    details = {"canary": after.canary_label, "share": share, **_said(shown)}
    return _add(store, before, after, details)


def rollback(store: Store, project: str, name: str, *, who: str) -> Release:
    """Take the last change back: end the canary that runs, else return to the agent before.

    Asked again it goes back further. Nothing is asked of an agent that has served before.

    Raises:
        ReleaseError: there is nothing to go back to.
    """
    before = current(store, project, name)
    back = back_to(store, project, name)
    return _add(
        store,
        before,
        ReleaseRow(
            project=project,
            name=name,
            action="rollback",
            agent=back.agent,
            label=back.label,
            share=0.0,
            previous=back.previous,
            comparison=back.comparison,
            who=who,
        ),
        {"to": back.label, "from": before.canary_label or before.label},
    )


def back_to(store: Store, project: str, name: str) -> Release:
    """What a rollback would return to: the release as it stands, where a canary would end.

    Raises:
        ReleaseError: there is nothing to go back to.
    """
    now = current(store, project, name)
    if now.canary is not None:
        return now
    if now.previous is None:
        raise ReleaseError(
            f"{name} has had no other agent before {now.label}.",
            fix="`assay release history` shows every change.",
        )
    return next(r for r in history(store, project, name) if r.number == now.previous)


def _checked(name: str) -> str:
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a release.",
            fix=f"Use small letters, digits and single hyphens, at most {LONGEST_NAME}.",
        )
    return name


def _fit(
    store: Store,
    version: AgentVersion,
    before: Release | None,
    force: str | None,
    parity: Parity | None,
) -> Evidence | None:
    """Refuse an agent that cannot or should not serve; what speaks for it, None where forced."""
    agent = load_agent(store, version.agent)
    if agent.kind == "outside":
        raise ReleaseError(
            f"{version.label} is a file of answers, which cannot answer new questions.",
            fix="Promote another agent.",
        )
    shown = None
    if force is None:
        shown = judge(all_finished(store), version.agent, before.agent if before else None)
    elif not force.strip():
        raise UsageError("--force was given no reason.", fix="Say why; it is kept in the log.")
    if parity is not None:
        parity(agent)
    return shown


def _said(shown: Evidence | None) -> dict[str, str]:
    """What the audit log says of the evidence."""
    return {"comparison": shown.comparison, "shown": shown.sentence} if shown else {}


def _came_from(before: Release | None, agent: str) -> int | None:
    """What a rollback of a promotion brings back: the change before, if it had another agent."""
    if before is None:
        return None
    return before.previous if before.agent == agent else before.number


def _add(store: Store, before: Release | None, row: ReleaseRow, details: dict[str, Any]) -> Release:
    """Add the change and its line of the audit log in one transaction.

    What the change was decided on must still hold: of two that decide at once, one is refused.
    """
    row.number = before.number + 1 if before else 1
    if row.reason is not None:
        details = {**details, "forced": row.reason}
    try:
        with store.session() as session:
            session.add(row)
            session.add(
                AuditRow(
                    project=row.project,
                    who=row.who,
                    action=f"release.{row.action}",
                    what=row.name,
                    details=details,
                )
            )
    except IntegrityError:
        raise ReleaseError(
            f"{row.name} was changed by somebody else at the same moment; nothing was changed.",
            fix="Look at `assay release history`, and decide again.",
        ) from None
    return _release(row)


def _find(store: Store, project: str, name: str) -> Release | None:
    with store.session() as session:
        row = _newest(session, project, name)
    return None if row is None else _release(row)


def _newest(session: Session, project: str, name: str) -> ReleaseRow | None:
    return session.scalar(
        select(ReleaseRow)
        .where(ReleaseRow.project == project, ReleaseRow.name == name)
        .order_by(ReleaseRow.number.desc())
        .limit(1)
    )


def _release(row: ReleaseRow) -> Release:
    fields = (name for name in Release.__dataclass_fields__)
    return Release(**{name: getattr(row, name) for name in fields})
