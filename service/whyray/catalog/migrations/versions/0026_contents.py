"""Which content of an instance is in use, how the others differ from it, and which results were withdrawn.

Contents that came before this are set aside as they were, and not compared: they were told of on their day. Instances
of which another study has the first content were not used before. They are now: those studies are routed once more.
"""

import hashlib
from collections.abc import Iterable
from itertools import groupby

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

_EARLIER_IN_STUDY = (
    "EXISTS (SELECT 1 FROM instances AS earlier JOIN series AS its_series ON its_series.id = earlier.series_id "
    "WHERE earlier.sop_instance_uid = instances.sop_instance_uid AND earlier.variant < instances.variant "
    "AND its_series.study_id = (SELECT study_id FROM series WHERE series.id = instances.series_id))"
)


_NOT_FIRST = (
    "SELECT instances.id, instances.sop_instance_uid, series.study_id, instances.variant "  # nosec B608
    "FROM instances JOIN series ON series.id = instances.series_id WHERE instances.sop_instance_uid IN "
    f"(SELECT sop_instance_uid FROM instances WHERE NOT set_aside AND {_EARLIER_IN_STUDY}) "
    "ORDER BY instances.sop_instance_uid, series.study_id, instances.set_aside, instances.variant"
)
"""All contents of instances of which another than the first is in use; the one in use before the others."""


def _number_in_use_first(connection: sa.Connection) -> None:
    numbered: list[dict[str, int]] = []
    for _, contents in groupby(connection.execute(sa.text(_NOT_FIRST)).all(), key=lambda row: (row[1], row[2])):
        rows = list(contents)
        variants = sorted(row.variant for row in rows)
        numbered += [{"id": row.id, "number": number} for row, number in zip(rows, variants, strict=True)]
    if numbered:
        # no two of an instance have the same at any time
        connection.execute(sa.text("UPDATE instances SET variant = -id WHERE id = :id"), numbered)
        connection.execute(sa.text("UPDATE instances SET variant = :number WHERE id = :id"), numbered)


_USED_SINCE = (
    "SELECT series.study_id FROM instances JOIN series ON series.id = instances.series_id "
    "WHERE instances.variant > 0 AND NOT instances.set_aside AND NOT instances.own_result"
)
"""Studies that have instances in use which were not before this."""
_JOBS = sa.table("jobs", *(sa.column(name) for name in ("id", "study_id", "through_instance", "input_digest", "state")))
_SERIES_UIDS = sa.column("series_uids", sa.JSON())
_TAKEN = sa.text(
    "SELECT series.series_instance_uid, instances.sha256, instances.variant FROM instances "
    "JOIN series ON series.id = instances.series_id WHERE series.study_id = :study AND instances.id <= :through "
    "AND NOT instances.set_aside AND NOT instances.own_result"
)


def _use_in_both_studies(connection: sa.Connection) -> None:
    """Have such studies routed anew; a job that has not run yet takes all that is in use."""
    connection.execute(
        sa.text(
            "UPDATE studies SET received_sequence = received_sequence + 1, expires_at = NULL "  # nosec B608
            f"WHERE id IN ({_USED_SINCE} AND instances.routed)"
        )
    )
    unfinished = (
        sa.select(_JOBS, _SERIES_UIDS)
        .where(_JOBS.c.state.in_(("queued", "waiting", "running")))
        .where(_JOBS.c.study_id.in_(sa.text(_USED_SINCE)))
    )
    for job in connection.execute(unfinished).all():
        rows = connection.execute(_TAKEN, {"study": job.study_id, "through": job.through_instance}).all()
        taken = [row for row in rows if row.series_instance_uid in job.series_uids]
        # what has lost instances says so when it runs
        if job.input_digest == _input_digest(row.sha256 for row in taken if row.variant == 0):
            digest = _input_digest(row.sha256 for row in taken)
            connection.execute(sa.update(_JOBS).where(_JOBS.c.id == job.id).values(input_digest=digest))


def _input_digest(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def upgrade() -> None:
    """Apply."""
    op.add_column("instances", sa.Column("set_aside", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(f"UPDATE instances SET set_aside = true WHERE variant > 0 AND {_EARLIER_IN_STUDY}")  # nosec B608
    _use_in_both_studies(op.get_bind())
    op.add_column("studies", sa.Column("content_decided_at", sa.DateTime(), nullable=True))
    op.add_column("results", sa.Column("withdrawn_at", sa.DateTime(), nullable=True))
    op.create_table(
        "conflicts",
        sa.Column("instance_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("came_at", sa.DateTime(), nullable=False),
        sa.Column("compared_at", sa.DateTime(), nullable=True),
        sa.Column("identification", sa.Text(), nullable=False),
        sa.Column("others", sa.Text(), nullable=False),
        sa.Column("pixels", sa.String(length=16), nullable=True),
        sa.Column("decision", sa.String(length=16), nullable=True),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("instance_id"),
    )
    op.create_index("ix_conflicts_study_id", "conflicts", ["study_id"])
    where = sa.text("decision IS NULL")
    op.create_index(
        "ix_conflicts_undecided", "conflicts", ["study_id", "instance_id"], sqlite_where=where, postgresql_where=where
    )


def downgrade() -> None:
    """Take back; the content that is in use becomes the first of its study, which is what was in use before."""
    _number_in_use_first(op.get_bind())
    op.drop_table("conflicts")
    # as in 0014: Alembic's batch would take the rows of other tables with it
    op.execute("ALTER TABLE results DROP COLUMN withdrawn_at")
    op.execute("ALTER TABLE studies DROP COLUMN content_decided_at")
    op.execute("ALTER TABLE instances DROP COLUMN set_aside")
