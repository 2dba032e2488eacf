"""The two threads of an association, woken by what happens instead of polling for it.

pynetdicom's threads look a thousand times a second whether there is anything to do: with many associations they spend
the interpreter's time on looking, and an idle listener is never idle. Here the upper layer's thread sleeps until the
socket has bytes or somebody wants to send, and the association's until there is a message or the association ends.
pynetdicom's state machine (PS3.8 section 9.2.3), its queues and what it does with events are untouched.
"""

from __future__ import annotations

import os
import select
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Queue
from typing import Any

from pynetdicom import evt

from whyray.intake.object_receiver import ObjectReceiver
from whyray.intake.upper_layer import UpperLayer

_CLOSED = "Sta1"
_AWAITING_CLOSE = "Sta13"
_NOT_TOO_EARLY = 0.001
_LOOK_AGAIN = 0.05
"""Seconds: after the connection's end pynetdicom sets a flag that wakes nobody."""


class _TellingQueue(Queue[Any]):
    """A queue that tells of what is put into it; `taken_over` is what lay in the queue whose place it takes."""

    def __init__(self, tell: Callable[[], None], taken_over: Queue[Any]) -> None:
        super().__init__()
        with suppress(Empty):
            while True:
                super().put(taken_over.get_nowait())
        self._tell = tell

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._tell()


class _Timer:
    """As `pynetdicom.timer.Timer`, by a clock that nobody sets: else all associations end when the time is put on.

    The first time is counted from `since`, where given.
    """

    def __init__(self, timeout: float | None, since: float | None = None) -> None:
        self.timeout, self._since = timeout, since
        self._started: float | None = None
        self._stopped: float | None = None

    @property
    def remaining(self) -> float:
        """Seconds; 1 where it never expires."""
        if self.timeout is None:
            return 1.0
        if self._started is None:
            return self.timeout
        until = time.monotonic() if self._stopped is None else self._stopped
        return self.timeout - (until - self._started)

    @property
    def expired(self) -> bool:
        """Whether it has been started, and its time is over."""
        return self.timeout is not None and self._started is not None and self.remaining < 0

    @property
    def is_running(self) -> bool:
        """Whether it will expire by itself."""
        return self.timeout is not None and self._started is not None and self._stopped is None

    def start(self) -> None:
        """Begin anew."""
        since, self._since = self._since, None
        self._started, self._stopped = time.monotonic() if since is None else since, None

    restart = start

    def stop(self) -> None:
        """Stand still."""
        self._stopped = time.monotonic()


