"""Vector stores of clients, and the files in them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "vector_stores",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("project", sa.String(200), nullable=False),
        sa.Column("id", sa.String(100), nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("notes", sa.JSON, nullable=False),
        sa.Column("active", sa.DateTime(timezone=True), nullable=True),
        sa.UniqueConstraint("project", "id"),
    )
    op.create_table(
        "vector_store_files",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("project", sa.String(200), nullable=False),
        sa.Column("store", sa.String(100), nullable=False),
        sa.Column("file", sa.String(40), nullable=False),
        sa.Column("document", sa.String(400), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("job", sa.String(40), sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("project", "store", "file"),
    )
    op.create_index("ix_vector_store_files_file", "vector_store_files", ["file"])
