"""Providers with their keys and consents; budgets and usage."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "providers",
        sa.Column("project", sa.String(200), primary_key=True),
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "secrets",
        sa.Column("project", sa.String(200), primary_key=True),
        sa.Column("provider", sa.String(63), primary_key=True),
        sa.Column("origin", sa.String(300), nullable=False),
        sa.Column("master", sa.String(16), nullable=False),
        sa.Column("nonce", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "consents",
        sa.Column("project", sa.String(200), primary_key=True),
        sa.Column("provider", sa.String(63), primary_key=True),
        sa.Column("origin", sa.String(300), nullable=False),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "budgets",
        sa.Column("key", sa.String(40), sa.ForeignKey("api_keys.id"), primary_key=True),
        sa.Column("most", sa.BigInteger, nullable=False),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("reserved", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "usage",
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("project", sa.String(200), nullable=False, index=True),
        sa.Column("key", sa.String(40), nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("model", sa.String(300), nullable=False),
        sa.Column("prompt", sa.Integer, nullable=True),
        sa.Column("cached", sa.Integer, nullable=True),
        sa.Column("completion", sa.Integer, nullable=True),
        sa.Column("reasoning", sa.Integer, nullable=True),
        sa.Column("cost", sa.BigInteger, nullable=True),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
