"""Entering instances into the catalog together: who gets which answer, whatever becomes of a transaction."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from catalog.rows import received, result_row
from peers import until
from whyray.catalog import Arrival, Catalog, Instance, Study
from whyray.intake.catalog_batch_writer import CatalogBatchWriter, Entered, _Entry

PATIENCE = 20.0


class Turn:
    """The turn shared by processes, which the test gives: once for each call of `give`."""

    def __init__(self) -> None:
        self.taken = 0
        self._given = threading.Semaphore(0)

    def give(self) -> None:
        self._given.release()

    def __enter__(self) -> None:
        assert self._given.acquire(timeout=PATIENCE), "nobody gave the turn"
        self.taken += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def entered(catalog: Catalog) -> int:
    with catalog.read() as session:
        return session.scalar(select(func.count(Instance.id))) or 0


def together(writer: CatalogBatchWriter, number: int, go_on: Callable[[], None]) -> list[Future[Entered]]:
    """Enter so many instances from a thread each, and let go once all of them wait."""
    with ThreadPoolExecutor(number) as threads:
        answers = [threads.submit(writer.enter, received(index)) for index in range(number)]
        until(lambda: len(writer._waiting) == number, what="instances that wait")
        go_on()
    return answers


def test_who_was_entered_with_others_answers_without_the_turn_of_the_processes(catalog: Catalog) -> None:
    writer, turn = CatalogBatchWriter(catalog), Turn()
    writer._turn = turn
    answers = together(writer, 5, turn.give)
    assert [answer.result().arrival for answer in answers] == [Arrival.NEW] * 5
    assert turn.taken == 1
    assert entered(catalog) == 5


class Failing(CatalogBatchWriter):
    """Counts its transactions, and has the first of them fail, or each that has a certain instance in it."""

    def __init__(self, catalog: Catalog, error: BaseException, *, of: str | None = None, times: int = 1) -> None:
        super().__init__(catalog)
        self.tried: list[int] = []
        self._error, self._of, self._times = error, of, times

    def _in_one_transaction(self, batch: list[_Entry]) -> list[Entered]:
        self.tried.append(len(batch))
        uids = {entry.received.sop_instance_uid for entry in batch}
        if self._of in uids or (self._of is None and len(self.tried) <= self._times):
            raise self._error
        return super()._in_one_transaction(batch)


LOCKED = OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))
BARE = DBAPIError(None, None, sqlite3.OperationalError("database is locked"))
BARE.__cause__ = BARE.orig
BROKEN = DBAPIError("INSERT", {}, Exception("server closed the connection"), connection_invalidated=True)


@pytest.mark.parametrize("error", [LOCKED, BARE, BROKEN], ids=["locked", "locked for the driver", "broken"])
def test_a_catalog_that_can_not_be_written_is_told_to_all_after_one_attempt(catalog: Catalog, error: Exception) -> None:
    writer, turn = Failing(catalog, error), Turn()
    writer._turn = turn
    answers = together(writer, 5, turn.give)
    assert [answer.exception() for answer in answers] == [error] * 5
    assert writer.tried == [5]
    turn.give()
    assert writer.enter(received(9)).arrival is Arrival.NEW


def test_the_turn_is_left_after_a_transaction_that_could_not_be_written(catalog: Catalog) -> None:
    writer, turn = Failing(catalog, LOCKED), Turn()
    writer._turn = turn
    batch = [_Entry(received(number)) for number in range(100, 164)]
    writer._waiting.extend(batch)
    turn.give()
    turn.give()
    assert writer.enter(received(1)).arrival is Arrival.NEW
    assert [entry.answer.exception() for entry in batch] == [LOCKED] * 64
    assert (writer.tried, turn.taken) == ([64, 1], 2)


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError("INSERT", {}, sqlite3.IntegrityError("NOT NULL")),
        OperationalError("INSERT", {}, type("Deadlock", (Exception,), {"sqlstate": "40P01"})()),
        ValueError("a value that the catalog does not take"),
    ],
    ids=["integrity", "deadlock", "value"],
)
def test_what_is_one_instance_s_fault_costs_no_other(catalog: Catalog, error: Exception) -> None:
    writer, turn = Failing(catalog, error, of=received(2).sop_instance_uid), Turn()
    writer._turn = turn
    answers = together(writer, 4, turn.give)
    assert [answer.exception() for answer in answers] == [None, None, error, None]
    assert entered(catalog) == 3


def test_what_no_transaction_survives_leaves_nobody_without_an_answer(catalog: Catalog) -> None:
    writer, turn = Failing(catalog, KeyboardInterrupt()), Turn()
    writer._turn = turn
    answers = together(writer, 5, turn.give)
    errors = [answer.exception() for answer in answers]
    assert sorted(type(error).__name__ for error in errors) == ["CutOff"] * 4 + ["KeyboardInterrupt"]
    assert not writer._waiting
    turn.give()
    assert writer.enter(received(9)).arrival is Arrival.NEW


def test_who_does_not_get_the_turn_is_not_entered_after_being_told_so(catalog: Catalog) -> None:
    class Broken(Turn):
        def __enter__(self) -> None:
            raise OSError(37, "No locks available")

    writer, turn = CatalogBatchWriter(catalog), Turn()
    writer._turn = Broken()
    with pytest.raises(OSError, match="No locks"):
        writer.enter(received(1))
    writer._turn = turn
    turn.give()
    assert writer.enter(received(2)).arrival is Arrival.NEW
    assert entered(catalog) == 1


@pytest.mark.parametrize("known", [True, False], ids=["known series", "new series"])
def test_what_the_catalog_knows_as_whyrays_own_is_entered_as_that(catalog: Catalog, *, known: bool) -> None:
    with catalog.begin() as session:
        result_row(session, received(5).sop_instance_uid, study=2)
    writer = CatalogBatchWriter(catalog)
    if known:
        assert writer.enter(received(1)) == (Arrival.NEW, False)
    assert writer.enter(received(5)) == (Arrival.NEW, True)
    assert writer.enter(received(5, copy=1)) == (Arrival.DUPLICATE, True)
    assert writer.enter(received(6)) == (Arrival.NEW, False)
    with catalog.read() as session:
        own_results = dict(session.execute(select(Instance.sop_instance_uid, Instance.own_result)).all())
        study = session.scalars(select(Study).where(Study.study_instance_uid == "1.2.1")).one()
    assert own_results[received(5).sop_instance_uid] is True
    assert own_results[received(6).sop_instance_uid] is False
    assert study.received_sequence == 1 + known
