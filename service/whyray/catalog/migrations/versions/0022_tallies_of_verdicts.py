"""Counts of verdicts and of workitems that the database keeps itself, as those of 0020: both tables were read whole."""

from alembic import op

revision = "0022"
down_revision = "0021"

# table: what its rows are counted by
_COUNTED = {"feedback": ("package", "verdict"), "workitems": ("worklist", "state")}
_ARRAY = {"sqlite": "json_array({})", "postgresql": "json_build_array({})::text"}


def upgrade() -> None:
    """Apply."""
    name = op.get_bind().dialect.name
    if name == "postgresql":
        # what a role of before still writes is committed before it is counted, or comes after the triggers
        op.execute(f"LOCK TABLE {', '.join(_COUNTED)} IN SHARE ROW EXCLUSIVE MODE")
    for table in _COUNTED:
        facets = _facets(table, table, name)
        op.execute(
            f"INSERT INTO tallies (relation, facets, part, number, size) "  # nosec B608  # the migration's own words
            f"SELECT '{table}', {facets}, 0, count(*), 0 FROM {table} GROUP BY {facets}"
        )
        for statement in _sqlite(table) if name == "sqlite" else _postgresql(table):
            op.execute(statement)


def _facets(table: str, row: str, name: str) -> str:
    return _ARRAY[name].format(", ".join(f"{row}.{column}" for column in _COUNTED[table]))


def _sqlite(table: str) -> list[str]:
    def change(row: str, sign: str) -> str:
        return (
            f"INSERT INTO tallies (relation, facets, part, number, size) "  # nosec B608  # the migration's own words
            f"VALUES ('{table}', {_facets(table, row, 'sqlite')}, 0, {sign}1, 0) "
            f"ON CONFLICT (relation, facets, part) DO UPDATE SET number = number + excluded.number;"
        )

    old, new = (_facets(table, row, "sqlite") for row in ("OLD", "NEW"))
    return [
        f"CREATE TRIGGER tally_{table}_insert AFTER INSERT ON {table} BEGIN {change('NEW', '')} END",
        f"CREATE TRIGGER tally_{table}_delete AFTER DELETE ON {table} BEGIN {change('OLD', '-')} END",
        f"CREATE TRIGGER tally_{table}_update AFTER UPDATE OF {', '.join(_COUNTED[table])} ON {table} "
        f"WHEN {old} <> {new} BEGIN {change('OLD', '-')} {change('NEW', '')} END",
    ]


def _postgresql(table: str) -> list[str]:
    def change(row: str, sign: str) -> str:
        return (
            f"INSERT INTO tallies (relation, facets, part, number, size) "  # nosec B608  # the migration's own words
            f"VALUES ('{table}', {_facets(table, row, 'postgresql')}, nextval('tallies_part'), {sign}1, 0);"
        )

    old, new = (_facets(table, row, "postgresql") for row in ("OLD", "NEW"))
    return [
        f"CREATE FUNCTION whyray_tally_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP <> 'INSERT' THEN {change('OLD', '-')} END IF; "
        f"IF TG_OP <> 'DELETE' THEN {change('NEW', '')} END IF; RETURN NULL; END $$",
        f"CREATE TRIGGER tally_{table} AFTER INSERT OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION whyray_tally_{table}()",
        f"CREATE TRIGGER tally_{table}_update AFTER UPDATE OF {', '.join(_COUNTED[table])} ON {table} FOR EACH ROW "
        f"WHEN ({old} <> {new}) EXECUTE FUNCTION whyray_tally_{table}()",
    ]


def downgrade() -> None:
    """Take back."""
    for table in _COUNTED:
        if op.get_bind().dialect.name == "sqlite":
            for when in ("insert", "delete", "update"):
                op.execute(f"DROP TRIGGER tally_{table}_{when}")
        else:
            op.execute(f"DROP FUNCTION whyray_tally_{table}() CASCADE")
        op.execute(f"DELETE FROM tallies WHERE relation = '{table}'")  # nosec B608  # the migration's own words
