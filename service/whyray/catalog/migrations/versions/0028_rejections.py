"""Instances that a key object selection rejected."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Apply."""
    bytewise = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    op.create_table(
        "rejections",
        sa.Column("study_instance_uid", bytewise, nullable=False),
        sa.Column("sop_instance_uid", sa.String(64), nullable=False),
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("document_uid", sa.String(64), nullable=False),
        sa.Column("rejected_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("study_instance_uid", "sop_instance_uid"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("rejections")
