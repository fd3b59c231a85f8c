"""Evals and their runs; the scope that reads a file."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    for table in ("files", "batches"):
        op.add_column(table, sa.Column("scope", sa.String(40), nullable=True))
    op.create_table(
        "evals",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("project", sa.String(200), nullable=False, index=True),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("client_metadata", sa.JSON, nullable=True),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("updated", _TIME, nullable=False),
    )
    op.create_table(
        "eval_runs",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(40), sa.ForeignKey("batches.id"), nullable=False, unique=True),
        sa.Column("eval", sa.String(40), sa.ForeignKey("evals.id"), nullable=False, index=True),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("client_metadata", sa.JSON, nullable=True),
        sa.Column("data_source", sa.JSON, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("tally", sa.JSON, nullable=True),
        sa.Column("created", _TIME, nullable=False),
    )
