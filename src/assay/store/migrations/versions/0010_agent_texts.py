"""The text of a version of an agent, as a person wrote it."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agent_texts",
        sa.Column("version", sa.Integer, sa.ForeignKey("agent_versions.key"), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("agent_texts")
