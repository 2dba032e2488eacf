"""The processes that serve associations beside the one that listens: one interpreter runs on one core alone.

This process accepts every connection, so that limits are those of the whole listener, and hands it to the process with
the fewest (SCM_RIGHTS, unix(7)): to itself where none has fewer, so that a single sender is served as without them.
Each enters into the catalog what it has made durable in storage, one at a time (`catalog_turn`).
"""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import FileIO
from itertools import count
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from whyray.base.child_process import how_ended
from whyray.base.failures import logged
from whyray.intake.admission import CLOSED_MEANWHILE, Rejection
from whyray.intake.open_associations import OpenAssociations
from whyray.intake.process_messages import (
    Answer,
    AssociationRequested,
    ConnectionOver,
    MakeRoom,
    NotReady,
    Ready,
    Reload,
    Stop,
    StudiesReleased,
)
from whyray.intake.receiver import InstanceReceiver

StartProcess = Callable[[int, int], subprocess.Popen[bytes]]
"""(number of the file of messages, number of the socket of connections) → a process that inherits both."""
_STEADY_AFTER, _LONGEST_WAIT = 60.0, 30.0
_TURN = b"turn"
"""What comes with the file of the turn; whoever gets it looks at the file alone."""
_TIME_TO_END = 5.0
"""Seconds from the last that a process says to its end."""
_log = logging.getLogger("whyray.intake")


class ReceivingProcesses:
    """Keeps so many processes running, and gives connections to them."""

    def __init__(
        self, number: int, start: StartProcess, receiver: InstanceReceiver, associations: OpenAssociations, turn: FileIO
    ) -> None:
        self._all = [_Process(start, receiver, associations, turn) for _ in range(number)]

    def start(self) -> None:
        """Start them; connections are served here until they are ready."""
        for process in self._all:
            process.start()

    @property
    def pids(self) -> list[int]:
        """The process ids of those that are ready."""
        return [process.pid for process in self._all if process.ready and process.pid is not None]

    def hand_over(self, connection: socket.socket, address: Any, by_tls: bool, served_here: int) -> HandedOver | None:
        """Give a connection to the process that has the fewest; None where none has fewer than this, or takes it.

        `served_here`: how many this process serves already.
        """
        fewer = (one for one in self._all if one.ready and one.load < served_here)
        for process in sorted(fewer, key=lambda one: one.load):
            taken = process.take(connection, address, by_tls)
            if taken is not None:
                return taken
        return None

    def reload(self) -> None:
        """Have them read the configuration anew."""
        for process in self._all:
            process.say(Reload())

    def ask_to_stop(self, grace: float) -> None:
        """Have them end once their associations have, within so many seconds; none is started again."""
        for process in self._all:
            process.stopping.set()
            process.say(Stop(grace))

    def stop(self, *, within: float) -> None:
        """Wait for their end for so many seconds, then end them."""
        deadline = time.monotonic() + within
        for process in self._all:
            process.end(max(0.0, deadline - time.monotonic()))


class HandedOver:
    """A connection that another process serves; one of `server.OpenConnection`."""

    here = False

    def __init__(self, say: Callable[[object], None], number: int, address: str) -> None:
        self.opened, self.address = time.monotonic(), address
        self.awaits_request, self.is_over = True, False
        self._say, self._number = say, number

    def make_room(self, words: str) -> None:
        """Have it closed; it counts until it is."""
        self.awaits_request = False  # another one gives way next
        self._say(MakeRoom(self._number, words))


