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
    """The worker has something to do before this job, which was only read: it is queued again, no attempt counted."""


class DeviceTurn:
    """The turn at one device; safe for threads.

    Parameters
    ----------
    may_take
        Asked with the job's id before a free device is given to it; what it raises, `take` raises.
    """

    def __init__(self, may_take: Callable[[str], None] = lambda _: None) -> None:
        self._may_take = may_take
        self._changed = threading.Condition()
        self._holder: str | None = None

    @property
    def holder(self) -> str | None:
        """The job that has the device; None while it is free."""
        return self._holder

    def take(self, job_id: str, wait: float) -> bool:
        """Take the device as soon as it is free; says whether that came true within `wait` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._holder is None, wait):
                return False
            self._may_take(job_id)
            self._holder = job_id
            return True

    def leave(self, job_id: str) -> None:
        """Give the device to whoever waits, if this job has it."""
        with self._changed:
            if self._holder == job_id:
                self._holder = None
                self._changed.notify_all()
