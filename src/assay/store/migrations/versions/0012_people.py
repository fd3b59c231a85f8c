"""People of the studio, and who of them is signed in."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("role", sa.String(10), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
    for table, *columns in (
        ("sessions", sa.Column("created", sa.DateTime(timezone=True), nullable=False)),
        ("sign_ins",),
    ):
        op.create_table(
            table,
            sa.Column("hash", sa.String(64), primary_key=True),
            sa.Column("user", sa.String(40), sa.ForeignKey("users.id"), nullable=False),
            *columns,
            sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        )
        op.create_index(f"ix_{table}_user", table, ["user"])
