"""What the clocks of machines said last, which jobs are a workitem's own, and outages in a row."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
_WAITED_OUT = ("jobs", "deliveries", "announcements", "workitems")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "clock_readings",
        sa.Column("boot", sa.String(length=96), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("sweep_after", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("boot"),
    )
    op.add_column("workitems", sa.Column("taken_after", sa.Integer(), nullable=True))
    for table in _WAITED_OUT:
        op.add_column(table, sa.Column("outages", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    """Take back."""
    # as in 0014: Alembic's batch would take the rows of other tables with it
    for table in _WAITED_OUT:
        op.execute(f"ALTER TABLE {table} DROP COLUMN outages")
    op.execute("ALTER TABLE workitems DROP COLUMN taken_after")
    op.drop_table("clock_readings")
