"""Sockets and threads of the listener: what pynetdicom's server leaves open, slow or global, closed here."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from pynetdicom import evt
from pynetdicom._handlers import (
    standard_dimse_recv_handler,
    standard_dimse_sent_handler,
    standard_pdu_recv_handler,
    standard_pdu_sent_handler,
)
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from whyray.intake.door import Connection, Door
from whyray.intake.incoming_instance import Begin
from whyray.intake.negotiation import Negotiation
from whyray.intake.object_receiver import ObjectReceiver, Store
from whyray.intake.reactor import Reactor
from whyray.intake.upper_layer import NO_TLS, Ended, UpperLayer

_LOGGING = (
    (evt.EVT_DIMSE_RECV, standard_dimse_recv_handler),
    (evt.EVT_DIMSE_SENT, standard_dimse_sent_handler),
    (evt.EVT_PDU_RECV, standard_pdu_recv_handler),
    (evt.EVT_PDU_SENT, standard_pdu_sent_handler),
)
_SHORTEST = 0.001
"""Seconds."""


class IntakeServer(ThreadedAssociationServer):  # type: ignore[misc]
    """Listens, and makes an association of each connection.

    Parameters
    ----------
    begin
        Where a data set goes; see `Begin`.
    store
        What is done with an instance when all of it is there; see `Store`.
    ended
        Who is told of associations that end in no good order; see `Ended`.
    rejected
        Who is told of associations that the upper layer itself rejects.
    stall
        Seconds that a peer may keep us waiting in the middle of a PDU, in either direction.
    door
        Who may connect, and who gives way where there are many: silent peers shut nobody out.
    turned_away
        Who is told of connections that no peer may make, by address and in words.
    over
        Who is told that a connection, and any association on it, has ended.
    tls
        Gives the TLS context of a new connection; plain where left out.
    hand_over
        Gives a connection to another process; all are served here where left out.
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(
        self,
        *arguments: Any,
        begin: Begin,
        store: Store,
        ended: Ended,
        rejected: Ended,
        stall: Callable[[], float],
        door: Door,
        turned_away: Callable[[str, str], None],
        over: Callable[[socket.socket], None],
        tls: Callable[[], ssl.SSLContext] | None = None,
        hand_over: HandOver | None = None,
        **options: Any,
    ) -> None:
        self.begin, self.store, self.ended, self.stall, self.door = begin, store, ended, stall, door
        self.rejected, self.turned_away, self.tls, self.stopping = rejected, turned_away, tls, False
        self.over, self._hand_over = over, hand_over
        self._connections: dict[socket.socket, OpenConnection] = {}
        self._lock = threading.Lock()
        super().__init__(*arguments, request_handler=_Connection, **options)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; a peer that stops in the middle of a PDU must not hold two threads for ever."""
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.settimeout(self.stall())
        return connection, address

    def verify_request(self, request: Any, address: Any) -> bool:
        """Whether there is room for one more connection, or room was made."""
        with self._lock:
            self._connections = {key: one for key, one in self._connections.items() if not one.is_over}
            connections = list(self._connections.values())
        words = self.door.refusal(str(address[0]), connections)
        if words is not None:
            self.ended("unknown", str(address[0]), words)
            return False
        self.arrived(request, address)
        return True

    def arrived(self, connection: socket.socket, address: Any) -> None:
        """Count a connection before its thread begins, so that none of many at once is overlooked."""
        self.count(connection, Arrived(connection, str(address[0]), self.ended))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection on a thread of its own, or in another process."""
        handed_over = self._hand_over and self._hand_over(request, client_address, self.tls is not None)
        if handed_over is None:
            super().process_request(request, client_address)
            return
        self.count(request, handed_over)
        request.close()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection for which there is no room, or of which nothing could be made."""
        self.forget(request)
        super().shutdown_request(request)

    def count(self, connection: socket.socket, what: OpenConnection) -> None:
        """Count a connection, as what has become of it."""
        with self._lock:
            self._connections[connection] = what

    def forget(self, connection: socket.socket) -> None:
        """Count a connection no more: it, and any association on it, has ended."""
        with self._lock:
            self._connections.pop(connection, None)
        self.over(connection)

    @property
    def served_here(self) -> int:
        """How many connections this process serves, or is about to."""
        with self._lock:
            return sum(one.here and not one.is_over for one in self._connections.values())

    def what_is(self, connection: socket.socket) -> OpenConnection | None:
        """What has become of a connection; None where it has ended, or is another server's."""
        with self._lock:
            return self._connections.get(connection)


