"""Files made ready to be sent, compressed say, while others are on their way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from whyray.delivery.outgoing import Outgoing

Prepared = TypeVar("Prepared")
AHEAD = 5
"""Files, beside the one that is being sent: with it, the pages of a radiograph and its report."""
LARGEST = 32 << 20
"""Bytes of a file that may wait in memory for its turn; what is larger is made ready when its turn has come."""


class Preparation(Generic[Prepared]):
    """Makes files ready in their order, a few ahead.

    Parameters
    ----------
    files
        In the order in which they should be sent.
    prepare
        What makes one ready; called in threads of its own.
    is_ready
        Whether nothing has to be made of a file: then `prepare` is called at once, in the thread that asks.
    """

    def __init__(
        self,
        files: Sequence[Outgoing],
        prepare: Callable[[Outgoing], Prepared],
        is_ready: Callable[[Outgoing], bool] = lambda _: False,
    ) -> None:
        self._files, self._prepare, self._is_ready = files, prepare, is_ready
        self._in_hand: dict[int, Future[Prepared]] = {}
        self._taken: set[int] = set()
        self._threads = ThreadPoolExecutor(AHEAD, thread_name_prefix="preparation")

    def __enter__(self) -> Preparation[Prepared]:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what is being made; the rest is left."""
        self._threads.shutdown(cancel_futures=True)

    def first_ready(self, left: Sequence[int]) -> int:
        """Of the files that are left to be sent, by number and in order, the one that can be sent soonest."""
        for number in self._in_hand.keys() - set(left):
            self._in_hand.pop(number).cancel()
        self._begin(left)
        begun = [number for number in left if number in self._in_hand]
        wait([self._in_hand[number] for number in begun], return_when=FIRST_COMPLETED)
        return next(number for number in begun if self._in_hand[number].done())

    def take(self, number: int) -> Prepared:
        """The file of this number, ready; raises what `prepare` raised. Those that follow are made meanwhile."""
        self._begin(range(number, len(self._files)))
        self._taken.add(number)
        return self._in_hand.pop(number).result()

    def _begin(self, numbers: Sequence[int]) -> None:
        """The first of them, and as many of the others as there is room for."""
        for number in numbers:
            if number != numbers[0] and len(self._in_hand) > AHEAD:
                return
            if number in self._in_hand or number in self._taken:
                continue
            if number == numbers[0] or is_small(self._files[number]):
                self._in_hand[number] = self._begun(self._files[number])

    def _begun(self, file: Outgoing) -> Future[Prepared]:
        if not self._is_ready(file):
            return self._threads.submit(self._prepare, file)
        made: Future[Prepared] = Future()
        try:
            made.set_result(self._prepare(file))
        except Exception as error:  # told when its turn has come
            made.set_exception(error)
        return made


def is_small(file: Outgoing) -> bool:
    """Whether it may wait in memory for its turn."""
    try:
        return file.path.stat().st_size <= LARGEST
    except OSError:  # told when its turn has come
        return False
