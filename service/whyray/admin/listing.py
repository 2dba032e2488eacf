"""Lists in pages: where a page begins is said by the row before it, so that no page costs more than the first.

A list is made of streams, each a stretch of an index in the list's order; a page is merged from their beginnings.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Generic, TypeVar

from fastapi.exceptions import RequestValidationError
from sqlalchemy import ColumnElement, Select, func, inspect, literal, select, true, tuple_, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.base import ExecutableOption

from whyray.admin.backend import Paging
from whyray.admin.schemas import Page
from whyray.catalog import Base, is_one_of, tallies

Row = TypeVar("Row", bound=Base)
Item = TypeVar("Item")

MOST_COUNTED = 10_000
"""Where the catalog has no count of a list, its rows are counted up to here, unless the list says otherwise."""


_TOGETHER = 8
"""So many streams are read by one statement."""
_LARGEST = 2**31 - 1
"""What every database can count to."""


@dataclass(frozen=True)
class Stream:
    """Rows that meet these conditions; `facets` are columns of which each has one value there.

    The facets are named again when it is sorted: then every database sees that the index has this order already.
    """

    conditions: tuple[ColumnElement[bool], ...] = ()
    facets: tuple[InstrumentedAttribute[Any], ...] = ()

    def but(self, *conditions: ColumnElement[bool]) -> Stream:
        """Of these rows, those that meet more conditions."""
        return replace(self, conditions=(*self.conditions, *conditions))


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """A list: disjoint streams that are all of it, sorted by columns that no two rows have alike.

    `total` is how many there are, where that is known without counting; else they are counted up to `most_counted`.
    `options` say what is loaded with a row. `read_by` is for streams of another table: its columns that stand for
    `order`, the last of them for the rows' primary key.
    """

    table: type[Row]
    order: tuple[InstrumentedAttribute[Any], ...]
    streams: tuple[Stream, ...]
    newest_first: bool = True
    total: int | None = None
    most_counted: int = MOST_COUNTED
    options: tuple[ExecutableOption, ...] = ()
    read_by: tuple[InstrumentedAttribute[Any], ...] | None = None

    @property
    def key(self) -> tuple[InstrumentedAttribute[Any], ...]:
        """What a stream is sorted by, and the primary key of the list's rows."""
        return (*self.order, self.primary) if self.read_by is None else (*self.read_by, self.read_by[-1])

    @property
    def primary(self) -> InstrumentedAttribute[Any]:
        """The primary key of the table."""
        (column,) = inspect(self.table).primary_key
        attribute: InstrumentedAttribute[Any] = getattr(self.table, str(column.key))
        return attribute


@dataclass(frozen=True)
class Part(Generic[Row]):
    """One page of a list. `at_least`: there are more than `total`. The cursors are None where nothing is."""

    rows: Sequence[Row]
    total: int
    at_least: bool
    offset: int
    next: str | None
    previous: str | None


@dataclass(frozen=True)
class _Cursor:
    """A row, and whether the page comes before it; `offset` is where that page begins, as far as one could tell."""

    back: bool
    offset: int
    key: tuple[Any, ...]

    def text(self) -> str:
        key = [value.isoformat() if isinstance(value, datetime) else value for value in self.key]
        return base64.urlsafe_b64encode(json.dumps([int(self.back), self.offset, *key]).encode()).decode().rstrip("=")


def _cursor(text: str, order: Sequence[InstrumentedAttribute[Any]]) -> _Cursor:
    try:
        back, offset, *key = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        values = [_value(part, column) for part, column in zip(key, order, strict=True)]
        return _Cursor(bool(back), min(max(int(offset), 0), _LARGEST), tuple(values))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        told = {
            "loc": ("query", "after"),
            "msg": "not `next` or `previous` of an answer of this list",
            "type": "cursor",
        }
        raise RequestValidationError([told]) from error


def _value(value: object, column: InstrumentedAttribute[Any]) -> object:
    wanted = column.type.python_type
    if wanted is datetime and isinstance(value, str):
        at = datetime.fromisoformat(value)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    elif isinstance(value, str) and wanted is str:
        value.encode()  # half of a surrogate pair is nothing that a database takes
        return value
    elif isinstance(value, int) and wanted is int and not isinstance(value, bool) and abs(value) <= _LARGEST:
        return value
    raise ValueError(f"{value!r} is no {wanted.__name__}")


def values_of(
    session: Session, relation: tallies.Relation, facets: int, *wanted: Callable[[Any], object] | None
) -> tuple[list[tuple[Any, ...]], int]:
    """The values that so many `facets` have together where all facets are `wanted`, and how many rows that are.

    Each facet has its own test; None wants every value. Rows are counted by more facets than an index has columns for:
    to tell those apart within a stream is left to the caller.
    """
    values: dict[tuple[Any, ...], None] = {}
    total = 0
    for row in tallies.counted(session, relation):
        if all(test is None or test(value) for value, test in zip(row.facets, wanted, strict=True)):
            total += row.number
            values[row.facets[:facets]] = None
    return list(values), total


