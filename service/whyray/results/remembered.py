"""What was made of some objects, for as long as they are there: pages, thumbnails and sentences ask for the same."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """The last `most` things that were made, each of certain objects (these very ones, not equal ones) and a key.

    What was made of an object that is gone is forgotten when the next thing is made. Safe for threads.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: OrderedDict[Hashable, tuple[tuple[weakref.ref[object], ...], T]] = OrderedDict()
        self._lock = Lock()

    def of(self, objects: tuple[object, ...], key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives of these objects under this key, made once."""
        place = (tuple(map(id, objects)), key)
        with self._lock:
            found = self._made.get(place)
            if found is not None and all(of() is one for of, one in zip(found[0], objects, strict=True)):
                self._made.move_to_end(place)
                return found[1]
        made = make()
        with self._lock:
            for gone in [held for held, (of, _) in self._made.items() if any(one() is None for one in of)]:
                del self._made[gone]
            self._made[place] = (tuple(map(weakref.ref, objects)), made)
            while len(self._made) > self._most:
                self._made.popitem(last=False)
        return made
