"""A receiving process and the one that listens, each with the other played by the test: what they owe each other."""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from io import FileIO
from itertools import count
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydicom.uid import CTImageStorage
from sqlalchemy import func
from sqlalchemy import select as select_rows

from catalog.rows import received
from certificates import Authority
from intake.conftest import listener_settings
from intake.raw import ACCEPTED, DATA, REJECTED, RELEASED, RawPeer, Request, command, pdu, value
from intake.scu import encode, small, uid
from intake.test_tls import settings as tls_settings
from peers import until
from whyray.catalog import Arrival, Catalog, Instance
from whyray.config import Listener
from whyray.intake import ListeningProcess, StorageScp, serve_connections_of, start_listener
from whyray.intake.admission import CLOSED_MEANWHILE
from whyray.intake.catalog_batch_writer import CatalogBatchWriter
from whyray.intake.catalog_turn import shared_turn_file
from whyray.intake.process_messages import (
    Answer,
    AssociationRequested,
    ConnectionOver,
    MakeRoom,
    Ready,
    Reload,
)
from whyray.intake.server import IntakeServer
from whyray.intake.upper_layer import UpperLayer
from whyray.storage import FolderStorage

Message = TypeVar("Message")
PATIENCE = 20.0
CLASS = CTImageStorage.encode() + b"\0" * (len(CTImageStorage) % 2)


class Receiving:
    """What a receiving process runs, on a thread; the test is the process that listens, and has what it says."""

    def __init__(self, listener: Listener, catalog: Catalog, storage: FolderStorage) -> None:
        self.listener = listener
        self.messages, its = Pipe()
        self.passing, its_passing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._accepting = socket.create_server(("127.0.0.1", 0))
        self.port = self._accepting.getsockname()[1]
        self.thread = threading.Thread(
            target=serve_connections_of,
            args=[ListeningProcess(its), its_passing, lambda: self.listener, catalog, storage],
            kwargs={"is_own": lambda _: False, "report_to": lambda _: None, "handlers": (), "reload": lambda: None},
            daemon=True,
        )
        self.thread.start()
        self.turn = shared_turn_file()
        socket.send_fds(self.passing, [b"t"], [self.turn.fileno()])
        assert self.says(Ready)

    def hand_over(self, number: int, *, by_tls: bool = False) -> None:
        with self._accepting.accept()[0] as connection:
            content = json.dumps([number, ["127.0.0.1", 1], by_tls]).encode()
            socket.send_fds(self.passing, [content], [connection.fileno()])

    def says(self, kind: type[Message]) -> Message:
        assert self.messages.poll(PATIENCE), f"no {kind.__name__}"
        message = self.messages.recv()
        assert isinstance(message, kind), message
        return message

    def associated(self, number: int) -> RawPeer:
        """A peer whose association on the connection with this number was accepted."""
        peer = RawPeer(self.port)
        self.hand_over(number)
        peer.send(Request().encoded())
        asked = self.says(AssociationRequested)
        self.messages.send(Answer(asked.token, None))
        assert peer.answer()[0] == ACCEPTED
        return peer

    def close(self) -> None:
        for resource in (self.messages, self.passing, self._accepting, self.turn):
            resource.close()
        self.thread.join(PATIENCE)


