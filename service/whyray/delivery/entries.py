"""What is to be entered in the catalog is entered beside the sending, so that the next object does not wait for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Entry = TypeVar("Entry")
LINGER = 0.02
"""Seconds that an entry waits for others, since one transaction costs as much as four entries in it."""


class Entries(Generic[Entry]):
    """Has entries entered in their order by a thread of its own, those that come within a moment together.

    Parameters
    ----------
    enter
        Enters some. What it raises, the next `add` or `settle` raises; nothing is entered after it.
    """

    def __init__(self, enter: Callable[[Sequence[Entry]], None]) -> None:
        self._enter = enter
        self._waiting: deque[Entry] = deque()
        self._failure: Exception | None = None
        self._now = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="entries")

    def add(self, entry: Entry) -> None:
        """Have one entered soon."""
        self._raise_failure()
        self._waiting.append(entry)
        self._thread.submit(self._enter_waiting)

    def settle(self) -> None:
        """Enter at once what waits; come back when all is entered."""
        self._now.set()
        self._thread.submit(self._enter_waiting).result()
        self._now.clear()
        self._raise_failure()

    def close(self) -> None:
        """End the thread, when all is entered."""
        self._now.set()
        self._thread.shutdown()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _enter_waiting(self) -> None:
        if not self._waiting or self._failure is not None:
            return
        self._now.wait(LINGER)
        entries = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            self._enter(entries)
        except Exception as error:  # told to who adds or waits, whatever it is
            self._failure = error
