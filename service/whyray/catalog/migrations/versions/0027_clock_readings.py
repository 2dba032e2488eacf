"""What the clocks of machines said last, and what a workitem's own jobs are told from without a clock."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "clock_readings",
        sa.Column("boot", sa.String(length=96), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("boot"),
    )
    op.add_column("workitems", sa.Column("taken_after", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Take back."""
    # as in 0014: Alembic's batch would take the rows of other tables with it
    op.execute("ALTER TABLE workitems DROP COLUMN taken_after")
    op.drop_table("clock_readings")
