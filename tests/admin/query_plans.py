"""What the catalog is asked, and how the database says that it would answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

Statement = tuple[str, Any]
BIG = (
    "jobs",
    "deliveries",
    "results",
    "events",
    "instances",
    "studies",
    "series",
    "drift_samples",
    "audit_records",
    "feedback",
    "workitems",
)
"""Tables that grow with the work."""


@contextmanager
def asked(engine: Engine) -> Iterator[list[Statement]]:
    """What the catalog is asked meanwhile: statements with their parameters."""
    statements: list[Statement] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", keep)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", keep)


def plan(engine: Engine, statement: Statement) -> list[str]:
    """The steps of a statement's plan."""
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    with engine.connect() as connection:
        return [str(row[-1]).strip() for row in connection.exec_driver_sql(explain + statement[0], statement[1])]


def read_whole(engine: Engine, statements: Sequence[Statement]) -> list[str]:
    """Steps that read a big table, or an index of all its rows, from one end to the other.

    One that is read in the order that is wanted, until so many rows are found, is not.
    """
    tables = "|".join(BIG)
    # of SQLite, and of PostgreSQL
    whole = re.compile(rf"SCAN ({tables})\b|.*Seq Scan on ({tables})\b")
    return [
        step
        for statement in statements
        for step in plan(engine, statement)
        if whole.match(step) and "ix_studies_receiving" not in step
        if "Seq Scan" in step or "LIMIT" not in statement[0]
    ]


def sorted_for_a_page(engine: Engine, statements: Sequence[Statement]) -> list[str]:
    """Steps that sort all that there is, of which some are wanted."""
    return [
        step
        for statement in statements
        if "LIMIT" in statement[0]
        for step in plan(engine, statement)
        if "FOR ORDER BY" in step or re.match(r"(->  )?Sort  \(", step)
    ]