class Reactor:
    """Runs both threads of one association, which has not been started yet.

    Parameters
    ----------
    association
        pynetdicom's, of an acceptor.
    layer
        Takes one PDU at a time from the socket and puts its event into the upper layer's queue, or deals with it.
    receiver
        Its DIMSE provider, which is told when the association's thread is about to end.
    """

    def __init__(self, association: Any, layer: UpperLayer, receiver: ObjectReceiver) -> None:
        self._association, self._dul, self._layer, self._receiver = association, association.dul, layer, receiver
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bell_lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)
        self._polled = -1
        self._stirred = threading.Event()
        dul, dimse = self._dul, association.dimse
        dul.event_queue = _TellingQueue(self._ring, dul.event_queue)
        dul.to_provider_queue = _TellingQueue(self._ring, dul.to_provider_queue)
        dul.to_user_queue = _TellingQueue(self._stirred.set, dul.to_user_queue)
        dimse.msg_queue = _TellingQueue(self._stirred.set, dimse.msg_queue)
        # the first that ARTIM measures is the wait for a request (PS3.8 section 9.1.5), which has begun
        dul._idle_timer, dul.artim_timer = (
            _Timer(dul._idle_timer.timeout),
            _Timer(dul.artim_timer.timeout, layer.opened),
        )
        self._kill_dul, self._kill = dul.kill_dul, association.kill
        dul.kill_dul, association.kill = self._end_upper_layer, self._end_association
        dul.run, association._run_reactor = self._run_upper_layer, self._run_association

    def _ring(self) -> None:
        if threading.current_thread() is self._dul:
            return  # it looks into its queues before it sleeps
        with self._bell_lock:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def _end_upper_layer(self) -> None:
        self._kill_dul()
        self._ring()

    def _end_association(self) -> None:
        self._kill()
        self._stirred.set()

    def _run_upper_layer(self) -> None:
        dul = self._dul
        dul._idle_timer.start()
        self._association._dul_ready.set()
        try:
            while not dul._kill_thread:
                self._one_event()
        finally:
            self._stirred.set()
            with self._bell_lock:
                os.close(self._bell)
                self._bell = -1

    def _one_event(self) -> None:
        """Act on one event, after waiting for one where there is none."""
        dul = self._dul
        if dul.artim_timer.expired:
            dul.event_queue.put("Evt18")
        try:
            event = dul.event_queue.get_nowait()
        except Empty:
            if dul._process_recv_primitive():
                return
            if self._readable(self._upper_layer_patience()):
                self._layer.read()
                dul._idle_timer.restart()
            elif dul.state_machine.current_state == _AWAITING_CLOSE:
                dul.socket.close()
            return
        dul.state_machine.do_action(event)

    def _upper_layer_patience(self) -> float | None:
        """Seconds until the upper layer has to look again by itself; for ever where None."""
        dul = self._dul
        if dul.state_machine.current_state == _AWAITING_CLOSE:
            return 0.0
        if dul.state_machine.current_state == _CLOSED:
            return _LOOK_AGAIN
        return max(0.0, dul.artim_timer.remaining) + _NOT_TOO_EARLY if dul.artim_timer.is_running else None

    def _readable(self, patience: float | None) -> bool:
        """Whether there are bytes of the peer's, or its end; returns early where the bell rings."""
        if self._layer.has_bytes:
            return True
        connection = self._dul.socket.socket if self._dul.socket is not None else None
        if isinstance(connection, ssl.SSLSocket):
            if connection.pending():
                return True
        elif connection is not None and self._layer.receive_at_once():
            return True
        number = -1 if connection is None else connection.fileno()
        if number != self._polled:
            if self._polled >= 0:
                self._poll.unregister(self._polled)
            self._polled = number
            if number >= 0:
                self._poll.register(number, select.POLLIN)
        ready = dict(self._poll.poll(None if patience is None else patience * 1000))
        if ready.pop(self._bell, 0):
            os.eventfd_read(self._bell)
        return bool(ready)

    def _run_association(self) -> None:
        """As pynetdicom's: serve what comes, until the association ends in one of its ways."""
        association, dul = self._association, self._dul
        while not association._kill:
            # paused is what it is while it waits: who wants to send a request of our own asks for that
            association._is_paused = True
            self._stirred.wait(self._association_patience())
            self._stirred.clear()
            association._reactor_checkpoint.wait()
            association._is_paused = False
            context_id, message = association.dimse.get_msg(block=False)
            if message is not None:
                self._stirred.set()  # there may be more
                association._serve_request(message, context_id)
            if association.is_established and association.acse.is_release_requested():
                association.acse.send_release(is_response=True)
                association.is_released = True
                association.is_established = False
                evt.trigger(association, evt.EVT_RELEASED, {})
                association.kill()
            elif association.acse.is_aborted():
                dul.receive_pdu(wait=False)
                association.is_aborted = True
                association.is_established = False
                evt.trigger(association, evt.EVT_ABORTED, {})
                association.kill()
            elif not dul.is_alive():
                association.kill()
            elif dul.idle_timer_expired() and not self._receiver.storing:
                association.abort()
                association.kill()
        self._receiver.association_ended()

    def _association_patience(self) -> float | None:
        timer = self._dul._idle_timer
        if timer.expired:  # while an instance is being stored
            return _LOOK_AGAIN
        return max(0.0, float(timer.remaining)) + _NOT_TOO_EARLY if timer.is_running else None
