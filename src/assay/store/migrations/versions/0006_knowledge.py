"""Knowledge bases, their builds and documents."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "knowledge_bases",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("build", sa.Integer, nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("owner", "name"),
    )
    op.create_table(
        "knowledge_builds",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("base", sa.String(40), sa.ForeignKey("knowledge_bases.id"), nullable=False),
        sa.Column("snapshot", sa.String(64), nullable=False),
        sa.Column("table", sa.String(100), nullable=True),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("dimension", sa.Integer, nullable=False),
        sa.Column("passages", sa.Integer, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("superseded", sa.DateTime(timezone=True), nullable=True),
        sa.UniqueConstraint("base", "snapshot"),
    )
    op.create_table(
        "knowledge_documents",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("build", sa.Integer, sa.ForeignKey("knowledge_builds.key"), nullable=False),
        sa.Column("path", sa.String(1000), nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("pages", sa.Integer, nullable=True),
        sa.Column("passages", sa.Integer, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("added", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("build", "path"),
    )
    op.create_table(
        "knowledge_failures",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("base", sa.String(40), sa.ForeignKey("knowledge_bases.id"), nullable=False),
        sa.Column("path", sa.String(1000), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("base", "path"),
    )
