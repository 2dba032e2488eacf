"""Entering instances into the catalog together: who gets which answer, whatever becomes of a transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from sqlalchemy import func, select

from catalog.rows import received
from peers import until
from whyray.catalog import Arrival, Catalog, Instance
from whyray.intake.catalog_batch_writer import CatalogBatchWriter

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


def together(writer: CatalogBatchWriter, number: int, go_on: Callable[[], None]) -> list[Future[Arrival]]:
    """Enter so many instances from a thread each, and let go once all of them wait."""
    with ThreadPoolExecutor(number) as threads:
        answers = [threads.submit(writer.enter, received(each)) for each in range(number)]
        until(lambda: len(writer._waiting) == number, what="instances that wait")
        go_on()
    return answers


def test_who_was_entered_with_others_answers_without_the_turn_of_the_processes(catalog: Catalog) -> None:
    writer, turn = CatalogBatchWriter(catalog), Turn()
    writer._turn = turn
    answers = together(writer, 5, turn.give)
    assert [each.result() for each in answers] == [Arrival.NEW] * 5
    assert turn.taken == 1
    assert entered(catalog) == 5
