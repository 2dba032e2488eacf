"""What was made of some objects, for as long as they are there: pages, thumbnails and sentences ask for the same."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")
_Place = tuple[tuple[int, ...], Hashable]


class Remembered(Generic[T]):
    """The last `most` things that were made, each of certain objects (these very ones, not equal ones) and a key.

    What was made of an object that is gone is forgotten when the next thing is made. Safe for threads: who asks for
    what another thread is making waits for it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._made: OrderedDict[_Place, tuple[tuple[weakref.ref[object], ...], T]] = OrderedDict()
        self._making: dict[_Place, Lock] = {}
        self._lock = Lock()

    def of(self, objects: tuple[object, ...], key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives of these objects under this key, made once."""
        return self._asked(objects, key, make, keep=True)

    def taken(self, objects: tuple[object, ...], key: Hashable, make: Callable[[], T]) -> T:
        """The same, which is not asked for again: it is kept no longer."""
        return self._asked(objects, key, make, keep=False)

    def _asked(self, objects: tuple[object, ...], key: Hashable, make: Callable[[], T], *, keep: bool) -> T:
        place = (tuple(map(id, objects)), key)
        with self._lock:
            making = self._making.setdefault(place, Lock())
        with making:
            try:
                with self._lock:
                    kept = self._made.get(place)
                    if kept is not None and all(of() is one for of, one in zip(kept[0], objects, strict=True)):
                        if keep:
                            self._made.move_to_end(place)
                        else:
                            del self._made[place]
                        return kept[1]
                made = make()
                if keep:
                    self._keep(place, objects, made)
                return made
            finally:
                with self._lock:
                    self._making.pop(place, None)  # whoever waits for it has it

    def _keep(self, place: _Place, objects: tuple[object, ...], made: T) -> None:
        with self._lock:
            for gone in [held for held, (of, _) in self._made.items() if any(one() is None for one in of)]:
                del self._made[gone]
            self._made[place] = (tuple(map(weakref.ref, objects)), made)
            while len(self._made) > self._most:
                self._made.popitem(last=False)
