"""A process that serves connections which another has accepted; the other side of `receiving_processes`."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from pydicom import Dataset

from whyray.catalog import Arrival, AuditEvent, Catalog, Received
from whyray.config import Listener
from whyray.intake.admission import HostNames, Rejection
from whyray.intake.associations import Associations
from whyray.intake.catalog_batch_writer import NotEntered
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
    ToEnter,
)
from whyray.intake.receiver import InstanceReceiver
from whyray.intake.server import IntakeServer
from whyray.storage import Storage

_LONGEST_ADDRESS = 4096
_log = logging.getLogger("whyray.intake")


class ListeningProcess:
    """The process that listens, as a receiving process sees it: counts associations, and enters what came."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._numbers: dict[Hashable, int] = {}
        self._waiting: dict[int, Future[Any]] = {}
        self._tokens = count()
        self._saying = threading.Lock()

    def opened(self, connection: Hashable, number: int) -> None:
        """Remember under which number a connection was given to this process."""
        self._numbers[connection] = number

    def connection(self, number: int) -> Any:
        """The connection with this number; None if it is over."""
        return next((key for key, known in list(self._numbers.items()) if known == number), None)

    @property
    def connections(self) -> int:
        """How many this process serves."""
        return len(self._numbers)

    def begin(self, key: Hashable, calling: str, address: str, *, named: bool) -> Rejection | None:
        """See `AssociationCount.begin`."""
        number = self._numbers[key]
        answer: Rejection | None = self._ask(lambda token: AssociationRequested(token, number, calling, address, named))
        return answer

    def end(self, key: Hashable) -> None:
        """See `AssociationCount.end`."""
        number = self._numbers.pop(key, None)
        if number is not None:
            self.say(ConnectionOver(number))

    def enter(self, received: Received, audited: AuditEvent | None = None) -> Arrival:
        """See `CatalogBatchWriter.enter`."""
        answer = self._ask(lambda token: ToEnter(token, received, audited))
        if isinstance(answer, NotEntered):
            raise answer
        arrival: Arrival = answer
        return arrival

    def released(self) -> None:
        """Studies may be complete."""
        self.say(StudiesReleased())

    def say(self, message: object) -> None:
        """Tell it; where it is gone this process ends too."""
        with self._saying, suppress(OSError):
            self._connection.send(message)

    def next_order(self) -> object:
        """What it says next, answers left out; raises EOFError when it is gone."""
        while True:
            try:
                message = self._connection.recv()
            except OSError as error:
                raise EOFError from error
            if not isinstance(message, Answer):
                return message
            self._waiting.pop(message.token).set_result(message.value)

    def _ask(self, question: Callable[[int], object]) -> Any:
        token, answer = next(self._tokens), Future[Any]()
        self._waiting[token] = answer
        self.say(question(token))
        return answer.result()


class _HandedServer(IntakeServer):
    """Serves connections that were accepted elsewhere, and listens on nothing."""

    def server_bind(self) -> None:
        """There is nothing to bind: the address is that on which the other process listens."""

    def server_activate(self) -> None:
        """Nor is there anything to listen on."""

    def forget(self, connection: socket.socket) -> None:
        """It is closed, before there was an association on it."""
        super().forget(connection)
        self.over(connection)

    def shutdown(self) -> None:
        """No loop of its own runs."""

    def layer_of(self, connection: socket.socket) -> Any:
        """What has become of a connection; None while it is nothing yet."""
        return self._connections.get(connection)


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
        Where connections come from.
    listener
        The configuration in force.
    reload
        Reads the configuration anew.

    The others are those of `start_listener`.
    """
    receiver = InstanceReceiver(storage, catalog, listening, is_own, on_release=listening.released)
    resolve = HostNames()
    associations = Associations(listener(), receiver, storage, report_to, handlers, listening, resolve)
    door = Door(lambda: associations.listener, resolve, Caps(lambda _: None))
    settings = listener()
    contexts = (None, None if settings.tls is None else settings.tls.context())
    plain, by_tls = (
        associations.server(settings.address, settings.port, door, tls, kind=_HandedServer) for tls in contexts
    )

    def accept() -> None:
        while True:
            content, numbers, _, _ = socket.recv_fds(passing, _LONGEST_ADDRESS, 1)
            if not content:
                return
            number, address, wants_tls = json.loads(content)
            connection = socket.socket(fileno=numbers[0])
            connection.settimeout(settings.limits.dimse_timeout.total_seconds())
            listening.opened(connection, number)
            (by_tls if wants_tls else plain).process_request(connection, tuple(address))

    def obey_new() -> None:
        reload()
        associations.update(listener())

    threading.Thread(target=accept, name="whyray-handed-over", daemon=True).start()
    listening.say(Ready())
    with suppress(EOFError):
        while not isinstance(order := listening.next_order(), Stop):
            match order:
                case MakeRoom(number, words):
                    connection = listening.connection(number)
                    layer = plain.layer_of(connection) or by_tls.layer_of(connection)
                    if layer is not None:
                        layer.make_room(words)
                case Reload():
                    # answers must not wait for it
                    threading.Thread(target=obey_new, name="whyray-reload", daemon=True).start()
        plain.stopping = by_tls.stopping = True
        _serve_answers(listening)
        deadline = time.monotonic() + order.grace
        while listening.connections and time.monotonic() < deadline:
            time.sleep(0.02)
    associations.close()


def _serve_answers(listening: ListeningProcess) -> None:
    """What is asked while the last associations end is answered still."""

    def answer() -> None:
        with suppress(EOFError):
            while True:
                listening.next_order()

    threading.Thread(target=answer, name="whyray-answers", daemon=True).start()
