"""Workitems of worklists, the transfer syntax of a delivery, and instances that no route is asked about."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "workitems",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("worklist", sa.String(length=64), nullable=False),
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=True),
        sa.Column("key", sa.String(length=255), nullable=True),
        sa.Column("transaction_uid", sa.String(length=64), nullable=True),
        sa.Column("claim_uid", sa.String(length=64), nullable=True),
        sa.Column("code", sa.String(length=128), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=True),
        sa.Column("route", sa.String(length=128), nullable=True),
        sa.Column("job_ids", sa.JSON(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.DateTime(), nullable=True),
        sa.Column("lease_owner", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.DateTime(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=True),
        sa.Column("closed_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
        sa.UniqueConstraint("worklist", "uid"),
    )
    with op.batch_alter_table("workitems", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_workitems_stage"), ["stage"], unique=False)
        batch_op.create_index(batch_op.f("ix_workitems_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_workitems_study_instance_uid"), ["study_instance_uid"], unique=False)
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.add_column(sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=True))
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.add_column(sa.Column("routed", sa.Boolean(), nullable=False, server_default=sa.true()))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("instances", schema=None) as batch_op:
        batch_op.drop_column("routed")
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.drop_column("transfer_syntax_uid")
    with op.batch_alter_table("workitems", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_workitems_study_instance_uid"))
        batch_op.drop_index(batch_op.f("ix_workitems_state"))
        batch_op.drop_index(batch_op.f("ix_workitems_stage"))
    op.drop_table("workitems")
