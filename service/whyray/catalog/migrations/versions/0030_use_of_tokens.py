"""When an API token last let somebody in."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    """Apply."""
    op.add_column("api_tokens", sa.Column("last_used_at", sa.DateTime(), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.execute("ALTER TABLE api_tokens DROP COLUMN last_used_at")
