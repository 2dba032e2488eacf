"""What is to be entered in the catalog is entered beside the sending, so that the next object does not wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Entries(Generic[Entry]):
    """Has entries entered at once, in their order, by a thread of its own: what came while it wrote, together.

    Parameters
    ----------
    enter
        Enters some. What it raises, the next `add` or `settle` raises; nothing is entered after it.
    """

    def __init__(self, enter: Callable[[Sequence[Entry]], None]) -> None:
        self._enter = enter
        self._waiting: deque[Entry] = deque()
        self._failure: Exception | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="entries")

    def add(self, entry: Entry) -> None:
        """Have one entered."""
        self._raise_failure()
        self._waiting.append(entry)
        self._thread.submit(self._enter_waiting)

    def settle(self) -> None:
        """Come back when all is entered."""
        self._thread.submit(self._enter_waiting).result()
        self._raise_failure()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _enter_waiting(self) -> None:
        entries = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not entries or self._failure is not None:
            return
        try:
            self._enter(entries)
        except Exception as error:  # told to who adds or waits, whatever it is
            self._failure = error
