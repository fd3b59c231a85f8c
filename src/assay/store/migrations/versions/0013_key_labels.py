"""Keys that see only documents with some labels."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("labels", sa.JSON(none_as_null=True), nullable=True))
