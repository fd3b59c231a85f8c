"""What is kept in a bucket for all servers of a folder."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from assay.store.tables.base import Table


class BlobRow(Table):
    """Bytes by their content; they are the object `object`."""

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    object: Mapped[str] = mapped_column(String(200))
    bytes: Mapped[int] = mapped_column(BigInteger)


class TrainedVersionRow(Table):
    """A trained version whose files are the objects `<object>/<name>`.

    `files` has the `sha256` and the `bytes` of each by its name, `bytes` all of them together;
    `record` is what made the version, see `assay.models.versions.VersionRecord`.
    """

    __tablename__ = "trained_versions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    object: Mapped[str] = mapped_column(String(200))
    owner: Mapped[str | None] = mapped_column(String(200), nullable=True)
    saved_at: Mapped[str] = mapped_column(String(40))
    files: Mapped[dict[str, Any]] = mapped_column(JSON)
    bytes: Mapped[int] = mapped_column(BigInteger)
    record: Mapped[dict[str, Any]] = mapped_column(JSON)


class SharedFileRow(Table):
    """A file or folder of the state, by its path in it; packed, it is the object `object`.

    `bytes` and `sha256` are of the archive, see `assay.store.shared_files`.
    """

    __tablename__ = "shared_files"

    path: Mapped[str] = mapped_column(String(300), primary_key=True)
    object: Mapped[str] = mapped_column(String(200))
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
