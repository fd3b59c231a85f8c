"""Releases, traces and their labels."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "releases",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("project", sa.String(200), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("agent", sa.String(64), sa.ForeignKey("agents.id"), nullable=False),
        sa.Column("label", sa.String(120), nullable=False),
        sa.Column("canary", sa.String(64), sa.ForeignKey("agents.id"), nullable=True),
        sa.Column("canary_label", sa.String(120), nullable=True),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("previous", sa.Integer, nullable=True),
        sa.Column("comparison", sa.String(64), nullable=True),
        sa.Column("reason", sa.Text, nullable=True),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("project", "name", "number"),
    )
    op.create_table(
        "trace_policies",
        sa.Column("project", sa.String(200), primary_key=True),
        sa.Column("release", sa.String(100), primary_key=True),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("sample", sa.Float, nullable=False),
        sa.Column("days", sa.Integer, nullable=False),
        sa.Column("most", sa.Integer, nullable=False),
        sa.Column("seed", sa.String(64), nullable=False),
    )
    op.create_table(
        "traces",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("project", sa.String(200), nullable=False),
        sa.Column("release", sa.String(100), nullable=False),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("messages", sa.JSON, nullable=False),
        sa.Column("tools", sa.JSON, nullable=False),
        sa.Column("answer", sa.JSON, nullable=False),
        sa.Column("usage", sa.JSON, nullable=True),
        sa.Column("masked", sa.Integer, nullable=False),
        sa.Column("sampled", sa.Boolean, nullable=False),
        sa.Column("thumb", sa.String(4), nullable=True),
        sa.Column("corrected", sa.Text, nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_traces_release", "traces", ["project", "release", "sampled"])
    op.create_table(
        "trace_labels",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("trace", sa.String(40), nullable=False, unique=True),
        sa.Column("project", sa.String(200), nullable=False),
        sa.Column("release", sa.String(100), nullable=False),
        sa.Column("agent", sa.String(64), nullable=False),
        sa.Column("score", sa.Float, nullable=True),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_trace_labels_release", "trace_labels", ["project", "release", "agent"])
