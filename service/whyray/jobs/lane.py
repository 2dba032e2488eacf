"""One of the processes that a worker's jobs run in: with the thread that serves it, and the job that it has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue

from whyray.jobs.device_turn import HandedBack
from whyray.jobs.job_process import JobProcess


@dataclass(eq=False)
class Lane:
    """A process, and the job that it has.

    One thread serves it as long as the worker lives, and it alone starts the process: Linux ends a process with the
    thread that has started it (`end_with_parent`), not with the program. What is known of the job is changed under a
    lock, so that it is either handed back or has its turn at the device.
    """

    process: JobProcess
    job_id: str | None = None
    priority: int = 0
    study: int | None = None
    """Of the job that it has, or had last: its process may hold it, read."""
    since: float = 0.0
    """When it took the job, or gave it up: seconds of the monotonic clock."""
    is_claimed: bool = False
    """Whether an attempt at its job has begun; until then its process was to become ready."""
    at_the_device: bool = False
    """Whether its job has, or had, its turn."""
    handed_back: HandedBack | None = None
    """Why its job is to be handed back."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _calls: SimpleQueue[Callable[[], None] | None] = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._serve, name="jobs", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    # --- for whoever has jobs to be done ------------------------------------------------------------------------------
    @property
    def is_ahead(self) -> bool:
        """Whether its job is read ahead, and nothing has been computed of it."""
        return self.job_id is not None and not self.at_the_device and self.handed_back is None

    def begin(self, job_id: str, priority: int, study: int, do: Callable[[], None]) -> None:
        """Have its thread do a job of a study; only where it has none."""
        with self._lock:
            assert self.job_id is None, f"job {self.job_id} is in hand"
            self.job_id, self.priority, self.study, self.since = job_id, priority, study, time.monotonic()
            self.is_claimed, self.at_the_device, self.handed_back = False, False, None
        self._calls.put(do)

    @property
    def keeps(self) -> int | None:
        """The study that its process has read, or reads; None where there is none, or no process any more."""
        return self.study if self.job_id is not None or self.process.is_ready else None

    def hand_back(self, reason: HandedBack, *, at_the_device: bool = False, is_claimed: bool = True) -> bool:
        """Have its job handed back, if it was only read; says whether it will be.

        Parameters
        ----------
        at_the_device
            Also where it has, or had, the device.
        is_claimed
            Also where an attempt has begun.
        """
        with self._lock:
            read = self.is_ahead and (is_claimed or not self.is_claimed)
            if read or (at_the_device and self.job_id is not None):
                self.handed_back = reason
                return True
            return False

    def start(self) -> None:
        """Have the process started, where it does not run; gives back when it was."""
        started = threading.Event()

        def start() -> None:
            try:
                self.process.start()
            finally:
                started.set()

        self._calls.put(start)
        started.wait()

    def end(self) -> None:
        """End the process and the thread; only where it has no job."""
        self.process.stop()
        self._calls.put(None)
        self._thread.join()

    # --- for the thread that does a job -------------------------------------------------------------------------------
    def check(self) -> None:
        """Raise HandedBack if its job is to be handed back."""
        if self.handed_back is not None:
            raise self.handed_back

    def claim(self) -> None:
        """An attempt begins; raises HandedBack instead if its job is to be handed back."""
        with self._lock:
            self.check()
            self.is_claimed = True

    def take_device(self) -> None:
        """Its job has the device; raises HandedBack instead if it is to be handed back."""
        with self._lock:
            self.check()
            self.at_the_device = True

    def free(self) -> None:
        """Its job is out of hand."""
        with self._lock:
            self.job_id, self.since = None, time.monotonic()
