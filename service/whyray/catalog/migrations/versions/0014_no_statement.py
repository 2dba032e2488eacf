"""Of which images of a job nothing was said, and why."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Apply."""
    op.add_column("jobs", sa.Column("no_statement", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    """Take back."""
    # Not by Alembic's batch: on SQLite it makes the table anew, and dropping the old one takes the rows of all tables
    # that refer to it with it.
    op.execute("ALTER TABLE jobs DROP COLUMN no_statement")
