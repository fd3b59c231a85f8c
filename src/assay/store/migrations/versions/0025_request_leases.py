"""Requests at once of a key that servers hold."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.create_table(
        "request_leases",
        sa.Column("key", sa.String(40), primary_key=True),
        sa.Column("server", sa.String(40), primary_key=True),
        sa.Column("amount", sa.Integer, nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
    )
