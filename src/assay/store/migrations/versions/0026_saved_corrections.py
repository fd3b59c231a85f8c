"""Where corrections were saved, and whether they were added to the examples."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.add_column("traces", sa.Column("corrected_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("traces", sa.Column("saved_in", sa.String(200), nullable=True))
    op.add_column(
        "traces", sa.Column("added", sa.Boolean, nullable=False, server_default=sa.false())
    )
