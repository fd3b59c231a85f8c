"""Documents and their index."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from assay.store.tables.base import Table, UtcDateTime, now


class KnowledgeBaseRow(Table):
    """A knowledge base; `build` points at what is searched now, its files are `knowledge/<id>/`."""

    __tablename__ = "knowledge_bases"
    __table_args__ = (UniqueConstraint("owner", "name"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(100))
    build: Mapped[int | None] = mapped_column(Integer, nullable=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class KnowledgeBuildRow(Table):
    """One state of a knowledge base, indexed and never changed; `table` is its folder, if any.

    `snapshot` is the hash of its documents and settings, `superseded` when another took its place.
    """

    __tablename__ = "knowledge_builds"
    __table_args__ = (UniqueConstraint("base", "snapshot"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    base: Mapped[str] = mapped_column(ForeignKey("knowledge_bases.id"))
    snapshot: Mapped[str] = mapped_column(String(64))
    table: Mapped[str | None] = mapped_column(String(100), nullable=True)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    dimension: Mapped[int] = mapped_column(Integer)
    passages: Mapped[int] = mapped_column(Integer)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    superseded: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)


class KnowledgeDocumentRow(Table):
    """A document as a build has it; `location` is where its file lay, for looking at it again."""

    __tablename__ = "knowledge_documents"
    __table_args__ = (UniqueConstraint("build", "path"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    build: Mapped[int] = mapped_column(ForeignKey("knowledge_builds.key"))
    path: Mapped[str] = mapped_column(String(1000))
    location: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    pages: Mapped[int | None] = mapped_column(Integer, nullable=True)
    passages: Mapped[int] = mapped_column(Integer)
    labels: Mapped[list[str]] = mapped_column(JSON)
    added: Mapped[datetime] = mapped_column(UtcDateTime)


class KnowledgeFailureRow(Table):
    """A file that could not be added, until it can be or is removed."""

    __tablename__ = "knowledge_failures"
    __table_args__ = (UniqueConstraint("base", "path"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    base: Mapped[str] = mapped_column(ForeignKey("knowledge_bases.id"))
    path: Mapped[str] = mapped_column(String(1000))
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class VectorStoreRow(Table):
    """What a vector store is beside the knowledge base of its name, `id`.

    `name` is shown, `notes` are the client's metadata, `active` is when it was last searched.
    """

    __tablename__ = "vector_stores"
    __table_args__ = (UniqueConstraint("project", "id"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(String(200))
    id: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(300))
    notes: Mapped[dict[str, str]] = mapped_column(JSON)
    active: Mapped[datetime | None] = mapped_column(UtcDateTime, nullable=True)


class VectorStoreFileRow(Table):
    """A client's file in a vector store: the document it becomes, and the job that reads it."""

    __tablename__ = "vector_store_files"
    __table_args__ = (UniqueConstraint("project", "store", "file"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    project: Mapped[str] = mapped_column(String(200))
    store: Mapped[str] = mapped_column(String(100))
    file: Mapped[str] = mapped_column(String(40), index=True)
    document: Mapped[str] = mapped_column(String(400))
    bytes: Mapped[int] = mapped_column(BigInteger)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
