"""How long workers have had a job: not the time that it was paused or waited."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("taken", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("worked_s", sa.Float, nullable=False, server_default="0"))
