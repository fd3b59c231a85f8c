"""Who asked for an opening of a holdout."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("openings", sa.Column("who", sa.String(200), nullable=True))
