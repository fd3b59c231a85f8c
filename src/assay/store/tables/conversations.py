"""Responses that are kept to be gone on from, and conversations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from assay.store.tables.base import Table, UtcDateTime


class ResponseRow(Table):
    """A response with its own input; what came before both is in the rows that `previous` leads to.

    Attributes:
        key_id: of the API key that it belongs to.
        hidden: it was deleted, and a later response goes on from it.
        body: as the client got it.
        chain_items, chain_bytes: of this row and all before it.
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
    hidden: Mapped[bool] = mapped_column(Boolean, default=False)
    input: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    bytes: Mapped[int] = mapped_column(Integer)
    chain_items: Mapped[int] = mapped_column(Integer)
    chain_bytes: Mapped[int] = mapped_column(Integer)
    expires: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


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
    """What was said or called in a conversation, in the order of `key`."""

    __tablename__ = "conversation_items"

    key: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    conversation: Mapped[str] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), index=True
    )
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    bytes: Mapped[int] = mapped_column(Integer)
