"""Indexes of some rows alone, for SQLite and PostgreSQL.

SQLAlchemy loads PostgreSQL's dialect, 2 MB, as soon as an index says which rows it is of there. So that is said when an
engine for PostgreSQL is made, and not before.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Index, MetaData, TextClause, text
from sqlalchemy.orm import InstrumentedAttribute

_WHERE = "where"


def partial_index(name: str, *columns: InstrumentedAttribute[Any], where: ColumnElement[bool] | TextClause) -> Index:
    """An index of the rows that meet a condition."""
    return Index(name, *columns, sqlite_where=where, info={_WHERE: where})


def index_of_stuck(name: str, *columns: InstrumentedAttribute[Any]) -> Index:
    """An index of what failed or waits alone: what goes well, which is nearly all, is never entered there."""
    # not IN: SQLite does not see that each of its values is enough
    stuck = text("state = 'failed' OR state = 'waiting'")
    return partial_index(name, *columns, where=stuck)


def tell_postgresql(metadata: MetaData) -> None:
    """Let the partial indexes of these tables be partial on PostgreSQL, too."""
    for table in metadata.tables.values():
        for index in table.indexes:
            if _WHERE in index.info:
                index.dialect_kwargs["postgresql_where"] = index.info[_WHERE]
