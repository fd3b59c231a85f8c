"""Agents in the store: the content once, and every save of it under a name."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from assay.agent.agent import Agent
from assay.errors import AssayError, NotFoundError, Step, UsageError
from assay.models.versions import version_kept
from assay.store.store import Store
from assay.store.tables import AgentRow, AgentVersionRow

WHOLE = 64
"""Digits of an agent's id."""


@dataclass(frozen=True, slots=True)
class AgentVersion:
    """One save of an agent under a name."""

    name: str
    version: int
    agent: str
    author: str
    message: str
    at: datetime

    @property
    def label(self) -> str:
        """As a person names it, `NAME@VERSION`."""
        return f"{self.name}@{self.version}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "label": self.label,
            "id": self.agent,
            "author": self.author,
            "message": self.message,
            "at": self.at.isoformat(),
        }


def save_agent(
    store: Store, name: str, agent: Agent, *, message: str, author: str | None = None
) -> AgentVersion:
    """Keep an agent under a name; saving what is already the newest version adds none.

    Raises:
        ModelError: there is no such version as it answers with.
    """
    with version_kept(store, agent.model), store.session() as session:
        newest = session.scalar(
            select(AgentVersionRow)
            .where(AgentVersionRow.name == name)
            .order_by(AgentVersionRow.version.desc())
            .limit(1)
        )
        if newest is not None and newest.agent == agent.id:
            return as_version(newest)
        if session.get(AgentRow, agent.id) is None:
            session.add(AgentRow(id=agent.id, body=agent.canonical()))
            session.flush()
        last = session.scalar(
            select(func.max(AgentVersionRow.version)).where(AgentVersionRow.name == name)
        )
        row = AgentVersionRow(
            name=name,
            version=(last or 0) + 1,
            agent=agent.id,
            author=author or user(),
            message=message,
        )
        session.add(row)
        session.flush()
        return as_version(row)


def load_agent(store: Store, id: str) -> Agent:
    """The agent with an id, or with the id that begins so.

    Raises:
        AssayError: there is none, or several.
    """
    with store.session() as session:
        if len(id) == WHOLE:  # as every request to a release asks: by the key, not by a scan
            row = session.get(AgentRow, id)
            rows = [] if row is None else [row]
        else:
            begins = AgentRow.id.startswith(id, autoescape=True)
            rows = list(session.scalars(select(AgentRow).where(begins).limit(2)))
    if len(rows) != 1:
        what = "no agent" if not rows else "more than one agent"
        raise AssayError(f"there is {what} whose id begins with {id!r}.")
    return Agent.model_validate_json(rows[0].body)


def history(store: Store, name: str | None) -> list[AgentVersion]:
    """Every version under a name, or of all agents, newest first."""
    asked = select(AgentVersionRow).order_by(AgentVersionRow.key.desc())
    if name is not None:
        asked = asked.where(AgentVersionRow.name == name)
    with store.session() as session:
        rows = session.scalars(asked).all()
        return [as_version(row) for row in rows]


def find_version(store: Store, label: str) -> AgentVersion:
    """The save that `NAME@VERSION` names.

    Raises:
        UsageError: it is not written so.
        NotFoundError: there is no such save.
    """
    name, sign, number = label.rpartition("@")
    if not sign or not name or not number.isdecimal() or len(number) > 9:
        raise UsageError(
            f"{label!r} is not a version of an agent.", fix="Use NAME@VERSION, such as fine-tune@2."
        )
    with store.session() as session:
        row = session.scalar(
            select(AgentVersionRow).where(
                AgentVersionRow.name == name, AgentVersionRow.version == int(number)
            )
        )
        if row is not None:
            return as_version(row)
        newest = session.scalar(
            select(func.max(AgentVersionRow.version)).where(AgentVersionRow.name == name)
        )
        if not newest:
            raise no_agent(session, label)
    raise NotFoundError(f"there is no agent {label}.", fix=f"{name} has versions 1 to {newest}.")


def no_agent(session: Session, name: str) -> NotFoundError:
    """What to raise where an agent is named that is not there: it says which there are."""
    names = session.scalars(select(AgentVersionRow.name).distinct().limit(20)).all()
    if not names:
        return NotFoundError(
            f"there is no agent {name}, and no other yet.", fix=f"{Step.COMPARE} creates some."
        )
    return NotFoundError(
        f"there is no agent {name}.", fix=f"There are: {', '.join(sorted(names))}."
    )


def as_version(row: AgentVersionRow) -> AgentVersion:
    """A save as its row tells it."""
    return AgentVersion(row.name, row.version, row.agent, row.author, row.message, row.at)


def user() -> str:
    """Who runs this process, as the machine knows them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
