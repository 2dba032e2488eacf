"""Progress for a log: where there is no terminal for a bar, a line every quarter of a minute says that work goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread

EVERY = 15.0
"""Seconds between lines; what takes less says nothing."""


class ProgressLines:
    """Keeps what was last told of some work, and writes it as a line when it is asked to.

    `write` takes a line; `clock` gives seconds.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock, self._start = write, clock, clock()
        self._lock = Lock()
        self._done, self._words = 0.0, "starting"

    def show(self, done: float, words: str) -> None:
        """The share done (0..1) and what is in hand."""
        with self._lock:
            self._done, self._words = done, words

    def tell(self) -> None:
        """Write the line."""
        with self._lock:
            done, words = self._done, self._words
        minutes, seconds = divmod(int(self._clock() - self._start), 60)
        self._write(f"{minutes}:{seconds:02} {min(done, 1.0):.0%} {words}")


@contextmanager
def told_by_lines(write: Callable[[str], None]) -> Iterator[Callable[[float, str], None]]:
    """Write a line every `EVERY` seconds until the work ends, in a thread: a step may take long by itself."""
    lines, ended = ProgressLines(write), Event()

    def tell() -> None:
        while not ended.wait(EVERY):
            lines.tell()

    thread = Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield lines.show
    finally:
        ended.set()
        thread.join()
