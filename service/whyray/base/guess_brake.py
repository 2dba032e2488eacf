"""A brake on guessing passwords and tokens."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

from whyray.base.sources import Clock

_MOST_REMEMBERED = 1000
MOST_FAILURES = 10
"""Within the last minute; what comes then is not looked at."""
_WINDOW = timedelta(minutes=1)


class GuessBrake:
    """Refuses for a while after too many wrong secrets, by whatever they are counted: an address, an account."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, list[datetime]] = {}
        self._lock = threading.Lock()

    def blocked(self, *counted_by: str) -> bool:
        """Whether there were too many wrong ones within the last minute by any of these."""
        with self._lock:
            return any(len(self._recent(name)) >= MOST_FAILURES for name in counted_by)

    def admits(self, *counted_by: str) -> bool:
        """Whether a secret may be looked at. It counts as wrong until `was_right`: many at once gain nothing."""
        with self._lock:
            if any(len(self._recent(name)) >= MOST_FAILURES for name in counted_by):
                return False
            self._count(counted_by)
            return True

    def was_right(self, *counted_by: str) -> None:
        """Take back what `admits` counted."""
        with self._lock:
            for name in counted_by:
                self._failures[name] = self._recent(name)[:-1]

    def failed(self, *counted_by: str) -> None:
        """Note one wrong secret."""
        with self._lock:
            self._count(counted_by)

    def _count(self, counted_by: Sequence[str]) -> None:
        if len(self._failures) > _MOST_REMEMBERED:
            self._failures = {name: recent for name in self._failures if (recent := self._recent(name))}
        for name in counted_by:
            self._failures[name] = [*self._recent(name), self._clock()]

    def _recent(self, name: str) -> list[datetime]:
        now = self._clock()  # what failed long after now did so before the clock was set back
        return [failed_at for failed_at in self._failures.get(name, []) if abs(now - failed_at) < _WINDOW]
