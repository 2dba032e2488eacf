"""Counts that the database keeps itself, and the indexes by which lists of 100,000 studies are read.

The triggers count whoever writes, also what goes with its study. On SQLite, where one transaction writes at a time, the
counts are changed in place. On PostgreSQL two transactions would wait for each other at a count that both change, or
lock each other out: there each change is a row of its own, which `catalog.tallies.fold` adds up later.

A later migration that makes one of these tables anew has to make its triggers anew too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

# table: what its rows are counted by, what is summed up, and which columns may change
_COUNTED = {
    "jobs": ("{0}.route, {0}.package, {0}.state", "0", "route, package, state"),
    "deliveries": ("{0}.destination, {0}.route, {0}.state", "0", "destination, route, state"),
    "results": (
        "{0}.kind, {0}.finding, {0}.grade, {0}.superseded, {0}.picture_key IS NOT NULL",
        "0",
        "kind, finding, grade, superseded, picture_key",
    ),
    "events": ("{0}.kind, {0}.severity, {0}.actor", "0", "kind, severity, actor"),
    "instances": ("{0}.variant > 0", "{0}.size", "variant, size"),
    "studies": (
        "{0}.has_jobs, {0}.received_sequence > {0}.routed_sequence",
        "0",
        "has_jobs, received_sequence, routed_sequence",
    ),
}
_ARRAY = {"sqlite": "json_array({})", "postgresql": "json_build_array({})::text"}

_DROPPED = (
    ("ix_jobs_state", "jobs", ["state"]),
    ("ix_jobs_state_created", "jobs", ["state", "created_at", "id"]),
    ("ix_deliveries_state_created", "deliveries", ["state", "created_at", "result_id", "destination"]),
    ("ix_events_kind", "events", ["kind"]),
    ("ix_studies_last_received_at", "studies", ["last_received_at"]),
    ("ix_studies_unsettled", "studies", ["routed_sequence", "received_sequence"]),
)
_MADE = (
    ("ix_jobs_state_study", "jobs", ["state", "study_id"]),
    ("ix_jobs_facets", "jobs", ["route", "package", "state", "created_at", "id"]),
    ("ix_deliveries_facets", "deliveries", ["destination", "route", "state", "created_at", "result_id"]),
    ("ix_results_facets", "results", ["kind", "finding", "grade", "superseded", "id"]),
    ("ix_events_facets", "events", ["kind", "severity", "actor", "id"]),
    ("ix_events_kind_at", "events", ["kind", "at"]),
    ("ix_studies_received", "studies", ["last_received_at", "id"]),
    ("ix_feedback_at", "feedback", ["at", "id"]),
)
_PARTIAL = (
    ("ix_studies_receiving", "studies", ["last_received_at", "id"], "received_sequence > routed_sequence"),
    ("ix_studies_unrouted", "studies", ["last_received_at", "id"], "has_jobs IS {no}"),
    (
        "ix_deliveries_asked",
        "deliveries",
        ["destination", "commitment_asked_at"],
        "state = 'sent' AND commitment_asked_at IS NOT NULL",
    ),
)


def upgrade() -> None:
    """Apply."""
    name = op.get_bind().dialect.name
    op.add_column("studies", sa.Column("has_jobs", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("deliveries", sa.Column("route", sa.String(length=128), nullable=True))
    op.add_column("results", sa.Column("preview_key", sa.String(length=255), nullable=True))
    op.execute(
        f"UPDATE studies SET has_jobs = {_truth(name, True)} "  # nosec B608  # the migration's own words
        "WHERE EXISTS (SELECT 1 FROM jobs WHERE jobs.study_id = studies.id)"
    )
    op.execute(
        "UPDATE deliveries SET route = (SELECT jobs.route FROM results JOIN jobs ON jobs.id = results.job_id "
        "WHERE results.id = deliveries.result_id)"
    )
    for index, table, _ in _DROPPED:
        op.drop_index(index, table)
    for index, table, columns in _MADE:
        op.create_index(index, table, columns)
    for index, table, columns, condition in _PARTIAL:
        where = sa.text(condition.format(no=_truth(name, False)))
        op.create_index(index, table, columns, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "tallies",
        sa.Column("relation", sa.String(length=16), nullable=False),
        sa.Column("facets", sa.Text(), nullable=False),
        sa.Column("part", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("relation", "facets", "part"),
    )
    if name == "postgresql":
        op.execute("CREATE SEQUENCE tallies_part")
    for table in _COUNTED:
        facets, size = _of(table, table, name)
        op.execute(
            f"INSERT INTO tallies (relation, facets, part, number, size) "  # nosec B608  # the migration's own words
            f"SELECT '{table}', {facets}, 0, count(*), sum({size}) FROM {table} GROUP BY {facets}"
        )
        for statement in _sqlite(table) if name == "sqlite" else _postgresql(table):
            op.execute(statement)


def _truth(name: str, value: bool) -> str:
    return str(int(value)) if name == "sqlite" else str(value).lower()


def _of(table: str, row: str, name: str) -> tuple[str, str]:
    facets, size, _ = _COUNTED[table]
    return _ARRAY[name].format(facets.format(row)), size.format(row)


def _sqlite(table: str) -> list[str]:
    def change(row: str, sign: str) -> str:
        facets, size = _of(table, row, "sqlite")
        return (
            f"INSERT INTO tallies (relation, facets, part, number, size) "  # nosec B608  # the migration's own words
            f"VALUES ('{table}', {facets}, 0, {sign}1, {sign}{size}) ON CONFLICT (relation, facets, part) "
            f"DO UPDATE SET number = number + excluded.number, size = size + excluded.size;"
        )

    (old, old_size), (new, new_size) = (_of(table, row, "sqlite") for row in ("OLD", "NEW"))
    return [
        f"CREATE TRIGGER tally_{table}_insert AFTER INSERT ON {table} BEGIN {change('NEW', '')} END",
        f"CREATE TRIGGER tally_{table}_delete AFTER DELETE ON {table} BEGIN {change('OLD', '-')} END",
        f"CREATE TRIGGER tally_{table}_update AFTER UPDATE OF {_COUNTED[table][2]} ON {table} "
        f"WHEN {old} <> {new} OR {old_size} <> {new_size} BEGIN {change('OLD', '-')} {change('NEW', '')} END",
    ]


def _postgresql(table: str) -> list[str]:
    def change(row: str, sign: str) -> str:
        facets, size = _of(table, row, "postgresql")
        return (
            f"INSERT INTO tallies (relation, facets, part, number, size) "  # nosec B608  # the migration's own words
            f"VALUES ('{table}', {facets}, nextval('tallies_part'), {sign}1, {sign}{size});"
        )

    (old, old_size), (new, new_size) = (_of(table, row, "postgresql") for row in ("OLD", "NEW"))
    return [
        f"CREATE FUNCTION whyray_tally_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP <> 'INSERT' THEN {change('OLD', '-')} END IF; "
        f"IF TG_OP <> 'DELETE' THEN {change('NEW', '')} END IF; RETURN NULL; END $$",
        f"CREATE TRIGGER tally_{table} AFTER INSERT OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION whyray_tally_{table}()",
        f"CREATE TRIGGER tally_{table}_update AFTER UPDATE OF {_COUNTED[table][2]} ON {table} FOR EACH ROW "
        f"WHEN ({old} <> {new} OR {old_size} <> {new_size}) EXECUTE FUNCTION whyray_tally_{table}()",
    ]


def downgrade() -> None:
    """Take back."""
    name = op.get_bind().dialect.name
    for table in _COUNTED:
        if name == "sqlite":
            for when in ("insert", "delete", "update"):
                op.execute(f"DROP TRIGGER tally_{table}_{when}")
        else:
            op.execute(f"DROP FUNCTION whyray_tally_{table}() CASCADE")
    op.drop_table("tallies")
    if name == "postgresql":
        op.execute("DROP SEQUENCE tallies_part")
    for index, table, _, _ in _PARTIAL:
        op.drop_index(index, table)
    for index, table, _ in _MADE:
        op.drop_index(index, table)
    for index, table, columns in _DROPPED:
        op.create_index(index, table, columns)
    # as in 0014: Alembic's batch would take the rows of other tables with it
    for table, column in (("results", "preview_key"), ("deliveries", "route"), ("studies", "has_jobs")):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