class OpenConnection(Connection, Protocol):
    """One that is counted until it is over."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is about to."""

    @property
    def here(self) -> bool:
        """Whether this process serves it."""


HandOver = Callable[[socket.socket, Any, bool], OpenConnection | None]
"""(connection, address, whether TLS is asked for on it) → what has become of it; None where it is to be served here."""


class Arrived:
    """A connection that is no association yet, or is in its TLS handshake; one of `door.Connection`."""

    awaits_request, is_over, here = True, False, True

    def __init__(self, connection: socket.socket, address: str, ended: Ended) -> None:
        self.opened, self.address = time.monotonic(), address
        self._connection, self._ended = connection, ended

    def make_room(self, words: str) -> None:
        """Close it."""
        self.is_over = True
        self._shut()
        self._ended("unknown", self.address, words)

    def shakes_hands_on(self, connection: ssl.SSLSocket) -> None:
        """Its TLS handshake is about to begin on another socket, which took its place.

        Raises
        ------
        OSError
            If it was to make room meanwhile.
        """
        self._connection = connection
        if self.is_over:
            self._shut()
            raise ConnectionAbortedError

    def _shut(self) -> None:
        with suppress(OSError):
            # as a socket's: that of TLS would take away what the thread in the handshake works with
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)


class _Connection(RequestHandler):  # type: ignore[misc]
    request: socket.socket
    _arrived: socket.socket
    """As it was accepted, before any TLS."""

    def handle(self) -> None:
        """Make an association of the connection, after the TLS handshake where there is one."""
        address, self._arrived = str(self.client_address[0]), self.request
        if not self.server.door.admits(address):
            self.server.turned_away(address, "listener.peers allows nobody to call from there")
            self.server.forget(self._arrived)
            self.request.close()
            return
        if self.server.tls is not None:
            # in this connection's own thread, within a time: a peer that never answers keeps nobody waiting
            arrived = self.server.what_is(self._arrived)
            try:
                if not isinstance(arrived, Arrived):
                    raise ConnectionAbortedError  # it made room
                self._wait_no_longer_than(arrived)
                if self._is_left():
                    arrived.is_over = True
                    raise ConnectionAbortedError
                context: ssl.SSLContext = self.server.tls()
                by_tls = context.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
                self.request = by_tls
                arrived.shakes_hands_on(by_tls)
                self._wait_no_longer_than(arrived)
                by_tls.do_handshake()
            except OSError as error:  # ssl.SSLError is one
                if isinstance(arrived, Arrived) and not arrived.is_over:
                    self.server.ended("unknown", address, f"{NO_TLS}{_reason(error)}")
                self.server.forget(self._arrived)
                self.request.close()
                return
            self.request.settimeout(self.server.stall())
        super().handle()

    def _wait_no_longer_than(self, arrived: Arrived) -> None:
        """Leave the peer what is left of `acse_timeout` since its connection came."""
        patience = self.server.ae.acse_timeout
        if patience is not None:
            # none left is no time-out, but a socket that never waits
            patience = max(_SHORTEST, arrived.opened + patience - time.monotonic())
        self.request.settimeout(patience)

    def _is_left(self) -> bool:
        """Whether the peer leaves before it has sent anything, as probes of load balancers do: no event."""
        try:
            return not self.request.recv(1, socket.MSG_PEEK)
        except ConnectionResetError:
            return True

    def _create_association(self) -> Any:
        association = super()._create_association()
        for event, handler in _LOGGING:  # a formatted dump of every PDU
            association.unbind(event, handler)
        association.acse = Negotiation(association)
        arrived = self.server.what_is(self._arrived)
        layer = association.upper_layer = UpperLayer(
            association,
            self._arrived,
            self.server.ended,
            self.server.rejected,
            None if arrived is None else arrived.opened,
        )
        self.server.count(self._arrived, layer)
        receiver = association.dimse = ObjectReceiver(association, self.server.begin, self.server.store, layer.end)
        Reactor(association, layer, receiver)
        association.bind(evt.EVT_CONN_CLOSE, _on_closed)
        association.run = partial(_run_until_over, association.run, partial(self.server.forget, self._arrived))
        return association


def _run_until_over(run: Callable[[], None], over: Callable[[], None]) -> None:
    """The thread of an association, from its beginning to its end."""
    try:
        run()
    finally:
        over()


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate is refused ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "the peer did not take part in the handshake in time"
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else "the peer closed the connection"


def _on_closed(event: Any) -> None:
    association = event.assoc
    association.dimse.connection_closed()
    if association.requestor.primitive is None:
        # A probe that connects and leaves: the association's thread would wait for a request until its time-out.
        association.dul.to_user_queue.put(None)
