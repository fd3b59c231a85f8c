"""Chat completions that clients keep."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from assay.store.tables.base import Table, UtcDateTime


class ChatCompletionRow(Table):
    """A chat completion, with the conversation that it answers.

    Attributes:
        key_id: of the API key that it belongs to.
        model: the name that was asked for.
        bytes: of all that is kept of it.
        expires: long ago, if it was deleted.
        body: as the client got it, without log-probabilities and metadata.
    """

    __tablename__ = "chat_completions"
    __table_args__ = (Index("ix_chat_completions_project", "project", "bytes"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    project: Mapped[str] = mapped_column(String(200))
    key_id: Mapped[str] = mapped_column(String(40))
    model: Mapped[str] = mapped_column(String(300))
    bytes: Mapped[int] = mapped_column(Integer)
    expires: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    client_metadata: Mapped[dict[str, str]] = mapped_column(JSON)
    # Last: SQLite reads all that stands before a column.
    messages: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
