"""The turn that processes share: who has it too long keeps nobody from the catalog."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog.rows import received
from intake.test_receiving_process import another_s_turn
from peers import until
from whyray.catalog import Arrival, AuditEvent, Catalog, audit
from whyray.intake.catalog_batch_writer import CatalogBatchWriter
from whyray.intake.catalog_turn import CatalogTurn, shared_turn_file
from whyray.intake.receiver import InstanceReceiver
from whyray.storage import FolderStorage


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_process_that_stands_still_in_the_turn_keeps_nobody_from_the_catalog(
    catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    shared = shared_turn_file()
    writer = CatalogBatchWriter(catalog, shared)
    turn = writer._turn = CatalogTurn(shared, patience=0.0)
    with another_s_turn(shared) as let_go:
        for number in range(3):
            assert writer.enter(received(number)).arrival is Arrival.NEW
            assert not turn.has_it
        (told,) = warnings(caplog)
        assert "another process of intake has had the turn to write to the catalog" in told
        let_go()
        until(lambda: not turn.waits, what="the turn that nobody needs any more")
    with turn:
        assert turn.has_it
    with another_s_turn(shared):  # it was left each time
        with turn:
            assert not turn.has_it
        assert len(warnings(caplog)) == 2


def test_who_waits_for_the_turn_gets_it(caplog: pytest.LogCaptureFixture) -> None:
    shared = shared_turn_file()
    turn = CatalogTurn(shared)

    def has_it() -> bool:
        with turn:
            return turn.has_it

    for _ in range(2):
        with another_s_turn(shared) as let_go, ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(has_it)
            until(lambda: turn.waits, what="who waits")
            let_go()
            assert waiting.result()
    assert not turn.has_it
    assert not warnings(caplog)


def test_the_end_of_an_association_is_entered_in_turn(catalog: Catalog, storage: FolderStorage) -> None:
    shared, told = shared_turn_file(), threading.Event()
    writer = CatalogBatchWriter(catalog, shared)
    receiver = InstanceReceiver(storage, catalog, writer, lambda _: False, on_release=told.set)
    event = AuditEvent(at=catalog.clock(), kind="network-alert", outcome=4, words="", participants=())
    for enter in (lambda: receiver.released({"1.2.1"}), lambda: receiver.audit([event])):
        with another_s_turn(shared) as let_go, ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(enter)
            until(lambda: writer._turn.waits, what="who waits")
            assert not waiting.done()
            let_go()
            waiting.result()
    assert told.is_set()
    with catalog.read() as session:
        assert audit.verify(session).records == 1


def test_where_no_lock_can_be_had_the_database_alone_arbitrates(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_lock(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("whyray.intake.catalog_turn.lockf", no_lock)
    assert CatalogBatchWriter(catalog, shared_turn_file()).enter(received(1)).arrival is Arrival.NEW
    assert "No locks available" in warnings(caplog)[0]
