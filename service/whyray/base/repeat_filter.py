"""What happens again and again is told once in a while: a peer or a script that tries for ever must not flood."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable

_MINUTE = 60.0
_MOST_REMEMBERED = 1000


class RepeatFilter:
    """Lets the same thing pass once a minute, and counts what it holds back meanwhile. Safe for threads.

    Remembers the `most` things that passed last: of an older one the count is lost, and it passes anew.

    Parameters
    ----------
    seconds
        A clock. Where it is set back, all passes: to be told too much is better than too little.
    """

    def __init__(
        self,
        seconds: Callable[[], float] = time.monotonic,
        *,
        interval: float = _MINUTE,
        most: int = _MOST_REMEMBERED,
    ) -> None:
        self._seconds, self._interval, self._most = seconds, interval, most
        self._passed: dict[Hashable, tuple[float, int]] = {}
        """When it passed, and how often it was held back since; the one that passed last is last."""
        self._lock = threading.Lock()

    def passes(self, what: Hashable) -> int | None:
        """How often it was held back since it passed last, if it passes now; None if it is held back."""
        with self._lock:
            now = self._seconds()
            passed_at, held_back = self._passed.get(what, (None, 0))
            if passed_at is not None and 0 <= now - passed_at < self._interval:
                self._passed[what] = passed_at, held_back + 1
                return None
            self._passed.pop(what, None)
            self._passed[what] = now, 0
            while len(self._passed) > self._most:
                del self._passed[next(iter(self._passed))]
            return held_back
