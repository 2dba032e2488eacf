"""Whose turn it is at a worker's device: one job computes, while the next one is read and the last one is stored."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

AT_THE_DEVICE = "read; waits for the device"
"""Words of the progress of a job that waits for its turn."""
Device = Callable[[], AbstractContextManager[None]]
"""Gives the device to who enters, for as long as he stays."""


class HandedBack(Exception):  # noqa: N818 - what happened
    """The worker has something to do before this job, which was only read: it is queued again, no attempt counted.

    Parameters
    ----------
    reason
        For what.
    at_once
        Its process is ended and not waited for.
    """

    def __init__(self, reason: str, *, at_once: bool = False) -> None:
        super().__init__(reason)
        self.at_once = at_once


class DeviceTurn:
    """The turn at one device; safe for threads.

    Parameters
    ----------
    is_next
        Whether a job may have a free device before others that are in hand. Asked while nobody can take or leave the
        device, so it has to answer at once.
    may_take
        Asked with the job's id once the device is free for it, before it is given; what it raises, `take` raises. It
        may take its time: meanwhile others leave the device and take it.
    taken
        Told that a job has it now, or refuses by raising; answers at once, as `is_next`.
    """

    def __init__(
        self,
        *,
        is_next: Callable[[str], bool] = lambda _: True,
        may_take: Callable[[str], None] = lambda _: None,
        taken: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._is_next, self._may_take, self._taken = is_next, may_take, taken
        self._changed = threading.Condition()
        self._holder: str | None = None

    @property
    def holder(self) -> str | None:
        """The job that has the device; None while it is free."""
        return self._holder

    def take(self, job_id: str, wait: float) -> bool:
        """Take the device as soon as it is free for this job; says whether that came true within `wait` seconds."""

        def is_free() -> bool:
            return self._holder is None and self._is_next(job_id)

        with self._changed:
            if not self._changed.wait_for(is_free, wait):
                return False
        self._may_take(job_id)
        with self._changed:
            if not is_free():
                return False
            self._taken(job_id)
            self._holder = job_id
            return True

    def leave(self, job_id: str) -> None:
        """Give the device to whoever waits, if this job has it."""
        with self._changed:
            if self._holder == job_id:
                self._holder = None
                self._changed.notify_all()
