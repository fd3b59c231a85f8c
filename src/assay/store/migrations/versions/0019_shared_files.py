"""Files and folders of the state that are objects in a bucket."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "shared_files",
        sa.Column("path", sa.String(300), primary_key=True),
        sa.Column("object", sa.String(200), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
