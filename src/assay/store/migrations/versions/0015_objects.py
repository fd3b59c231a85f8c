"""Objects that no row names, and hashes of the parts of uploads."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "unnamed_objects",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("doomed", sa.Boolean, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    )
    op.add_column("upload_parts", sa.Column("sha256", sa.String(64), nullable=True))
