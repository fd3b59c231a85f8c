"""Agents, what they were measured on, and what a folder remembers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Float,
    ForeignKey,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from assay.store.tables.base import Table, UtcDateTime, exactly_now, now


class AgentRow(Table):
    """The content of an agent, once; `id` is the sha256 of its canonical JSON."""

    __tablename__ = "agents"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    body: Mapped[str] = mapped_column(Text)


class AgentVersionRow(Table):
    """One save of an agent under a name; who, when and why are outside the content's hash."""

    __tablename__ = "agent_versions"
    __table_args__ = (UniqueConstraint("name", "version"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), index=True)
    version: Mapped[int] = mapped_column(Integer)
    agent: Mapped[str] = mapped_column(ForeignKey("agents.id"))
    author: Mapped[str] = mapped_column(String(200))
    message: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class AgentTextRow(Table):
    """What a person wrote, word for word, when they saved a version of an agent (YAML)."""

    __tablename__ = "agent_texts"

    version: Mapped[int] = mapped_column(ForeignKey("agent_versions.key"), primary_key=True)
    text: Mapped[str] = mapped_column(Text)


class DraftedQuestionRow(Table):
    """A question on a project's documents, drafted or written, that a person says yes or no to.

    `state` is `waiting`, `approved` or `rejected`; `document` is "" where none answers it. `key` is
    the order in which they came.
    """

    __tablename__ = "drafted_questions"
    __table_args__ = (UniqueConstraint("project", "id"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(String(200))
    id: Mapped[str] = mapped_column(String(40))
    question: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text)
    document: Mapped[str] = mapped_column(Text)
    passage: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(20))
    who: Mapped[str | None] = mapped_column(String(200), nullable=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class OpeningRow(Table):
    """One opening of a locked holdout; rows are only ever added. `who` asked for it; null: before
    that was kept."""

    __tablename__ = "openings"
    __table_args__ = (UniqueConstraint("holdout", "number"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    holdout: Mapped[str] = mapped_column(String(64), index=True)
    number: Mapped[int] = mapped_column(Integer)
    comparison: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    alpha: Mapped[float] = mapped_column(Float)
    who: Mapped[str | None] = mapped_column(String(200), nullable=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class ComparisonRow(Table):
    """One comparison: its written plan and, when it has ended, its result."""

    __tablename__ = "comparisons"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    holdout: Mapped[str] = mapped_column(String(64), index=True)
    plan: Mapped[dict[str, Any]] = mapped_column(JSON)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=exactly_now)


class SettingRow(Table):
    """A pointer or a choice that lasts, such as the current split."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
