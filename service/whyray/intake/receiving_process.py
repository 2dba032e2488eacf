"""A process that serves connections which another has accepted; the other side of `receiving_processes`."""

from __future__ import annotations

import errno
import json
import logging
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from pydicom import Dataset

from whyray.base.failures import logged
from whyray.catalog import Catalog
from whyray.config import Listener
from whyray.intake.admission import CLOSED_MEANWHILE, HostNames, Rejection
from whyray.intake.associations import Associations
from whyray.intake.catalog_batch_writer import CatalogBatchWriter
from whyray.intake.catalog_turn import turn_file
from whyray.intake.commitment import ReportTo
from whyray.intake.door import Caps, Door
from whyray.intake.process_messages import (
    Answer,
    AssociationRequested,
    ConnectionOver,
    MakeRoom,
    Ready,
    Reload,
    Stop,
    StudiesReleased,
)
from whyray.intake.receiver import InstanceReceiver
from whyray.intake.server import IntakeServer, OpenConnection
from whyray.storage import Storage

_LONGEST_ADDRESS = 4096
_GONE = "the process that listens is gone"
_log = logging.getLogger("whyray.intake")


class NoAnswer(Exception):  # noqa: N818
    """The process that listens is gone."""


class ListeningProcess:
    """The process that listens, as a receiving process sees it: counts associations."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._numbers: dict[Hashable, int] = {}
        self._highest = -1
        self._too_early: dict[int, str] = {}
        self._waiting: dict[int, Future[Any]] = {}
        # an answer to a process that had this one's place before must not be taken for another's
        self._tokens = count(secrets.randbits(60))
        self._gone = False
        self._lock, self._saying = threading.Lock(), threading.Lock()

    def opened(self, connection: Hashable, number: int) -> str | None:
        """Remember under which number a connection came; says why it is to make room, where it is to already."""
        with self._lock:
            self._numbers[connection], self._highest = number, number
            return self._too_early.pop(number, None)

    def to_make_room(self, number: int, words: str) -> Any:
        """The connection with this number; None if it is over, or yet to come: then `opened` will say it."""
        with self._lock:
            if number > self._highest:  # they come in the order of their numbers, on another way than this message
                self._too_early[number] = words
            return next((key for key, known in self._numbers.items() if known == number), None)

    @property
    def connections(self) -> int:
        """How many this process serves."""
        return len(self._numbers)

    def begin(self, key: Hashable, calling: str, address: str, *, named: bool) -> Rejection | None:
        """See `AssociationCount.begin`."""
        number = self._numbers.get(key)
        if number is None:
            return CLOSED_MEANWHILE
        try:
            answer: Rejection | None = self._ask(
                lambda token: AssociationRequested(token, number, calling, address, named)
            )
        except NoAnswer as error:
            return replace(CLOSED_MEANWHILE, words=str(error))
        return answer

    def end(self, key: Hashable) -> None:
        """See `AssociationCount.end`."""
        with self._lock:
            number = self._numbers.pop(key, None)
        if number is not None:
            self.over(number)

    def over(self, number: int) -> None:
        """The connection with this number has ended, or never began."""
        self.say(ConnectionOver(number))

    def released(self) -> None:
        """Studies may be complete."""
        self.say(StudiesReleased())

    def say(self, message: object) -> None:
        """Tell it; where it is gone this process ends too."""
        with self._saying, suppress(OSError):
            self._connection.send(message)

    def next_order(self) -> object:
        """What it says next, answers left out; raises EOFError when it is gone, and with it all answers to come."""
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError) as error:
                self._no_more_answers()
                raise EOFError from error
            if not isinstance(message, Answer):
                return message
            with self._lock:
                waiting = self._waiting.pop(message.token, None)
            if waiting is not None:
                waiting.set_result(message.value)

    def hang_up(self) -> None:
        """As if it were gone: this process can do no more for it."""
        with suppress(OSError):
            way = socket.socket(fileno=self._connection.fileno())  # no other file: there may be none left
            try:
                way.shutdown(socket.SHUT_RDWR)
            finally:
                way.detach()

    def _no_more_answers(self) -> None:
        with self._lock:
            self._gone = True
            waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.set_exception(NoAnswer(_GONE))

    def _ask(self, question: Callable[[int], object]) -> Any:
        token, answer = next(self._tokens), Future[Any]()
        with self._lock:
            if self._gone:
                raise NoAnswer(_GONE)
            self._waiting[token] = answer
        self.say(question(token))
        return answer.result()


class _HandedServer(IntakeServer):
    """Serves connections that were accepted elsewhere, and listens on nothing."""

    def server_bind(self) -> None:
        """There is nothing to bind: the address is that on which the other process listens."""

    def server_activate(self) -> None:
        """Nor is there anything to listen on."""

    def shutdown(self) -> None:
        """No loop of its own runs."""


def serve_connections_of(
    listening: ListeningProcess,
    passing: socket.socket,
    listener: Callable[[], Listener],
    catalog: Catalog,
    storage: Storage,
    *,
    is_own: Callable[[Dataset], bool],
    report_to: ReportTo,
    handlers: Sequence[tuple[Any, ...]],
    reload: Callable[[], object],
) -> None:
    """Serve what the listening process hands over, until it says so or is gone.

    Parameters
    ----------
    passing
        Where connections come from, and before them the file of the turn to write to the catalog.
    listener
        The configuration in force.
    reload
        Reads the configuration anew.

    The others are those of `start_listener`.
    """
    files = socket.recv_fds(passing, _LONGEST_ADDRESS, 1)[1]
    if not files:  # it is gone already
        return
    writer = CatalogBatchWriter(catalog, turn_file(files[0]))
    receiver = InstanceReceiver(storage, catalog, writer, is_own, on_release=listening.released)
    _serve(listening, passing, listener, receiver, report_to, handlers, reload)


def _serve(
    listening: ListeningProcess,
    passing: socket.socket,
    listener: Callable[[], Listener],
    receiver: InstanceReceiver,
    report_to: ReportTo,
    handlers: Sequence[tuple[Any, ...]],
    reload: Callable[[], object],
) -> None:
    resolve = HostNames()
    associations = Associations(listener(), receiver, receiver.storage, report_to, handlers, listening, resolve)
    door = Door(lambda: associations.listener, resolve, Caps(lambda _: None))
    settings = listener()
    context = None if settings.tls is None else settings.tls.context()

    def of_now() -> ssl.SSLContext:
        assert context is not None
        return context()

    plain, by_tls = (
        associations.server(settings.address, settings.port, door, tls, kind=_HandedServer)
        for tls in (None, None if context is None else of_now)
    )

    def serve(number: int, address: Any, wants_tls: bool, connection: socket.socket) -> None:
        server = by_tls if wants_tls else plain
        server.arrived(connection, address)
        make_room = listening.opened(connection, number)
        try:
            if wants_tls and by_tls.tls is None:
                raise ConnectionRefusedError("there is no TLS in this process's configuration")
            connection.settimeout(server.stall())
            server.process_request(connection, address)
        except Exception:
            server.shutdown_request(connection)
            raise
        if make_room is not None:
            _make_room(server.what_is(connection), make_room)

    def accept() -> None:
        while True:
            content, files, _, _ = socket.recv_fds(passing, _LONGEST_ADDRESS, 1)
            if not content:
                return
            number, address, wants_tls = json.loads(content)
            try:
                if not files:
                    raise OSError(errno.EMFILE, "the connection itself did not come with its number")
                serve(number, tuple(address), wants_tls, socket.socket(fileno=files[0]))
            except Exception as error:  # one connection must not cost all that come after it
                logged(_log, error, f"serving a connection from {address[0]}")
                listening.over(number)

    def accept_until_end() -> None:
        try:
            accept()
        except Exception as error:  # a process that takes no more must not be given any
            logged(_log, error, "taking connections over")
        listening.hang_up()

    def obey_new() -> None:
        nonlocal context
        reload()
        new = listener()
        if context is not None and new.tls is not None:
            context = new.tls.context()
        associations.update(new)

    threading.Thread(target=accept_until_end, name="whyray-handed-over", daemon=True).start()
    listening.say(Ready())
    try:
        while not isinstance(order := listening.next_order(), Stop):
            match order:
                case MakeRoom(number, words):
                    if (connection := listening.to_make_room(number, words)) is not None:
                        _make_room(plain.what_is(connection) or by_tls.what_is(connection), words)
                case Reload():
                    # answers must not wait for it
                    threading.Thread(target=obey_new, name="whyray-reload", daemon=True).start()
    except EOFError:
        # nobody waits for an answer any more, and what was not acknowledged will be sent again
        return
    plain.stopping = by_tls.stopping = True
    gone = _serve_answers(listening)
    deadline = time.monotonic() + order.grace
    while listening.connections and time.monotonic() < deadline and not gone.is_set():
        time.sleep(0.02)
    if not gone.is_set():
        associations.close()


def _make_room(what: OpenConnection | None, words: str) -> None:
    """On a thread of its own: it is an event, and answers must not wait for the catalog."""
    if what is not None:
        threading.Thread(target=what.make_room, args=[words], name="whyray-make-room", daemon=True).start()


def _serve_answers(listening: ListeningProcess) -> threading.Event:
    """What is asked while the last associations end is answered still; set when there are no more answers."""
    gone = threading.Event()

    def answer() -> None:
        with suppress(EOFError):
            while True:
                listening.next_order()
        gone.set()

    threading.Thread(target=answer, name="whyray-answers", daemon=True).start()
    return gone
