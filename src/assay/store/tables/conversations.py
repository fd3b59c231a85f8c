"""Responses that are kept to be gone on from, and conversations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from assay.store.tables.base import Table, UtcDateTime


class ResponseRow(Table):
    """A response with its own input; what came before both is in the rows that `previous` leads to.

    Attributes:
        key_id: of the API key that it belongs to.
        body: as the client got it, without log-probabilities.
        bytes: of all that is kept of it.
        chain_items, chain_bytes: of what was said in this row and all before it.
        expires: long ago, if it was deleted.
    """

    __tablename__ = "responses"
    __table_args__ = (Index("ix_responses_project", "project", "bytes"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    project: Mapped[str] = mapped_column(String(200))
    key_id: Mapped[str] = mapped_column(String(40))
    previous: Mapped[str | None] = mapped_column(
        ForeignKey("responses.id"), nullable=True, index=True
    )
    conversation: Mapped[str | None] = mapped_column(String(40), nullable=True)
    bytes: Mapped[int] = mapped_column(Integer)
    chain_items: Mapped[int] = mapped_column(Integer)
    chain_bytes: Mapped[int] = mapped_column(Integer)
    expires: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    # Last: SQLite reads all that stands before a column.
    input: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)


class ConversationRow(Table):
    """A conversation; `items` and `bytes` count what is in it."""

    __tablename__ = "conversations"
    __table_args__ = (Index("ix_conversations_project", "project", "bytes"),)

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    project: Mapped[str] = mapped_column(String(200))
    key_id: Mapped[str] = mapped_column(String(40))
    client_metadata: Mapped[dict[str, str]] = mapped_column(JSON)
    items: Mapped[int] = mapped_column(Integer)
    bytes: Mapped[int] = mapped_column(Integer)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    expires: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class ConversationItemRow(Table):
    """What was said or called in a conversation, in the order of `key`.

    Attributes:
        conversation: None once it was taken out, until it is erased.
    """

    __tablename__ = "conversation_items"

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    conversation: Mapped[str | None] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), nullable=True, index=True
    )
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    bytes: Mapped[int] = mapped_column(Integer)
