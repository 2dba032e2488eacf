"""The upper layer of one association (PS3.8 section 9.2) from the peer's bytes on: whatever ends it leaves a reason.

pynetdicom's state machine stays; what reads PDUs for it, and what happens where an action fails, is WhyRay's own, since
pynetdicom writes tracebacks of what a stranger sent and lets threads die of it.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pynetdicom.fsm import ACTIONS, TRANSITION_TABLE, StateMachine
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.pdu_primitives import A_P_ABORT
from pynetdicom.presentation import PresentationContext

from whyray.intake.association_request import Unreadable, readable_request, title
from whyray.intake.negotiation import encoded_acceptance

Ended = Callable[[str, str, str], None]
"""(calling AE title, address, words) of an association that ended otherwise than by a release or a rejection."""

NO_TLS = "no TLS: "
"""So begin the words on a connection whose TLS handshake failed."""
_REQUEST, _DATA, _ABORT = 1, 4, 7
_HEAD = struct.Struct(">BxI")
"""Type and length of any PDU (PS3.8 section 9.3.1)."""
_SMALL, _PIECE = 16 << 10, 256 << 10
"""Bytes of the buffer: at first, and of a peer that fills it; a longer PDU takes as much more as comes."""
_SMALLEST_LIMIT = 1 << 20
_ESTABLISHED = "Sta6"
_PDU_NAMES = {
    "Evt3": "A-ASSOCIATE-AC",
    "Evt4": "A-ASSOCIATE-RJ",
    "Evt6": "A-ASSOCIATE-RQ",
    "Evt10": "P-DATA-TF",
    "Evt12": "A-RELEASE-RQ",
    "Evt13": "A-RELEASE-RP",
}
_ENDING_ACTIONS = ("AA-1", "AA-8")
_ACCEPT = "AE-7"
_AWAITING_REQUEST = "Sta2"
_AT_WORK = ("Sta3", "Sta6", "Sta7", "Sta10")
_SOURCES = {0: "the service user", 2: "the service provider"}
_NO_PEER = "unknown"
_NO_REQUEST = "no association was requested within listener.limits.acse_timeout"
_FOR_EVER = float("inf")
_A_DAY = 86_400.0
_SLOWEST = 64 << 10
"""Bytes a second."""
_log = logging.getLogger("whyray.intake")


class UpperLayer:
    """Reads what the peer sends, and knows why the association ended. `ended` is told once.

    `connection` is that on which it came, as it was accepted, `opened` when, by a monotonic clock: now where left out.
    """

    here = True

    def __init__(
        self, association: Any, connection: socket.socket, ended: Ended, rejected: Ended, opened: float | None = None
    ) -> None:
        self.connection = connection
        self._association, self._dul, self._ended, self._rejected = association, association.dul, ended, rejected
        self._begun = time.monotonic()
        self.opened = self._begun if opened is None else opened
        self._length = 0
        self._buffer = bytearray(_SMALL)
        self._start = self._end = 0
        """Where in the buffer the bytes lie that were received and not read yet."""
        self._broken: OSError | None = None
        """Why nothing more can be received: the system says it once, and then that the peer has closed."""
        self._calling = _NO_PEER
        self._over = False
        self.why_ended = ""
        """Empty where it ended in good order, or has not."""
        self.dul_machine = _Machine(association.dul, self)
        association.dul.state_machine = self.dul_machine

    def end(self, words: str) -> None:
        """Tell why the association ends; the first reason counts."""
        if not self._over:
            self._over, self.why_ended = True, words
            self._ended(self._calling, self._address(), words)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is about to."""
        begun = self._association.ident is not None
        return self._over or (begun and not self._association.is_alive())

    @property
    def address(self) -> str:
        """The peer's IP address."""
        return self._address()

    @property
    def awaits_request(self) -> bool:
        """Whether the peer has not yet asked for an association."""
        return self._association.requestor.primitive is None

    def make_room(self, words: str) -> None:
        """Close the connection, from another thread."""
        self.end(words)
        with suppress(OSError, AttributeError):  # it may be gone by itself
            self._dul.socket.socket.shutdown(socket.SHUT_RDWR)

    def remaining(self) -> float:
        """The seconds that the peer has for the rest of what it sends, however it spaces the bytes.

        A request for an association has to be there within `acse_timeout` of the connection, any other PDU within
        `dimse_timeout` of its beginning and a second for each 64 KiB of it.
        """
        now = time.monotonic()
        if self.awaits_request:
            return float(self.opened + (self._association.acse_timeout or _FOR_EVER) - now)
        allowed = (self._association.dimse_timeout or _FOR_EVER) + self._length / _SLOWEST
        return float(self._begun + allowed - now)

    def _address(self) -> str:
        address = self._association.requestor.address_info
        return str(address.address) if address else _NO_PEER

    def settled(self) -> None:
        """It ends in good order, or its rejection has been told: no reason is needed any more."""
        self._over = True

    def read(self) -> None:
        """Take one PDU from the socket, and put its event and itself where the state machine looks for them.

        P-DATA is taken as long as more of it is there and nobody else wants anything of the upper layer.
        """
        dul = self._dul
        while self._took_data() and not dul._kill_thread:
            dul._idle_timer.restart()
            if not (dul.event_queue.empty() and dul.to_provider_queue.empty()):
                return
            connection = dul.socket.socket
            if self.has_bytes:
                continue
            if connection is None or isinstance(connection, ssl.SSLSocket) or not self.receive_at_once():
                return

    def _took_data(self) -> bool:
        """Take one PDU; says whether it was P-DATA on an association that goes on."""
        dul = self._dul
        self._begun, self._length = time.monotonic(), 0
        kind = 0
        try:
            if self._received(_HEAD.size):
                kind, self._length = _HEAD.unpack_from(self._buffer, self._start)
                if not _REQUEST <= kind <= _ABORT:
                    self._invalid(f"what came is no DICOM: a PDU of type {kind:02X}H")
                    return False
            if not kind or not self._received(_HEAD.size + self._length):
                started = self._end > self._start
                self._discard()
                self._closed(started=started)
                return False
        except OSError as error:
            words = self._why_broken(error)
            self._discard()
            if words is not None:
                self.end(words)
            dul.event_queue.put("Evt17")
            return False
        begin, self._start = self._start, self._start + _HEAD.size + self._length
        with memoryview(self._buffer)[begin : self._start] as pdu:
            if kind == _DATA and dul.state_machine.current_state == _ESTABLISHED:
                self._take_data(pdu[_HEAD.size :])
                return bool(dul.state_machine.current_state == _ESTABLISHED and dul.socket is not None)
            self._take(kind, bytes(pdu))
            return False

    def _why_broken(self, error: OSError) -> str | None:
        """Why nothing more can be read; None of a probe, which leaves by a reset before it has sent anything."""
        # the system's own, of a peer that is not there any more, has a number
        if isinstance(error, TimeoutError) and error.errno is None:
            return _NO_REQUEST if self.awaits_request else "the peer stopped in the middle of a PDU"
        if isinstance(error, ConnectionResetError) and self.awaits_request and not self.has_bytes:
            return None
        return f"the connection broke: {error.strerror or error}"

    @property
    def has_bytes(self) -> bool:
        """Whether something was received that has not been read."""
        return self._end > self._start

    def _received(self, count: int) -> bool:
        """Whether the next `count` bytes are in the buffer, or come; false if the peer closes the connection before.

        More is received where more is there, since each call takes the interpreter from the other associations.
        Memory grows with what comes, not with `count`.

        Raises
        ------
        OSError
            If the peer announces a PDU above the limit, or stalls; or what the connection broke by.
        """
        limit = self._association.ae.maximum_pdu_size
        if limit and count - _HEAD.size > max(limit, _SMALLEST_LIMIT):
            raise OSError(f"a PDU of {count - _HEAD.size} bytes was announced, {limit} are allowed")
        while self._end - self._start < count:
            if self._broken is not None:
                raise self._broken
            left = self.remaining()
            if left <= 0:
                raise TimeoutError
            self._make_room(count)
            with memoryview(self._buffer) as room, room[self._end :] as free:
                taken = _receive(self._dul.socket.socket, free, left)
            if not taken:
                return False
            self._end += taken
        return True

    def receive_at_once(self) -> bool:
        """Whether the peer has sent something, or closed the connection; what is there is received, as far as it fits.

        Of a peer that sends faster than it is read, it spares asking first: each call gives the interpreter away.
        """
        connection: socket.socket = self._dul.socket.socket
        if connection.fileno() < 0 or connection.gettimeout() is None:  # closed here, or one that would wait
            return False
        self._make_room(1)
        try:
            with memoryview(self._buffer) as room, room[self._end :] as free:
                self._end += os.readv(connection.fileno(), [free])
        except BlockingIOError:
            return False
        except OSError as error:
            self._broken = error  # `read` tells it
        return True

    def _make_room(self, count: int) -> None:
        """Let something be received after what is in the buffer, of which `count` bytes are wanted in one piece."""
        there = self._end - self._start
        if self._start and (not there or self._start + count > len(self._buffer)):
            with memoryview(self._buffer) as room:
                room[:there] = room[self._start : self._end]
            self._start, self._end = 0, there
        if self._end == len(self._buffer):
            self._buffer += bytes(min(len(self._buffer), _PIECE))

    def _take_data(self, body: memoryview) -> None:
        """P-DATA on an established association (PS3.8 table 9-10, action DT-2), without objects for each fragment."""
        try:
            self._association.dimse.receive_values(body)
            self._association.dimse.serve_arrived()
        except Unreadable as error:
            self._invalid(str(error))
        except Exception as error:  # as where any other action fails
            self.give_up(error)

    def _take(self, kind: int, pdu: bytes) -> None:
        contexts: tuple[PresentationContext, ...] = ()
        try:
            if kind == _REQUEST:
                if self._calling == _NO_PEER and len(pdu) >= 42:
                    self._calling = title(pdu[26:42])
                readable = readable_request(pdu)
                pdu, contexts = readable.pdu, readable.contexts
            decoded, event = self._dul._decode_pdu(bytearray(pdu))
            primitive = decoded.to_primitive()
        except Unreadable as error:
            self._invalid(str(error))
            return
        except Exception as error:  # pynetdicom raises what it likes on nonsense
            self._invalid(f"a PDU of type {kind:02X}H can't be read ({type(error).__name__})")
            return
        if kind == _REQUEST:
            primitive.presentation_context_definition_list.extend(contexts)
            decoded.to_primitive = lambda: primitive  # for the state machine, once
        if kind == _REQUEST and decoded.protocol_version != 1:
            self.settled()
            self._rejected(self._calling, self._address(), "bit 0 of its protocol version is not set (PS3.8 9.3.2)")
        if kind == _ABORT:
            source = _SOURCES.get(getattr(primitive, "abort_source", 2), "an unknown source")
            self.end(f"the peer aborted it (by {source})")
        self._dul._recv_pdu.put(decoded)
        self._dul.event_queue.put(event)

    def _discard(self) -> None:
        """Let go of what was received: nobody knows where in it a PDU begins, and what is there is read again."""
        self._start = self._end = 0

    def _invalid(self, words: str) -> None:
        self._discard()
        self.end(words)
        self._dul.event_queue.put("Evt19")

    def _closed(self, *, started: bool) -> None:
        if started:
            self.end("the peer closed the connection in the middle of a PDU")
        elif self._dul.state_machine.current_state in _AT_WORK:
            self.end("the peer closed the connection without a release")
        self._dul.event_queue.put("Evt17")

    def before(self, event: str, state: str, action: str | None) -> None:
        """Called for each event, before the state machine acts on it."""
        if event == "Evt18" and state == _AWAITING_REQUEST:
            self.end(_NO_REQUEST)
        elif event == "Evt17" and state in _AT_WORK:
            self.end("the connection was lost")
        elif event == "Evt15":
            self.end(self._why_we_abort())
        elif event in _PDU_NAMES and (action in _ENDING_ACTIONS or action is None):
            self.end(f"a PDU out of turn: {_PDU_NAMES[event]}")

    def _why_we_abort(self) -> str:
        if self._dul.idle_timer_expired():
            return "the peer was silent for listener.limits.network_timeout"
        server = self._association._server
        if server is not None and server.stopping:
            return "WhyRay stops"
        return "WhyRay aborted it, since a request could not be served"

    def give_up(self, error: Exception) -> None:
        """Close what the state machine can't go on with."""
        self.end(f"what the peer sent can't be acted on ({type(error).__name__})")
        abort = A_ABORT_RQ()
        abort.source, abort.reason_diagnostic = 0x02, 0x00
        with suppress(Exception):  # the connection may be gone
            self._dul.socket.send(abort.encode())
        with suppress(Exception):
            self._dul.socket.close()
        self._association.dimse.connection_closed()
        self._association.dimse.msg_queue.put((None, None))
        self._dul.to_user_queue.put(_provider_abort() if self._association.requestor.primitive is not None else None)
        self._dul.kill_dul()


