"""One device, two processes: passes of one job in the gaps that another, whose turn it is, leaves between its own.

A job that has its turn does not compute all the time: it evaluates maps, resamples and draws in between. The next job,
which is read and waits, makes passes meanwhile. The one whose turn it is goes first: it waits for a pass that has begun
and for nothing else.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from whyray.base.stages import stage

QUIET = 0.005
"""Seconds without a pass after which there is a gap: between the batches of one method there is less."""
LONGEST_PASS = 60.0
"""Seconds that whoever has the turn waits for a pass in a gap, before it says so."""
_LOOK = 0.001
_STATE = struct.Struct("=d?")
"""When the one whose turn it is made its last pass, in seconds of the monotonic clock; whether it computes or is
about to."""


def open_shared_device() -> int:
    """A file descriptor, to be inherited by both processes, by which they know of each other; its owner closes it."""
    descriptor = os.memfd_create("device")
    os.ftruncate(descriptor, _STATE.size)
    return descriptor


class SharedDevice:
    """One process's side of a device that two share; safe for threads.

    Who computes holds a record lock, which the kernel takes back when a process ends, however it ends.

    Parameters
    ----------
    descriptor
        As `open_shared_device` gives it.
    has_turn
        Whether this process's job has its turn; asked while it waits in gaps, and may raise to end that.
    blocked
        Told once a pass where the job has its turn and a pass of the other keeps it waiting too long.
    """

    def __init__(self, descriptor: int, has_turn: Callable[[], bool], blocked: Callable[[], None]) -> None:
        self._descriptor, self._has_turn, self._blocked = descriptor, has_turn, blocked
        self._state = mmap.mmap(descriptor, _STATE.size)
        self._thread = threading.RLock()
        self._depth = 0

    def close(self) -> None:
        """After the last pass. Not left to the garbage collector: it closes a descriptor, by which the kernel takes
        back whatever lock this process has then."""
        self._state.close()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Wait for the device, and have it for one pass: a `Gate`."""
        with self._thread:
            own = self._take() if self._depth == 0 else False
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._leave(own=own)

    def _take(self) -> bool:
        """Have the device; says whether the job's turn gave it, and no gap."""
        if self._has_turn():
            self._take_in_turn()
            return True
        if self._is_gap() and self._locked():
            return False
        with stage("waiting for the device"):
            while not self._has_turn():
                if self._is_gap() and self._locked():
                    return False
                time.sleep(_LOOK)
        self._take_in_turn()
        return True

    def _take_in_turn(self) -> None:
        self._tell(wanted=True)
        if self._locked():
            return
        with stage("waiting for the device"):
            told, until = False, time.monotonic() + LONGEST_PASS
            while not self._locked():
                if not told and time.monotonic() > until:
                    told = True
                    self._blocked()
                time.sleep(_LOOK)

    def _leave(self, *, own: bool) -> None:
        if own:
            self._tell(wanted=False)
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _is_gap(self) -> bool:
        last, wanted = _STATE.unpack(self._state[:])
        return not wanted and time.monotonic() - last >= QUIET

    def _tell(self, *, wanted: bool) -> None:
        self._state[:] = _STATE.pack(time.monotonic(), wanted)

    def _locked(self) -> bool:
        with suppress(BlockingIOError, PermissionError):
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False
