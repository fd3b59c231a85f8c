"""Releases and their traces."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from assay.store.tables.base import Table, UtcDateTime, now


class ReleaseRow(Table):
    """One change of a release, and all that holds after it; rows are only ever added.

    The row with the highest number is what is served, so a change is there whole or not at all.

    Attributes:
        label, canary_label: the agents as `NAME@VERSION`.
        share: of the keys that the canary answers, 0 to 1.
        previous: number of the change that a rollback brings back.
        comparison: that the agent was promoted on; with a reason it only measured the agent. Null
            where none did, and of older rows with a reason.
    """

    __tablename__ = "releases"
    __table_args__ = (UniqueConstraint("project", "name", "number"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(100))
    number: Mapped[int] = mapped_column(Integer)
    action: Mapped[str] = mapped_column(String(20))
    agent: Mapped[str] = mapped_column(ForeignKey("agents.id"))
    label: Mapped[str] = mapped_column(String(120))
    canary: Mapped[str | None] = mapped_column(ForeignKey("agents.id"), nullable=True)
    canary_label: Mapped[str | None] = mapped_column(String(120), nullable=True)
    share: Mapped[float] = mapped_column(Float)
    previous: Mapped[int | None] = mapped_column(Integer, nullable=True)
    comparison: Mapped[str | None] = mapped_column(String(64), nullable=True)
    reason: Mapped[str | None] = mapped_column(Text, nullable=True)
    who: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class TracePolicyRow(Table):
    """A release whose requests are kept while `active`; a release without a row keeps none.

    Switched off, it stays for the sake of those that were kept, whose time goes on running out.
    `seed` decides, with a trace's id, whether the trace belongs to the random sample.
    """

    __tablename__ = "trace_policies"

    project: Mapped[str] = mapped_column(String(200), primary_key=True)
    release: Mapped[str] = mapped_column(String(100), primary_key=True)
    active: Mapped[bool] = mapped_column(Boolean)
    sample: Mapped[float] = mapped_column(Float)
    days: Mapped[int] = mapped_column(Integer)
    most: Mapped[int] = mapped_column(Integer)
    seed: Mapped[str] = mapped_column(String(64))


class TraceRow(Table):
    """One served request and its answer, personal data replaced before it came here.

    `saved_in` names the file in the project's folder that holds its correction; `added`: the rows
    of that file were added to the examples.
    """

    __tablename__ = "traces"
    __table_args__ = (Index("ix_traces_release", "project", "release", "sampled"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    project: Mapped[str] = mapped_column(String(200))
    release: Mapped[str] = mapped_column(String(100))
    agent: Mapped[str] = mapped_column(String(64))
    messages: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    tools: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    answer: Mapped[dict[str, Any]] = mapped_column(JSON)
    usage: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    masked: Mapped[int] = mapped_column(Integer)
    sampled: Mapped[bool] = mapped_column(Boolean)
    thumb: Mapped[str | None] = mapped_column(String(4), nullable=True)
    corrected: Mapped[str | None] = mapped_column(Text, nullable=True)
    corrected_at: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)
    saved_in: Mapped[str | None] = mapped_column(String(200), nullable=True)
    added: Mapped[bool] = mapped_column(Boolean, default=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class TraceLabelRow(Table):
    """What a trace of the random sample was found to be worth; it outlives the trace's text.

    `score` is null where whoever labelled it could not tell.
    """

    __tablename__ = "trace_labels"
    __table_args__ = (Index("ix_trace_labels_release", "project", "release", "agent"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    trace: Mapped[str] = mapped_column(String(40), unique=True)
    project: Mapped[str] = mapped_column(String(200))
    release: Mapped[str] = mapped_column(String(100))
    agent: Mapped[str] = mapped_column(String(64))
    score: Mapped[float | None] = mapped_column(Float, nullable=True)
    who: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