def _receive(connection: socket.socket, free: memoryview, left: float) -> int:
    """How many bytes were received into `free`, within `left` seconds and the connection's own time-out.

    Of what is there it takes one system call: a socket's own `recv_into` waits first, and gives the interpreter away
    twice.
    """
    stall = connection.gettimeout()
    patience = left if stall is None else min(left, stall)
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(patience)
        try:
            return connection.recv_into(free)
        finally:
            connection.settimeout(stall)
    number = connection.fileno()
    while True:
        with suppress(BlockingIOError):
            return os.readv(number, [free])
        waiting = select.poll()
        waiting.register(number, select.POLLIN)
        if not waiting.poll(1 + min(patience, _A_DAY) * 1000):
            raise TimeoutError


def _provider_abort() -> A_P_ABORT:
    primitive = A_P_ABORT()
    primitive.provider_reason = 0x00
    return primitive


class _Machine(StateMachine):  # type: ignore[misc]
    """pynetdicom's, whose actions end the association where they fail, and not their thread."""

    def __init__(self, dul: Any, layer: UpperLayer) -> None:
        current = dul.state_machine.current_state
        super().__init__(dul)
        self.current_state = current
        self._layer = layer

    def do_action(self, event: str) -> None:
        """Act on an event by PS3.8 table 9-10."""
        action = TRANSITION_TABLE.get((event, self.current_state))
        self._layer.before(event, self.current_state, action)
        if action is None:
            if event != "Evt17":  # a connection that is closed twice
                self._layer.give_up(ValueError(event))
            return
        try:
            self.transition(self._accept() if action == _ACCEPT else ACTIONS[action][1](self.dul))
        except Exception as error:  # pynetdicom's actions raise what they like when a connection breaks
            self._layer.give_up(error)

    def _accept(self) -> str:
        """As pynetdicom's action AE-7: send the A-ASSOCIATE-AC PDU."""
        encoded = encoded_acceptance(self.dul.to_provider_queue.get(False))
        if self.dul.socket is not None:
            self.dul.socket.send(encoded)
        return _ESTABLISHED
