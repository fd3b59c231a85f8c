"""Responses that are kept to be gone on from, and conversations."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "responses",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("project", sa.String(200), nullable=False),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column(
            "previous", sa.String(40), sa.ForeignKey("responses.id"), nullable=True, index=True
        ),
        sa.Column("conversation", sa.String(40), nullable=True),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("chain_items", sa.Integer, nullable=False),
        sa.Column("chain_bytes", sa.Integer, nullable=False),
        sa.Column("expires", _TIME, nullable=False, index=True),
        sa.Column("input", sa.JSON, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_index("ix_responses_project", "responses", ["project", "bytes"])
    op.create_table(
        "conversations",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("project", sa.String(200), nullable=False),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("client_metadata", sa.JSON, nullable=False),
        sa.Column("items", sa.Integer, nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("expires", _TIME, nullable=False, index=True),
    )
    op.create_index("ix_conversations_project", "conversations", ["project", "bytes"])
    op.create_table(
        "conversation_items",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column(
            "conversation",
            sa.String(40),
            sa.ForeignKey("conversations.id", ondelete="CASCADE"),
            nullable=True,
            index=True,
        ),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
    )
