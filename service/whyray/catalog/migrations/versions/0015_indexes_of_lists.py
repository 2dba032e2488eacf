"""Indexes by which the lists of the admin page are sorted and counted."""

from alembic import op

revision = "0015"
down_revision = "0014"

_INDEXES = (
    ("ix_jobs_created", "jobs", ["created_at", "id"]),
    ("ix_jobs_study_state", "jobs", ["study_id", "state"]),
    ("ix_jobs_state_created", "jobs", ["state", "created_at", "id"]),
    ("ix_deliveries_created", "deliveries", ["created_at", "result_id", "destination"]),
    ("ix_deliveries_state_created", "deliveries", ["state", "created_at", "result_id", "destination"]),
    ("ix_deliveries_sent", "deliveries", ["destination", "sent_at"]),
    ("ix_deliveries_commitment", "deliveries", ["state", "commitment_asked_at"]),
)


def upgrade() -> None:
    """Apply."""
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    """Take back."""
    for name, table, _ in reversed(_INDEXES):
        op.drop_index(name, table)
