"""Indexes of some rows alone, for SQLite and PostgreSQL.

SQLAlchemy loads PostgreSQL's dialect, 2 MB, as soon as an index says which rows it is of there. So that is said when an
engine for PostgreSQL is made, and not before.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Index, MetaData, TextClause
from sqlalchemy.orm import InstrumentedAttribute

_WHERE = "where"


def partial_index(name: str, *columns: InstrumentedAttribute[Any], where: ColumnElement[bool] | TextClause) -> Index:
    """An index of the rows that meet a condition."""
    return Index(name, *columns, sqlite_where=where, info={_WHERE: where})


def tell_postgresql(metadata: MetaData) -> None:
    """Let the partial indexes of these tables be partial on PostgreSQL, too."""
    for table in metadata.tables.values():
        for index in table.indexes:
            if _WHERE in index.info:
                index.dialect_kwargs["postgresql_where"] = index.info[_WHERE]
