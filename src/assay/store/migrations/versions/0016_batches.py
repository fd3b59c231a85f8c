"""Batches of requests."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(40), sa.ForeignKey("jobs.id"), nullable=False, unique=True),
        sa.Column("project", sa.String(200), nullable=False, index=True),
        sa.Column("key_id", sa.String(40), nullable=False),
        sa.Column("endpoint", sa.String(60), nullable=False),
        sa.Column("input_file", sa.String(40), nullable=False),
        sa.Column("client_metadata", sa.JSON, nullable=True),
        sa.Column("lifetime_s", sa.Integer, nullable=True),
        sa.Column("model", sa.String(300), nullable=True),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("completed", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("usage", sa.JSON, nullable=True),
        sa.Column("outcome", sa.String(20), nullable=True, index=True),
        sa.Column("errors", sa.JSON, nullable=True),
        sa.Column("output_file", sa.String(40), nullable=True),
        sa.Column("error_file", sa.String(40), nullable=True),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("expires", _TIME, nullable=False),
        sa.Column("begun", _TIME, nullable=True),
        sa.Column("finalizing", _TIME, nullable=True),
        sa.Column("cancelling", _TIME, nullable=True),
        sa.Column("ended", _TIME, nullable=True),
    )
