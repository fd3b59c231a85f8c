"""Parts of budgets that processes hold; what was reserved before, nobody knows the cost of."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "budget_leases",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("key", sa.String(40), sa.ForeignKey("budgets.key"), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("risk", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_budget_leases_key", "budget_leases", ["key"])
    op.execute("UPDATE budgets SET spent = spent + reserved, reserved = 0 WHERE reserved > 0")
