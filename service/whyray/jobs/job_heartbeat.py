"""Keeps a job's lease while it runs, carries its progress to the catalog, and brings a cancel back."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

from whyray.base.errors import TimeLimit, WhyRayError
from whyray.base.outage_log import OutageLog
from whyray.catalog import Catalog, jobs
from whyray.jobs.device_turn import AT_THE_DEVICE

_log = logging.getLogger("whyray.worker")


class Heartbeat:
    """A thread beside the work. `progress` is called as the work goes on; it raises what the catalog said.

    Past `limit` seconds `progress` raises `TimeLimit`; what a job waits `AT_THE_DEVICE` is none of its time. Work that
    can hang in native code runs in a `JobProcess`, which asks here several times a second, whatever the work does, and
    ends it by force.
    """

    def __init__(self, catalog: Catalog, job_id: str, owner: str, *, limit: float, every: float = 1.0) -> None:
        self._catalog, self._job_id, self._owner, self._every = catalog, job_id, owner, every
        self._limit = limit
        self._started = self._told = time.monotonic()
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
        now = time.monotonic()
        if words == AT_THE_DEVICE:
            self._started += now - self._told
        self._done, self._words, self._told = done, words, now
        if self._said is not None:
            raise self._said
        if now - self._started > self._limit:
            raise TimeLimit(f"job {self._job_id} ran longer than {self._limit:.0f} s; it was at: {words}")

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        outage = OutageLog(_log, f"job {self._job_id}: keeping its lease")
        while self._said is None and not self._end.wait(self._every):
            try:
                with self._catalog.begin() as session:
                    jobs.renew(session, self._job_id, self._owner, self._done, self._words, self._catalog.clock())
                outage.well()
            except WhyRayError as error:
                self._said = error
            except Exception as error:  # no memory, as little as no catalog, must end it
                # the lease outlives a short outage of the catalog; if it doesn't, `finish` refuses to write
                outage.failed(error)
