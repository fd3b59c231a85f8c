"""Long work, fine-tunings, and the files that clients bring."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, column_property, mapped_column

from assay.store.tables.base import Table, UtcDateTime, exactly_now, now
from assay.store.tables.clock import database_time


class JobRow(Table):
    """Long work that a worker takes up; `assay.jobs.queue` is the only one that changes it.

    `taken` is when its last worker took it, `worked_s` the seconds that earlier ones had it, `due`
    when it may be taken; null: at once.
    """

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    kind: Mapped[str] = mapped_column(String(40))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(20), index=True)
    wish: Mapped[str | None] = mapped_column(String(20), nullable=True)
    worker: Mapped[str | None] = mapped_column(String(100), nullable=True)
    beat: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)
    attempts: Mapped[int] = mapped_column(Integer)
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    error: Mapped[str | None] = mapped_column(Text, nullable=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=exactly_now)
    started: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)
    taken: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)
    worked_s: Mapped[float] = mapped_column(Float, default=0.0)
    ended: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)
    due: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)


class JobEventRow(Table):
    """What happened to a job, in order; rows are only ever added."""

    __tablename__ = "job_events"

    key: Mapped[int] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class FileRow(Table):
    """A file that a client has uploaded or a job has made; its bytes are the object `files/<id>`.

    `key` is the order in which files came. `scope` is what a caller needs, beside `files`, to read
    the bytes, as of copies of traces: a scope, or the id of the key that alone may (`may_read`).
    """

    __tablename__ = "files"

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    filename: Mapped[str] = mapped_column(String(300))
    purpose: Mapped[str] = mapped_column(String(40))
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    scope: Mapped[str | None] = mapped_column(String(40), nullable=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)


class UploadRow(Table):
    """A file that comes in parts; `file` is what it has become. `is_late` is asked of the database
    whenever a row is read."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    filename: Mapped[str] = mapped_column(String(300))
    purpose: Mapped[str] = mapped_column(String(40))
    bytes: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(20))
    file: Mapped[str | None] = mapped_column(String(40), nullable=True)
    lifetime_s: Mapped[int | None] = mapped_column(Integer, nullable=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires: Mapped[datetime] = mapped_column(UtcDateTime)
    is_late: Mapped[bool] = column_property(expires <= database_time())


class UploadPartRow(Table):
    """One part of an upload; its bytes are the object `uploads/<upload>/<id>`.

    `sha256` is theirs; parts from before it was kept have none.
    """

    __tablename__ = "upload_parts"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    upload: Mapped[str] = mapped_column(ForeignKey("uploads.id"), index=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64), nullable=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class UnnamedObjectRow(Table):
    """An object that no other row names: not yet, or not any more (`doomed`)."""

    __tablename__ = "unnamed_objects"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    doomed: Mapped[bool] = mapped_column(Boolean)
    since: Mapped[datetime] = mapped_column(UtcDateTime)


class FineTuningRow(Table):
    """What is known of a fine-tuning beside its job (`id`), which has its state and its result.

    `request` is what was asked for, `chosen` the numbers that were taken for "auto" once the files
    were checked and, as `made`, the version that it has saved last; `finish` when it will probably
    be done, `error` why it failed (code, param).
    """

    __tablename__ = "fine_tunings"

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    chosen: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)
    finish: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON, nullable=True)


class BatchRow(Table):
    """What is known of a batch of requests beside its job (`id`), which says who works on it.

    `key_id` is the API key that it was created with and is answered for; `scope` is that of all its
    files. `outcome` is None until it is over, then a status in OpenAI's words; `usage` has the
    tokens of its answers. `is_late` is asked of the database whenever a row is read.
    """

    __tablename__ = "batches"

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    key_id: Mapped[str] = mapped_column(String(40))
    endpoint: Mapped[str] = mapped_column(String(60))
    input_file: Mapped[str] = mapped_column(String(40))
    client_metadata: Mapped[dict[str, str] | None] = mapped_column(JSON, nullable=True)
    lifetime_s: Mapped[int | None] = mapped_column(Integer, nullable=True)
    scope: Mapped[str | None] = mapped_column(String(40), nullable=True)
    model: Mapped[str | None] = mapped_column(String(300), nullable=True)
    total: Mapped[int] = mapped_column(Integer, default=0)
    completed: Mapped[int] = mapped_column(Integer, default=0)
    failed: Mapped[int] = mapped_column(Integer, default=0)
    usage: Mapped[dict[str, int] | None] = mapped_column(JSON, nullable=True)
    outcome: Mapped[str | None] = mapped_column(String(20), nullable=True, index=True)
    errors: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON, nullable=True)
    output_file: Mapped[str | None] = mapped_column(String(40), nullable=True)
    error_file: Mapped[str | None] = mapped_column(String(40), nullable=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires: Mapped[datetime] = mapped_column(UtcDateTime)
    is_late: Mapped[bool] = column_property(expires <= database_time())
    begun: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)
    finalizing: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)
    cancelling: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)
    ended: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)


class FineTuningCheckpointRow(Table):
    """The weights after an epoch of a fine-tuning, kept as a version and served under `name`."""

    __tablename__ = "fine_tuning_checkpoints"
    __table_args__ = (UniqueConstraint("job", "step"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    step: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(String(300))
    version: Mapped[str] = mapped_column(String(64))
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class ServedNameRow(Table):
    """A name that the server answers to beside releases, such as `ft:<base>:<org>:<suffix>:<id>`.

    `target` is a model reference or `version:ID`; it never changes.
    """

    __tablename__ = "served_names"

    name: Mapped[str] = mapped_column(String(300), primary_key=True)
    project: Mapped[str] = mapped_column(String(200), index=True)
    target: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
