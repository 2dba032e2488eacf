"""One revision of a route's answers is in force.

A cancelled job was left so beside that of the next revision, its results of before in force, and could be retried.
"""

from alembic import op

revision = "0024"
down_revision = "0023"

_NEWER = (
    "EXISTS (SELECT 1 FROM jobs AS newer WHERE newer.study_id = jobs.study_id AND newer.route = jobs.route "
    "AND newer.package = jobs.package AND newer.revision > jobs.revision)"
)


def upgrade() -> None:
    """Apply."""
    op.execute(
        "UPDATE results SET superseded = true WHERE NOT superseded "  # nosec B608  # the migration's own words
        f"AND job_id IN (SELECT id FROM jobs WHERE state <> 'superseded' AND {_NEWER})"
    )
    op.execute(
        "UPDATE jobs SET state = 'superseded', lease_owner = NULL, lease_until = NULL, progress_text = NULL "  # nosec B608
        f"WHERE state <> 'superseded' AND {_NEWER}"
    )


def downgrade() -> None:
    """Take back: nothing, for what is superseded stays so."""
