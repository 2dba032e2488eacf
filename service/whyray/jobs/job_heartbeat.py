"""Keeps a job's lease while it runs, carries its progress to the catalog, and brings a cancel back."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType

from sqlalchemy.exc import SQLAlchemyError

from whyray.base.errors import TimeLimit, WhyRayError
from whyray.catalog import Catalog, jobs

_log = logging.getLogger("whyray.worker")
GRACE = 10.0
"""Seconds past its time limit, or past a cancel, after which a worker that makes no progress ends itself."""
_KERNEL_GRACE = 30.0
"""Seconds past its time limit after which the kernel ends a worker in which not even the heartbeat runs."""


def _end_process() -> None:
    os._exit(70)


class Heartbeat:
    """A thread beside the work. `progress` is called by the work, between batches; it raises what the catalog said.

    Past `limit` seconds the next progress raises `TimeLimit`. A worker that doesn't even come to its next progress
    can't be interrupted from inside (native code does not return), so `GRACE` seconds later this thread closes the job
    in the catalog, for good, and ends the process: its supervisor starts another. Native code that doesn't let this
    thread run either is ended by a timer of the kernel's; then the lease runs out, as after any death of a worker.
    """

    def __init__(
        self,
        catalog: Catalog,
        job_id: str,
        owner: str,
        *,
        limit: float,
        every: float = 1.0,
        on_stall: Callable[[], None] = _end_process,
    ) -> None:
        self._catalog, self._job_id, self._owner = catalog, job_id, owner
        self._every, self._on_stall = every, on_stall
        self._limit, self._started = limit, time.monotonic()
        self._done, self._words = 0.0, "starting"
        self._said: WhyRayError | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{job_id}", daemon=True)

    def progress(self, done: float, words: str) -> None:
        """Say how far the work is.

        Raises
        ------
        Cancelled, LeaseLost
            As `whyray.catalog.jobs.renew`.
        TimeLimit
            If the job ran longer than it may.
        """
        self._done, self._words = done, words
        if self._said is not None:
            raise self._said
        if time.monotonic() - self._started > self._limit:
            raise TimeLimit(f"job {self._job_id} ran longer than {self._limit:.0f} s; it was at: {words}")

    def __enter__(self) -> Heartbeat:
        self._arm(self._limit + _KERNEL_GRACE)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        self._arm(0.0)

    @staticmethod
    def _arm(seconds: float) -> None:
        # the default action of SIGALRM ends the process, whoever holds Python's lock
        if signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def _run(self) -> None:
        overdue_at = self._started + self._limit + GRACE
        while not self._end.wait(self._every):
            now = time.monotonic()
            if now > overdue_at:
                self._give_up()
                return
            if self._said is not None:
                continue
            try:
                with self._catalog.begin() as session:
                    jobs.renew(session, self._job_id, self._owner, self._done, self._words, self._catalog.clock())
            except WhyRayError as error:
                self._said = error
                overdue_at = min(overdue_at, now + GRACE)
            except SQLAlchemyError as error:
                # the lease outlives a short outage of the catalog; if it doesn't, `finish` refuses to write
                _log.warning("job %s: the catalog did not take the heartbeat: %s", self._job_id, type(error).__name__)

    def _give_up(self) -> None:
        """Close the job, whose work does not come back, and end the process."""
        error = self._said or TimeLimit(
            f"job {self._job_id} ran longer than {self._limit:.0f} s and did not come back from: {self._words}; its "
            "worker was ended"
        )
        _log.critical("%s: %s", error.code, error.message)
        try:
            with self._catalog.begin() as session:
                jobs.stop(session, self._job_id, self._owner, error, self._catalog.clock(), retry_after=None)
        except SQLAlchemyError as lost:
            _log.error("job %s: the catalog could not be told: %s", self._job_id, type(lost).__name__)
        self._on_stall()
