"""Instances of series that the catalog has are entered in few statements: with the rows that many would have made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from catalog.rows import NOON, received, result_row
from whyray.catalog import Catalog, Instance, Received, Study, sqlite_url, studies, tallies
from whyray.catalog.known_series import NotPlain, add_to_known_series

LATER = NOON + timedelta(minutes=1)
_COLUMNS = (Instance, Study)


def rows(session: Session) -> list[list[tuple[Any, ...]]]:
    """Everything in the two tables."""
    return [
        [tuple(row) for row in session.execute(select(*table.__table__.columns).order_by(table.id))]
        for table in _COLUMNS
    ]


def enter(catalog: Catalog, batch: Sequence[Received]) -> None:
    with catalog.begin_bare() as transaction:
        add_to_known_series(transaction, batch, LATER)


def test_the_rows_are_those_that_add_instance_makes(catalog: Catalog, tmp_path: Path) -> None:
    batch = [
        received(2),
        replace(received(3), own_result=True),
        received(4, study=2),
        replace(received(5, study=2), routed=False),
        replace(received(6, study=3), routed=False),
        received(7),
    ]
    other = Catalog(sqlite_url(tmp_path / "other.sqlite"))
    for one in (catalog, other):
        with one.begin() as session:
            for number in (1, 2, 3):
                studies.add_instance(session, received(1, study=number), NOON)
            session.execute(text("UPDATE studies SET routed_sequence = received_sequence WHERE id = 1"))
    enter(catalog, batch)
    with other.begin() as session:
        for instance in batch:
            studies.add_instance(session, instance, LATER)
    with catalog.read() as one_session, other.read() as another:
        assert rows(one_session) == rows(another)
        assert {tally.facets: tally.number for tally in tallies.counted(one_session, "instances")} == {
            tally.facets: tally.number for tally in tallies.counted(another, "instances")
        }
    other.close()


@pytest.mark.parametrize(
    "odd",
    [
        received(1),
        received(1, content="other"),
        received(8, series=9),
        received(8, study=9),
    ],
    ids=["known", "known with other bytes", "new series", "new study"],
)
def test_of_a_batch_with_anything_else_in_it_nothing_is_entered(catalog: Catalog, odd: Received) -> None:
    with catalog.begin() as session:
        studies.add_instance(session, received(1), NOON)
    with catalog.read() as session:
        before = rows(session)
    with pytest.raises(NotPlain):
        enter(catalog, [received(2), odd])
    with catalog.read() as session:
        assert rows(session) == before


def test_what_whyray_made_and_does_not_say_so_is_left_to_who_marks_it(catalog: Catalog) -> None:
    with catalog.begin() as session:
        result_row(session, received(3).sop_instance_uid)
        before = rows(session)
    with pytest.raises(NotPlain):
        enter(catalog, [received(2), received(3)])
    with catalog.begin() as session:
        assert rows(session) == before
        assert [studies.marked(session, received(number)).own_result for number in (2, 3)] == [False, True]
        assert studies.marked(session, received(2, own_result=True)).own_result


def test_the_same_instance_twice_in_a_batch_is_not_entered_twice(catalog: Catalog) -> None:
    with catalog.begin() as session:
        studies.add_instance(session, received(1), NOON)
    with pytest.raises(NotPlain):
        enter(catalog, [received(2), received(2, copy=1)])
    with catalog.read() as session:
        assert [row[2] for row in rows(session)[0]] == [received(1).sop_instance_uid]


def test_what_the_driver_raises_is_told_as_the_databases(catalog: Catalog) -> None:
    with catalog.begin() as session:
        studies.add_instance(session, received(1), NOON)
    with pytest.raises(DBAPIError):
        enter(catalog, [received(2), replace(received(3), key=received(1).key)])
    with pytest.raises(RuntimeError, match="writing to the catalog already"), catalog.begin(), catalog.begin_bare():
        pass
    enter(catalog, [received(2)])  # the connection is as good as new
    assert not studies.is_own(catalog, "1.2.3")
    with catalog.engine.begin() as connection:
        connection.execute(text("ALTER TABLE results RENAME TO gone"))
    try:
        with pytest.raises(DBAPIError):
            studies.is_own(catalog, "1.2.3")
    finally:
        with catalog.engine.begin() as connection:  # PostgreSQL's is one for all tests
            connection.execute(text("ALTER TABLE gone RENAME TO results"))