class _Process(threading.Thread):
    """Starts one process again and again, and does what it asks for."""

    def __init__(
        self,
        start: StartProcess,
        receiver: InstanceReceiver,
        associations: OpenAssociations,
        turn: FileIO,
    ) -> None:
        super().__init__(name="whyray-receiving-process", daemon=True)
        self._start_process, self._receiver, self._associations, self._turn = start, receiver, associations, turn
        self.stopping, self.ready = threading.Event(), False
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._passing: socket.socket | None = None
        self._handed: dict[int, HandedOver] = {}
        self._numbers = count()
        self._lock, self._saying = threading.Lock(), threading.Lock()

    @property
    def pid(self) -> int | None:
        """Its process id; None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def load(self) -> int:
        """How many connections it has."""
        return len(self._handed)

    def take(self, connection: socket.socket, address: Any, by_tls: bool) -> HandedOver | None:
        """Give it a connection; None where it can't be reached."""
        with self._lock:  # in the order of their numbers
            passing, messages = self._passing, self._connection
            if passing is None or messages is None or not self.ready:
                return None
            number = next(self._numbers)
            handed = HandedOver(partial(self._say_by, messages), number, str(address[0]))
            self._handed[number] = handed
            try:
                socket.send_fds(passing, [json.dumps([number, list(address), by_tls]).encode()], [connection.fileno()])
            except OSError:  # it has just ended, or takes nothing
                self._handed.pop(number, None)
                return None
        return handed

    def say(self, message: object) -> None:
        """Tell it something, if it is there."""
        if (messages := self._connection) is not None:
            self._say_by(messages, message)

    def _say_by(self, messages: Connection[Any, Any], message: object) -> None:
        """The same to the process that has this connection: what one is told is not for its successor."""
        with self._saying, suppress(OSError, ValueError):
            if self._connection is messages:
                messages.send(message)

    def run(self) -> None:
        """Keep it running until told to stop."""
        ends, wait = 0, 0.0
        while not self.stopping.wait(wait):
            began = time.monotonic()
            words = self._once()
            if self.stopping.is_set():
                return
            ends = 1 if time.monotonic() - began > _STEADY_AFTER else ends + 1
            wait = 0.0 if ends == 1 else min(2.0 ** (ends - 2), _LONGEST_WAIT)
            message = f"a receiving process {words}; it is started again in {wait:.0f} s"
            _log.error("%s", message)
            self._receiver.note("error", "intake.process-ended", message)

    def _once(self) -> str:
        """Start it, and do what it asks for until it has ended; says how it did."""
        own, its = Pipe()
        passing, its_passing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with own, passing:
            passing.settimeout(0)
            with its, its_passing:
                try:
                    process = self._process = self._start_process(its.fileno(), its_passing.fileno())
                except OSError as error:
                    return f"could not be started ({error.strerror})"
            with suppress(OSError):  # it may have ended already, and have said why
                socket.send_fds(passing, [_TURN], [self._turn.fileno()])
            with self._lock, self._saying:
                self._connection, self._passing = own, passing
            if self.stopping.is_set():
                self.say(Stop(0.0))
            words = None
            try:
                while True:
                    message = own.recv()
                    if isinstance(message, NotReady):
                        words = message.words
                    else:
                        self._do(message, partial(self._say_by, own))
            except (EOFError, OSError):
                pass
            except Exception as error:  # it says what nobody understands: another takes its place
                logged(_log, error, "what a receiving process asks for")
                process.kill()
            with self._lock, self._saying:
                self.ready, self._connection, self._passing = False, None, None
        self._forget_all()
        try:
            code = process.wait(_TIME_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        return words or how_ended(code)

    def _forget_all(self) -> None:
        with self._lock:
            gone, self._handed = self._handed, {}
        for handed in gone.values():
            handed.is_over = True
            self._associations.end(handed)

    def _do(self, message: object, say: Callable[[object], None]) -> None:
        match message:
            case AssociationRequested(token, number, calling, address, named):
                refused: Rejection | None = CLOSED_MEANWHILE
                if (handed := self._handed.get(number)) is not None:
                    handed.awaits_request = False
                    refused = self._associations.begin(handed, calling, address, named=named)
                say(Answer(token, refused))
            case ConnectionOver(number):
                with self._lock:
                    over = self._handed.pop(number, None)
                if over is not None:
                    over.is_over = True
                    self._associations.end(over)
            case StudiesReleased():
                self._receiver.on_release()
            case Ready():
                self.ready = True

    def end(self, within: float) -> None:
        """Wait for its end for so many seconds, then end it."""
        process = self._process
        if process is None:
            return
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
