"""When a later run of its job replaced a result: said of the result itself, since its job may be superseded after that.

A run enters its results in the transaction that replaces those before, so that a result was replaced when the next of
its kind, finding and method was made. Of a job that is superseded already, nobody can tell which of its results had
been replaced before that.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Apply."""
    op.add_column("results", sa.Column("replaced_at", sa.DateTime(), nullable=True))
    op.execute(
        "UPDATE results SET replaced_at = coalesce("
        "(SELECT min(later.created_at) FROM results AS later WHERE later.job_id = results.job_id "
        "AND later.created_at > results.created_at AND later.kind = results.kind "
        "AND coalesce(later.finding, '') = coalesce(results.finding, '') "
        "AND coalesce(later.method, '') = coalesce(results.method, '')), "
        "(SELECT min(later.created_at) FROM results AS later WHERE later.job_id = results.job_id "
        "AND later.created_at > results.created_at), "
        "(SELECT coalesce(jobs.finished_at, jobs.created_at) FROM jobs WHERE jobs.id = results.job_id)) "
        "WHERE superseded AND (SELECT jobs.state FROM jobs WHERE jobs.id = results.job_id) <> 'superseded'"
    )


def downgrade() -> None:
    """Take back."""
    # as in 0014: Alembic's batch would take the rows of other tables with it
    op.execute("ALTER TABLE results DROP COLUMN replaced_at")
