"""The text of a version of an agent, as a person wrote it; questions drafted from documents."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "agent_texts",
        sa.Column("version", sa.Integer, sa.ForeignKey("agent_versions.key"), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "drafted_questions",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("project", sa.String(200), nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("passage", sa.Text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("who", sa.String(200), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("project", "id"),
    )
