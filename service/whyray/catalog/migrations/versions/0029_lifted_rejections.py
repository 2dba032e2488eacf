"""When a rejection was lifted, beside the note that it was by; and when each note that rejects first came."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    """Apply."""
    bytewise = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    op.add_column("rejections", sa.Column("lifted_at", sa.DateTime(), nullable=True))
    # by which title these had been rejected nobody knows any more: the code stays what it is
    op.execute("UPDATE rejections SET lifted_at = rejected_at WHERE code = 'lifted'")
    op.create_table(
        "heeded_notes",
        sa.Column("study_instance_uid", bytewise, nullable=False),
        sa.Column("document_uid", sa.String(64), nullable=False),
        sa.Column("code", sa.String(16), nullable=False),
        sa.Column("first_came_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("study_instance_uid", "document_uid"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("heeded_notes")
    op.execute("UPDATE rejections SET code = 'lifted', rejected_at = lifted_at WHERE lifted_at IS NOT NULL")
    # as in 0014: Alembic's batch would take the rows of other tables with it
    op.execute("ALTER TABLE rejections DROP COLUMN lifted_at")
