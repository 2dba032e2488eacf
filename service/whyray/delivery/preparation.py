"""Files made ready to be sent, compressed say, while those before them are on their way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from whyray.delivery.outgoing import Outgoing

Prepared = TypeVar("Prepared")
AHEAD = 3
"""Files, beside the one that is being sent."""
LARGEST = 32 << 20
"""Bytes of a file that may wait in memory for its turn; what is larger is made ready when its turn has come."""


class Preparation(Generic[Prepared]):
    """Makes files ready in their order, a few ahead.

    Parameters
    ----------
    files
        In the order in which they will be sent.
    prepare
        What makes one ready; called in threads of its own.
    """

    def __init__(self, files: Sequence[Outgoing], prepare: Callable[[Outgoing], Prepared]) -> None:
        self._files, self._prepare = files, prepare
        self._ahead: dict[int, Future[Prepared]] = {}
        self._threads = ThreadPoolExecutor(AHEAD, thread_name_prefix="preparation")

    def __enter__(self) -> Preparation[Prepared]:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what is being made; the rest is left."""
        self._threads.shutdown(cancel_futures=True)

    def take(self, number: int) -> Prepared:
        """The file of this number, ready; raises what `prepare` raised. Those that follow are made meanwhile."""
        for later in range(number, min(number + 1 + AHEAD, len(self._files))):
            if later not in self._ahead and (later == number or self._is_small(self._files[later])):
                self._ahead[later] = self._threads.submit(self._prepare, self._files[later])
        return self._ahead.pop(number).result()

    @staticmethod
    def _is_small(file: Outgoing) -> bool:
        try:
            return file.path.stat().st_size <= LARGEST
        except OSError:  # told when its turn has come
            return False
