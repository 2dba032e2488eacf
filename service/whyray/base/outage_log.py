"""What is done again and again tells in the log when it begins to fail and when it is well again, not each time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from whyray.base.errors import WhyRayError
from whyray.base.failures import logged, typed_error
from whyray.base.repeat_filter import RepeatFilter

_MOST_REASONS = 10
"""Told of one outage: reasons that count something, each of them new, must not flood either."""


class OutageLog:
    """The two ends of an outage of one thing that a loop does. Safe for threads.

    Each reason is told once in an outage, and once a minute where outages follow one upon the other; then, if it was
    told of, that all is well, after how many failures and within how long they came. So a log of a month has both ends,
    and a loop that goes round twice a second fills no disk. When it became well is not known: between the last failure
    and the next occasion, which may come hours later.

    Parameters
    ----------
    doing
        What the loop does, for the beginning of a line: 'the schedule', 'beginning jobs'.
    seconds
        A clock that nobody sets.
    """

    def __init__(self, log: logging.Logger, doing: str, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self._log, self._doing, self._seconds = log, doing, seconds
        self._lately = RepeatFilter(seconds)
        self._told: set[str] = set()
        self._since: float | None = None
        self._last = 0.0
        self._failures = 0
        self._lock = threading.Lock()

    @property
    def lasts(self) -> bool:
        """Whether it failed when it was last done."""
        return self._since is not None

    def failed(self, error: BaseException, subject: str = "") -> WhyRayError:
        """It failed; gives the error typed.

        Parameters
        ----------
        subject
            With what it failed, where that is one of many: 'job 12'.
        """
        typed = typed_error(error)
        reason = f"{typed.code}: {typed.message}"
        with self._lock:
            self._last = self._seconds()
            if self._since is None:
                self._since = self._last
            self._failures += 1
            is_news = reason not in self._told and len(self._told) < _MOST_REASONS
            if is_news and self._lately.passes(reason) is not None:
                self._told.add(reason)
                logged(self._log, error, f"{self._doing}, {subject}" if subject else self._doing)
        return typed

    def well(self) -> None:
        """It did not fail."""
        if not self.lasts:  # nearly always: no lock for that
            return
        with self._lock:
            if self._since is None:  # told by another thread
                return
            failures, was_told = _words(self._failures, self._last - self._since), bool(self._told)
            self._since, self._failures = None, 0
            self._told.clear()
            if was_told:
                self._log.warning("%s: well again, after %s", self._doing, failures)


def _words(failures: int, seconds: float) -> str:
    """'1 failure', '3 failures within 40 s', '60 failures within 12 min', '200 failures within 3.5 h'."""
    if failures == 1:
        return "1 failure"
    if seconds < 120:
        return f"{failures} failures within {max(seconds, 1):.0f} s"
    return f"{failures} failures within " + (f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h")
