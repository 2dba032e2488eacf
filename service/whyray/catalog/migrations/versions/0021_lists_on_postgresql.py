"""What lists with a million jobs are read from: a study by the end of its UID, a destination's jobs, what is stuck.

On PostgreSQL the Study Instance UID is compared byte by byte from now on, as SQLite does: by the collation of a
language, UIDs that begin alike need not stand together.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_STUCK = (
    ("ix_jobs_stuck", "jobs", ["state", "route", "error_code", "created_at", "id", "finished_at"]),
    ("ix_deliveries_stuck", "deliveries", ["state", "destination", "error_code", "created_at", "result_id"]),
    ("ix_announcements_stuck", "announcements", ["state", "destination", "error_code", "created_at"]),
)


def upgrade() -> None:
    """Apply."""
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        op.execute('ALTER TABLE studies ALTER COLUMN study_instance_uid TYPE VARCHAR(64) COLLATE "C"')
        # computed first, then let go: an UPDATE would leave every row twice behind it
        op.execute(
            'ALTER TABLE studies ADD COLUMN reversed_uid VARCHAR(64) COLLATE "C" NOT NULL '
            "GENERATED ALWAYS AS (reverse(study_instance_uid)) STORED"
        )
        op.execute("ALTER TABLE studies ALTER COLUMN reversed_uid DROP EXPRESSION")
    else:
        # SQLite has no such function, and takes NOT NULL of a new column only with a default
        connection: Any = bind.connection.driver_connection
        connection.create_function("whyray_reversed", 1, lambda uid: uid[::-1], deterministic=True)
        op.add_column("studies", sa.Column("reversed_uid", sa.String(length=64), nullable=False, server_default=""))
        op.execute("UPDATE studies SET reversed_uid = whyray_reversed(study_instance_uid)")
    op.create_index("ix_studies_reversed_uid", "studies", ["reversed_uid"])
    op.create_table(
        "job_destinations",
        sa.Column("job_id", sa.String(length=36), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "destination"),
    )
    op.execute(
        "INSERT INTO job_destinations (job_id, destination, created_at) "
        "SELECT DISTINCT jobs.id, deliveries.destination, jobs.created_at FROM deliveries "
        "JOIN results ON results.id = deliveries.result_id JOIN jobs ON jobs.id = results.job_id"
    )
    op.create_index("ix_job_destinations_created", "job_destinations", ["destination", "created_at", "job_id"])
    where = sa.text("state = 'failed' OR state = 'waiting'")
    for index, table, columns in _STUCK:
        op.create_index(index, table, columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    """Take back."""
    for index, table, _ in _STUCK:
        op.drop_index(index, table)
    op.drop_table("job_destinations")
    op.drop_index("ix_studies_reversed_uid", "studies")
    # as in 0014: Alembic's batch would take the rows of other tables with it
    op.execute("ALTER TABLE studies DROP COLUMN reversed_uid")
    if op.get_bind().dialect.name == "postgresql":
        op.execute('ALTER TABLE studies ALTER COLUMN study_instance_uid TYPE VARCHAR(64) COLLATE "default"')
