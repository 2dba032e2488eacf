"""Whose turn it is to write to the catalog: one process of intake at a time.

SQLite lets one connection write, and has the others sleep for up to a tenth of a second before they look again. Here
they wait for each other, and are woken.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, lockf
from io import FileIO
from types import TracebackType
from weakref import finalize

_PATIENCE = 60.0
"""Seconds, as long as SQLite itself waits for who writes."""
_log = logging.getLogger("whyray.intake")


def shared_turn_file() -> FileIO:
    """A file in memory for the turn of several processes, which get it over a socket; see `turn_file`."""
    return turn_file(os.memfd_create("whyray-catalog-turn", os.MFD_CLOEXEC))


def turn_file(descriptor: int) -> FileIO:
    """The file of a turn, which is closed when nobody has it any more, or with the process.

    Nobody closes it at the end of what it is for: threads that are in the turn then, or wait for it, would be told of
    a fault of what they have done, and another process would get the turn while they write.
    """
    file = FileIO(descriptor, "r+", closefd=False)
    finalize(file, os.close, descriptor).atexit = False
    return file


class CatalogTurn:
    """A context in which no other process is that has the same `shared` file; for one thread at a time of each.

    A process that ends, however it does, leaves it. One that stands still in it (stopped, or frozen with its container)
    does not: who has waited for `patience` seconds goes on without the turn, and SQLite arbitrates as it does between
    all others; so does who comes while that process still has it. The log is warned once.

    The file has to be this process's only one of its kind: the lock on it goes with the first that is closed (fcntl(2),
    record locks). A thread of its own waits where another process has the turn, since that wait has no end.
    """

    def __init__(self, shared: FileIO | None = None, *, patience: float = _PATIENCE) -> None:
        self._shared, self._patience = shared, patience
        self.has_it = False
        """Whether this process has the turn, for who is in the context."""
        self.waits = False
        """Whether the thread of its own waits for the turn."""
        self._since = 0.0
        self._is_wanted = self._is_told = False
        self._changed = threading.Condition()
        self._asked: threading.Semaphore | None = None

    def __enter__(self) -> None:
        if self._shared is None:
            return
        with self._changed:
            try:
                if not self.has_it and not self._had_at_once(self._shared):
                    self._wait(self._shared)
            except OSError as error:
                self._tell(f"the turn to write to the catalog can't be had ({error.strerror}): SQLite arbitrates alone")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shared is None:
            return
        with self._changed:
            if self.has_it:
                self._leave(self._shared)

    def _had_at_once(self, shared: FileIO) -> bool:
        if not self.waits:  # else the lock may be had for who is gone, and is about to be left
            with suppress(BlockingIOError, PermissionError):
                lockf(shared, LOCK_EX | LOCK_NB)
                self.has_it, self._is_told = True, False
        return self.has_it

    def _wait(self, shared: FileIO) -> None:
        if not self.waits:
            self.waits, self._since = True, time.monotonic()
            self._ask()
        self._is_wanted = True
        try:
            self._changed.wait_for(
                lambda: self.has_it or not self.waits, max(0.0, self._since + self._patience - time.monotonic())
            )
        except BaseException:
            if self.has_it:
                self._leave(shared)
            raise
        finally:
            self._is_wanted = False
        if not self.has_it:
            self._tell(
                f"another process of intake has had the turn to write to the catalog for {self._patience:.0f} s: "
                "it is not waited for any longer; look whether one is stopped"
            )

    def _ask(self) -> None:
        if self._asked is None:
            self._asked = threading.Semaphore(0)
            threading.Thread(target=self._wait_for_others, name="whyray-catalog-turn", daemon=True).start()
        self._asked.release()

    def _wait_for_others(self) -> None:
        assert self._asked is not None
        assert self._shared is not None
        while self._asked.acquire():
            failure = None
            try:
                lockf(self._shared, LOCK_EX)
            except OSError as error:
                failure = error
            with self._changed:
                self.waits = False
                if failure is None:
                    self.has_it, self._is_told = self._is_wanted, False
                    if not self._is_wanted:
                        self._leave(self._shared)
                self._changed.notify()

    def _leave(self, shared: FileIO) -> None:
        self.has_it = False
        with suppress(OSError):  # the lock goes with the process at the latest
            lockf(shared, LOCK_UN)

    def _tell(self, words: str) -> None:
        if not self._is_told:
            self._is_told = True
            _log.warning("%s", words)
