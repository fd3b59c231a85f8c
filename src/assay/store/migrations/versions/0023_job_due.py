"""When a job may be taken."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("due", sa.DateTime(timezone=True), nullable=True))
