"""Who this installation is: one UID, made with the catalog and kept in it."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Apply."""
    installation = op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device_uid", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    # Here and nowhere else: migrations run once, however many processes start together.
    op.bulk_insert(installation, [{"id": 1, "device_uid": f"2.25.{uuid.uuid4().int}"}])


def downgrade() -> None:
    """Take back."""
    op.drop_table("installation")
