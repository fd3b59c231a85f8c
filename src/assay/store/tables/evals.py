"""Evals and their runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from assay.store.tables.base import Table, UtcDateTime, now


class EvalRow(Table):
    """What answers are graded by: `request` is what the client has sent but for name and metadata,
    and never changes."""

    __tablename__ = "evals"

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    name: Mapped[str] = mapped_column(String(300))
    client_metadata: Mapped[dict[str, str] | None] = mapped_column(JSON, nullable=True)
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    updated: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class EvalRunRow(Table):
    """Items answered and graded by an eval; the batch of the same id (`assay.jobs.batches`) has its
    state. `data_source` is what the client has sent, without items that came with it; `tally` what
    came of it, counted once it is over."""

    __tablename__ = "eval_runs"

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(ForeignKey("batches.id"), unique=True)
    eval: Mapped[str] = mapped_column(ForeignKey("evals.id"), index=True)
    name: Mapped[str] = mapped_column(String(300))
    client_metadata: Mapped[dict[str, str] | None] = mapped_column(JSON, nullable=True)
    data_source: Mapped[dict[str, Any]] = mapped_column(JSON)
    total: Mapped[int] = mapped_column(Integer)
    tally: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