def streams_of(facets: tuple[InstrumentedAttribute[Any], ...], values: Iterable[tuple[Any, ...]]) -> tuple[Stream, ...]:
    """The streams of these values of the columns of an index."""
    return tuple(Stream(tuple(map(_equals, facets, combination)), facets) for combination in values)


def _equals(column: InstrumentedAttribute[Any], value: Any) -> ColumnElement[bool]:
    if value is None:
        return column.is_(None)
    return column.is_(bool(value)) if column.type.python_type is bool else column == value


def paged(part: Part[Row], items: Sequence[Item], limit: int) -> Page[Item]:
    """The page as the API answers it; `items` are its rows."""
    return Page(
        total=part.total,
        at_least=part.at_least,
        limit=limit,
        offset=part.offset,
        next=part.next,
        previous=part.previous,
        items=list(items),
    )


def part_of(session: Session, listing: Listing[Row], paging: Paging) -> Part[Row]:
    """The page that is asked for. Raises RequestValidationError for a cursor that is none of this list."""
    cursor = None if paging.after is None else _cursor(paging.after, listing.order)
    back = cursor is not None and cursor.back
    skipped = paging.offset if cursor is None else 0
    descending = listing.newest_first is not back
    keys = _keys(session, listing, cursor, descending, skipped, paging.limit + 1)
    page = keys[: paging.limit]
    more = len(keys) > paging.limit
    if back:
        page.reverse()
    offset = paging.offset if cursor is None else cursor.offset
    rows = _rows(session, listing, [key[-1] for key in page])
    if listing.total is None and cursor is None and not more and (page or not skipped):
        total, at_least = skipped + len(page), False
    else:
        total, at_least = _total(session, listing)
    following = previous = None
    if page and (back or more):
        following = _Cursor(False, offset + len(page), page[-1][:-1]).text()
    if page and (more if back else cursor is not None or offset > 0):
        previous = _Cursor(True, max(0, offset - paging.limit), page[0][:-1]).text()
    return Part(rows, total, at_least, offset, following, previous)


def _keys(
    session: Session, listing: Listing[Row], cursor: _Cursor | None, descending: bool, skipped: int, most: int
) -> list[tuple[Any, ...]]:
    """What sorts the first rows of the page, and at the end of each their primary key."""
    *order, primary = listing.key
    beyond = true() if cursor is None else _beyond(order, cursor.key, descending)
    # of one stream the database passes over what is skipped; of several, nobody knows how much is of which
    single = len(listing.streams) == 1
    queries = []
    for stream in listing.streams:
        columns = (*stream.facets, *(column for column in order if not any(column is one for one in stream.facets)))
        query = (
            select(*order, primary)
            .where(*stream.conditions, beyond)
            .order_by(*(column.desc() if descending else column for column in columns))
            .offset(skipped if single else 0)
            .limit(most if single else skipped + most)
        )
        queries.append(query)
    if single:
        return [tuple(row) for row in session.execute(queries[0])]
    rows = _at_once(session, queries)
    rows.sort(key=itemgetter(*range(len(order))), reverse=descending)
    return rows[skipped : skipped + most]


def _at_once(session: Session, queries: Sequence[Select[Any]]) -> list[tuple[Any, ...]]:
    """The rows of all queries, by few statements: to ask takes longer than to answer."""
    rows: list[tuple[Any, ...]] = []
    for start in range(0, len(queries), _TOGETHER):
        # SQLite takes the limit of a part only within a query of its own
        parts = [select(*query.subquery().c) for query in queries[start : start + _TOGETHER]]
        rows += [tuple(row) for row in session.execute(union_all(*parts))]
    return rows


def _beyond(order: Sequence[InstrumentedAttribute[Any]], key: Sequence[Any], descending: bool) -> ColumnElement[bool]:
    if len(order) == 1:
        only: ColumnElement[bool] = order[0] < key[0] if descending else order[0] > key[0]
        return only
    columns = tuple_(*order)
    values = tuple_(*(literal(value, column.type) for value, column in zip(key, order, strict=True)))
    return columns < values if descending else columns > values


def _rows(session: Session, listing: Listing[Row], keys: Sequence[Any]) -> list[Row]:
    primary = listing.primary
    query = select(listing.table).where(is_one_of(session, primary, keys)).options(*listing.options)
    by_key = {getattr(row, primary.key): row for row in session.scalars(query).unique()} if keys else {}
    return [by_key[key] for key in keys if key in by_key]


def _total(session: Session, listing: Listing[Row]) -> tuple[int, bool]:
    if listing.total is not None:
        return listing.total, False
    total, most = 0, listing.most_counted
    rows = select(literal(1).label("one")).select_from(listing.key[-1].table)
    for start in range(0, len(listing.streams), _TOGETHER):
        enough = most + 1 - total
        # the limit of each part by itself: for a whole stream PostgreSQL would read and sort a whole table first
        parts = [
            select(rows.where(*stream.conditions).limit(enough).subquery().c.one)
            for stream in listing.streams[start : start + _TOGETHER]
        ]
        some = union_all(*parts).limit(enough).subquery()
        total += session.scalar(select(func.count()).select_from(some)) or 0
        if total > most:
            return most, True
    return total, False