@pytest.fixture
def receiving(catalog: Catalog, storage: FolderStorage) -> Iterator[Receiving]:
    limits = {"acse_timeout": timedelta(minutes=5)}
    receiving = Receiving(listener_settings(limits=limits), catalog, storage)
    yield receiving
    receiving.close()


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Keeps all others from writing to the catalog until the test ends."""
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)) as connection:
        yield lambda: connection.execute("BEGIN IMMEDIATE") and None


def store(peer: RawPeer, number: int) -> None:
    """Send an instance, without waiting for the answer."""
    asked = command(CLASS, uid("1", number).encode().ljust(64, b"\0"))
    peer.send(pdu(DATA, value(asked, 3)) + pdu(DATA, value(encode(small(number)), 2)))


def test_without_the_process_that_listens_nobody_is_let_in_and_the_other_ends(receiving: Receiving) -> None:
    with RawPeer(receiving.port) as peer:
        receiving.hand_over(0)
        peer.send(Request().encoded())
        receiving.says(AssociationRequested)
        receiving.messages.close()
        assert peer.answer()[0] in (REJECTED, 0)
        receiving.thread.join(PATIENCE)
        assert not receiving.thread.is_alive()


def test_an_answer_that_nobody_asked_for_is_nobodys(receiving: Receiving) -> None:
    with RawPeer(receiving.port) as peer:
        receiving.hand_over(0)
        peer.send(Request().encoded())
        asked = receiving.says(AssociationRequested)
        for token in (0, 1, asked.token + 1):
            receiving.messages.send(Answer(token, CLOSED_MEANWHILE))
        receiving.messages.send(Answer(asked.token, None))
        assert peer.answer()[0] == ACCEPTED
        assert peer.release() == RELEASED


def test_an_instance_waits_for_the_turn_of_another_process(receiving: Receiving, catalog: Catalog) -> None:
    with receiving.associated(0) as peer:
        with another_s_turn(receiving.turn) as let_go:
            store(peer, 1)
            until(lambda: waiting() == 1, what="an instance that waits")
            with catalog.read() as session:
                assert session.scalar(select_rows(func.count(Instance.id))) == 0
            let_go()
        assert peer.status() == 0
        with catalog.read() as session:
            assert session.scalar(select_rows(func.count(Instance.id))) == 1
        assert peer.release() == RELEASED


def test_an_instance_that_waits_while_its_process_ends_is_answered_as_it_was_entered(
    receiving: Receiving, catalog: Catalog
) -> None:
    with receiving.associated(0) as peer, another_s_turn(receiving.turn) as let_go:
        store(peer, 1)
        until(lambda: waiting() == 1, what="an instance that waits")
        receiving.messages.close()
        receiving.thread.join(PATIENCE)
        assert not receiving.thread.is_alive()
        let_go()
        assert peer.status() == 0
        with catalog.read() as session:
            assert session.scalar(select_rows(func.count(Instance.id))) == 1


def waiting() -> int:
    """How many instances wait to be entered into a catalog."""
    return sum(len(candidate._waiting) for candidate in gc.get_objects() if isinstance(candidate, CatalogBatchWriter))


@contextmanager
def another_s_turn(turn: FileIO) -> Iterator[Callable[[], None]]:
    """A process that has the turn, and keeps it until it is killed."""
    program = "import fcntl, time; fcntl.lockf(0, fcntl.LOCK_EX); print(flush=True); time.sleep(300)"
    with Path(f"/proc/self/fd/{turn.fileno()}").open("r+b") as its:
        process = subprocess.Popen([sys.executable, "-c", program], stdin=its, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process.kill
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_an_association_that_has_ended_leaves_nothing_in_memory(receiving: Receiving) -> None:
    def left() -> int:
        gc.collect()
        return sum(isinstance(candidate, UpperLayer) for candidate in gc.get_objects())

    before = left()
    for number in range(3):
        with receiving.associated(number) as peer:
            assert peer.release() == RELEASED
        assert receiving.says(ConnectionOver).number == number

    until(lambda: left() <= before, what="no association in memory")


@pytest.mark.parametrize("early", [False, True])
def test_a_connection_that_says_nothing_gives_way(receiving: Receiving, *, early: bool) -> None:
    with RawPeer(receiving.port) as peer:
        if early:
            receiving.messages.send(MakeRoom(0, "full"))
        receiving.hand_over(0)
        if not early:
            receiving.messages.send(MakeRoom(0, "full"))
        assert peer.answer()[0] == 0
    assert receiving.says(ConnectionOver).number == 0


@pytest.mark.parametrize("early", [False, True])
def test_a_connection_in_its_tls_handshake_gives_way(
    catalog: Catalog, storage: FolderStorage, tmp_path: Path, *, early: bool
) -> None:
    tls = tls_settings(Authority(tmp_path / "hospital", "hospital"))
    limits = {"acse_timeout": timedelta(minutes=5)}
    receiving = Receiving(listener_settings(limits=limits).model_copy(update={"tls": tls}), catalog, storage)
    with RawPeer(receiving.port) as peer:
        if early:
            receiving.messages.send(MakeRoom(0, "full"))
        receiving.hand_over(0, by_tls=True)
        if not early:
            receiving.messages.send(MakeRoom(0, "full"))
        assert peer.answer()[0] == 0
    assert receiving.says(ConnectionOver).number == 0
    receiving.close()


def test_a_connection_that_can_not_be_served_ends_alone(receiving: Receiving, monkeypatch: pytest.MonkeyPatch) -> None:
    receiving.passing.send(json.dumps([0, ["127.0.0.1", 1], False]).encode())  # as where no file may be opened
    assert receiving.says(ConnectionOver).number == 0

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with RawPeer(receiving.port) as peer, monkeypatch.context() as patched:
        patched.setattr(IntakeServer, "process_request", no_thread)
        receiving.hand_over(1)
        assert peer.answer()[0] == 0
        assert receiving.says(ConnectionOver).number == 1
        assert receiving.says(ConnectionOver).number == 1
    with RawPeer(receiving.port) as peer:
        receiving.hand_over(2, by_tls=True)  # which this process does not have
        assert peer.answer()[0] == 0
        assert receiving.says(ConnectionOver).number == 2
        assert receiving.says(ConnectionOver).number == 2
    with receiving.associated(3) as peer:
        assert peer.release() == RELEASED


def test_answers_do_not_wait_for_the_event_of_a_connection_that_gives_way(
    receiving: Receiving, locked: Callable[[], None]
) -> None:
    with RawPeer(receiving.port):
        receiving.hand_over(0)
        locked()
        receiving.messages.send(MakeRoom(0, "full"))
        peer = RawPeer(receiving.port)
        receiving.hand_over(1)
        peer.send(Request().encoded())
        asked = receiving.messages.recv()
        if isinstance(asked, ConnectionOver):
            asked = receiving.says(AssociationRequested)
        receiving.messages.send(Answer(asked.token, None))
        assert peer.answer()[0] == ACCEPTED
        assert peer.release() == RELEASED
        peer.connection.close()


def test_a_connection_stalls_as_long_as_the_configuration_in_force_says(receiving: Receiving) -> None:
    limits = receiving.listener.limits.model_copy(update={"dimse_timeout": timedelta(seconds=7)})
    receiving.listener = receiving.listener.model_copy(update={"limits": limits})
    receiving.messages.send(Reload())
    numbers = count()
    until(lambda: 7.0 in stalls(receiving, next(numbers)), what="the new time")


def stalls(receiving: Receiving, number: int) -> set[float | None]:
    """The time-outs of open connections, one more among them."""
    with receiving.associated(number) as peer:
        timeouts = {
            candidate.connection.gettimeout() for candidate in gc.get_objects() if isinstance(candidate, UpperLayer)
        }
        assert peer.release() == RELEASED
    receiving.says(ConnectionOver)
    return timeouts


class Played:
    """A receiving process that the test plays to the one that listens."""

    def __init__(self, messages: int, connections: int) -> None:
        self.messages: Connection[Any, Any] = Connection(os.dup(messages))
        self.passing = socket.socket(fileno=os.dup(connections))
        self.passing.settimeout(PATIENCE)
        self.turn: FileIO | None = None
        self.process = subprocess.Popen(["sleep", "300"])

    def taken_turn(self) -> FileIO:
        """The file of the turn, which comes before any connection."""
        if self.turn is None:
            self.turn = FileIO(socket.recv_fds(self.passing, 1, 1)[1][0], "r+")
        return self.turn

    def given(self) -> tuple[int, socket.socket]:
        """Number and socket of the connection that is handed over next."""
        self.taken_turn()
        content, files, _, _ = socket.recv_fds(self.passing, 4096, 1)
        return json.loads(content)[0], socket.socket(fileno=files[0])

    def answer(self) -> Answer:
        assert self.messages.poll(PATIENCE), "no answer"
        message = self.messages.recv()
        assert isinstance(message, Answer)
        return message

    def end(self) -> None:
        self.process.kill()
        self.messages.close()
        self.passing.close()
        if self.turn is not None:
            self.turn.close()


@dataclass
class Listening:
    """A listener whose receiving processes the test plays."""

    scp: StorageScp
    played: list[Played]

    def next_given(self) -> Played:
        """The process that is given the next connection: they did not begin in any order."""
        of = {player.passing: player for player in self.played if player.taken_turn()}
        ready, _, _ = select.select(list(of), [], [], PATIENCE)
        assert ready, "no connection was handed over"
        return of[ready[0]]


@pytest.fixture
def listening(catalog: Catalog, storage: FolderStorage) -> Iterator[Listening]:
    played: list[Played] = []

    def start(messages: int, connections: int) -> subprocess.Popen[bytes]:
        played.append(Played(messages, connections))
        return played[-1].process

    settings = listener_settings(processes=3, limits={"max_associations": 1, "acse_timeout": timedelta(minutes=5)})
    scp = start_listener(settings, catalog, storage, start_process=start)
    until(lambda: len(played) == 2, what="two processes")
    yield Listening(scp, played)
    stopping = threading.Thread(target=scp.stop, kwargs={"grace": 0.0})
    stopping.start()
    until(lambda: scp._stopped)
    for player in played:
        with suppress(OSError):
            player.end()
    stopping.join(PATIENCE)


def test_what_a_process_asked_before_its_end_is_not_answered_to_its_successor(listening: Listening) -> None:
    first = listening.played[0]
    first.messages.send(AssociationRequested(5, 0, "PEER", "127.0.0.1", False))
    first.end()
    until(lambda: len(listening.played) == 3, what="the successor")
    successor = listening.played[2]
    successor.messages.send(AssociationRequested(6, 0, "PEER", "127.0.0.1", False))
    assert successor.answer().token == 6


def test_the_first_connection_stays_with_the_process_that_listens(listening: Listening) -> None:
    process = listening.played[0]
    process.messages.send(Ready())
    until(lambda: listening.scp._processes.pids, what="a process that is ready")
    with RawPeer(listening.scp.port) as here:
        assert here.associate()[0] == ACCEPTED
        with RawPeer(listening.scp.port):
            _, connection = process.given()
            connection.close()
        assert here.release() == RELEASED


def test_answers_do_not_wait_for_the_event_of_a_limit(listening: Listening, locked: Callable[[], None]) -> None:
    for process in listening.played:
        process.messages.send(Ready())
    until(lambda: len(listening.scp._processes.pids) == 2, what="processes that are ready")
    locked()
    answers = []
    with RawPeer(listening.scp.port):  # which is served by the one that listens
        for token in range(2):
            with RawPeer(listening.scp.port):
                process = listening.next_given()
                number, connection = process.given()
                process.messages.send(AssociationRequested(token, number, "PEER", "127.0.0.1", False))
                answers.append(process.answer().value)
                connection.close()
    assert answers[0] is None
    assert answers[1].cap == "associations"


def test_an_instance_that_comes_while_the_listener_stops_is_entered(listening: Listening) -> None:
    with another_s_turn(listening.played[0].taken_turn()) as let_go, ThreadPoolExecutor(1) as threads:
        writer = listening.scp._receiver.batch_writer
        waits = threads.submit(writer.enter, received(1))
        until(lambda: len(writer._waiting) == 1, what="an instance that waits")
        for player in listening.played:
            player.process.kill()
        listening.scp.stop(grace=0.0)
        let_go()
        assert waits.result().arrival is Arrival.NEW
        assert writer.enter(received(2)).arrival is Arrival.NEW


def test_a_process_that_says_what_nobody_understands_is_replaced(listening: Listening) -> None:
    process = listening.played[0]
    process.messages.send(ConnectionOver(7))  # of which nobody knows any more
    process.messages.send(AssociationRequested(1, 7, "PEER", "127.0.0.1", False))
    assert process.answer().value.reason == 1
    process.messages.send_bytes(b"no message")
    until(lambda: len(listening.played) == 3, what="the successor")
