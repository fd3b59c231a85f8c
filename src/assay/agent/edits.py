"""Agents changed by people: the text they wrote beside the content, and no change over another.

Content and versions are `assay.agent.versions`; here is the text of a version, kept as it was
written, comments and order included. Versions are only ever added, a rollback too is one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assay.agent.agent import Agent
from assay.agent.texts import InvalidAgentError, as_yaml, parse
from assay.agent.versions import AgentVersion, as_version, find_version, no_agent, user
from assay.errors import StateError
from assay.models.versions import version_kept
from assay.store.store import Store
from assay.store.tables import AgentRow, AgentTextRow, AgentVersionRow


class StaleEditError(StateError):
    """What was read is no longer what is there: somebody has saved meanwhile."""

    def __init__(self, name: str, version: AgentVersion | None) -> None:
        self.version = version
        now = f"it is now {version.label} by {version.author}" if version else "it was deleted"
        super().__init__(
            f"agent {name} was changed since it was read: {now}.",
            fix="Load it again and repeat your change in the current text.",
        )


@dataclass(frozen=True, slots=True)
class Draft:
    """An agent as it is read to be changed.

    Attributes:
        text: YAML, as the person who saved it wrote it.
        hash: of the text; `save` wants it back, so that no one's change is lost.
        version: the save that it is.
    """

    name: str
    text: str
    hash: str
    agent: Agent
    version: AgentVersion

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.version.to_dict(),
            "hash": self.hash,
            "agent": self.agent.model_dump(mode="json"),
            "text": self.text,
        }


def text_hash(text: str) -> str:
    """Sha256 (hex) of a text."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def read(store: Store, name: str) -> Draft:
    """An agent's newest version.

    Raises:
        NotFoundError: there is no such agent.
    """
    with store.session() as session:
        row = _newest(session, name)
        if row is None:
            raise no_agent(session, repr(name))
        return _draft(session, row)


def read_version(store: Store, label: str) -> Draft:
    """The version that `NAME@VERSION` names; NAME alone is the newest.

    Raises:
        NotFoundError, AssayError: there is none.
        UsageError: it is not written so.
    """
    if "@" not in label:
        return read(store, label)
    version = find_version(store, label)
    with store.session() as session:
        row = session.scalars(
            select(AgentVersionRow).where(
                AgentVersionRow.name == version.name, AgentVersionRow.version == version.version
            )
        ).one()
        return _draft(session, row)


def newest(store: Store) -> list[AgentVersion]:
    """The newest version of every agent, by name."""
    with store.session() as session:
        rows = session.scalars(select(AgentVersionRow).order_by(AgentVersionRow.version)).all()
    found = {row.name: as_version(row) for row in rows}
    return [found[name] for name in sorted(found)]


def save(
    store: Store,
    name: str,
    text: str,
    *,
    based_on: str | None,
    message: str,
    author: str | None = None,
) -> AgentVersion:
    """Keep a text as the next version of an agent; the very text that is there already adds none.

    Args:
        based_on: the hash of what was read; None for an agent that is not there yet.

    Raises:
        StaleEditError: somebody has saved since then.
        InvalidAgentError: the text is no agent.
    """
    agent, problems = parse(text)
    if agent is None:
        raise InvalidAgentError(name, problems)
    before = _current(store, name)
    if (before.hash if before else None) != based_on:
        raise StaleEditError(name, before.version if before else None)
    if before is not None and before.text == text:
        return before.version
    return _add(store, name, agent, text, before, message, author)


def rollback(
    store: Store,
    name: str,
    to: int | None = None,
    *,
    message: str | None = None,
    author: str | None = None,
) -> AgentVersion:
    """Make an earlier version the newest one again; what came between stays in the history.

    Args:
        to: its number; None: the one before the newest.

    Raises:
        NotFoundError: there is no such agent.
        AssayError: it has no such version.
    """
    before = read(store, name)
    number = before.version.version - 1 if to is None else to
    if number < 1:
        raise StateError(
            f"agent {name} has only one version; there is no earlier one to go back to."
        )
    wanted = read_version(store, f"{name}@{number}")
    if wanted.text == before.text:
        raise StateError(f"{before.version.label} says the same as {wanted.version.label}.")
    said = message or f"back to version {number}"
    return _add(store, name, wanted.agent, wanted.text, before, said, author)


def _add(
    store: Store,
    name: str,
    agent: Agent,
    text: str,
    before: Draft | None,
    message: str,
    author: str | None,
) -> AgentVersion:
    try:
        with version_kept(store, agent.model), store.session() as session:
            if session.get(AgentRow, agent.id) is None:
                session.add(AgentRow(id=agent.id, body=agent.canonical()))
                session.flush()
            row = AgentVersionRow(
                name=name,
                version=(before.version.version if before else 0) + 1,
                agent=agent.id,
                author=author or user(),
                message=message,
            )
            session.add(row)
            session.flush()
            session.add(AgentTextRow(version=row.key, text=text))
            return as_version(row)
    except IntegrityError:  # somebody took the number, at this very moment
        now = _current(store, name)
        raise StaleEditError(name, now.version if now else None) from None


def _current(store: Store, name: str) -> Draft | None:
    with store.session() as session:
        row = _newest(session, name)
        return None if row is None else _draft(session, row)


def _newest(session: Session, name: str) -> AgentVersionRow | None:
    return session.scalar(
        select(AgentVersionRow)
        .where(AgentVersionRow.name == name)
        .order_by(AgentVersionRow.version.desc())
        .limit(1)
    )


def _draft(session: Session, row: AgentVersionRow) -> Draft:
    body = session.scalars(select(AgentRow.body).where(AgentRow.id == row.agent)).one()
    agent = Agent.model_validate_json(body)
    kept = session.get(AgentTextRow, row.key)
    text = kept.text if kept is not None else as_yaml(agent)
    return Draft(row.name, text, text_hash(text), agent, as_version(row))
