"""Whose turn it is to write to the catalog: one process of intake at a time.

SQLite lets one connection write, and has the others sleep for up to a tenth of a second before they look again. Here
they wait for each other, and are woken.
"""

from __future__ import annotations

import os
from fcntl import LOCK_EX, LOCK_UN, lockf
from io import FileIO
from types import TracebackType
from weakref import finalize


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

    A process that ends, however it does, leaves it. The file has to be this process's only one of its kind: the lock on
    it goes with the first that is closed (fcntl(2), record locks).
    """

    def __init__(self, shared: FileIO | None = None) -> None:
        self._shared = shared

    def __enter__(self) -> None:
        if self._shared is not None:
            lockf(self._shared, LOCK_EX)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shared is not None:
            lockf(self._shared, LOCK_UN)
