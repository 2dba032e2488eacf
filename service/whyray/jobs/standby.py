"""Work goes on from the catalog where the queue brings no messages: it is down, hangs, or has lost them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from whyray.base.errors import WhyRayError
from whyray.base.outage_log import OutageLog
from whyray.catalog import Catalog, job_queue

LOST_AFTER = timedelta(seconds=15)
"""A job that no message has brought to a worker after so long is taken without one: it may be lost."""
_SHORTEST, _LONGEST = 0.5, 5.0
"""Seconds between looks into the catalog: twice as many after each that found nothing."""
_log = logging.getLogger("whyray.worker")


@dataclass
class Standby:
    """Takes jobs from the catalog in the order of their priority while no message can bring them.

    The catalog's leases decide who has a job, as they do for messages: several workers may look at once, and a message
    that comes late changes nothing.

    Parameters
    ----------
    listening
        Whether this worker is connected to the queue.
    hindrance
        Why the queue is of no use now; None if it answers, and takes what is written.
    run
        Makes one attempt at a job; says whether jobs can be begun.
    turn
        Held while a job runs: a worker does one at a time.
    """

    catalog: Catalog
    listening: Callable[[], bool]
    hindrance: Callable[[], WhyRayError | None]
    run: Callable[[str], bool]
    turn: threading.Lock
    _told: set[str] = field(default_factory=set)
    """Why no message comes, as it was told of the outage that lasts."""
    _may_connect: bool = True
    """Whether Celery may only be about to connect, as it is when the worker starts."""

    def step(self, stop: threading.Event) -> bool:
        """Run one job, if there is one that no message brings; says whether there was and it was begun."""
        cut_off = self._is_cut_off()
        if self._next(cut_off) is None:
            return False
        with self.turn:  # waits for the job in hand: where messages keep a worker busy, one that was lost gets its turn
            job_id = None if stop.is_set() else self._next(cut_off)
            if job_id is None:
                return False
            return self.run(job_id)

    def _next(self, cut_off: bool) -> str | None:
        with self.catalog.read() as session:
            return job_queue.next_claimable(session, self.catalog.clock(), waiting_for=None if cut_off else LOST_AFTER)

    def _is_cut_off(self) -> bool:
        """Whether no message can come. Each reason is told once in an outage, and then that the queue is back: what
        Celery says of it at each of its attempts is not shown."""
        hindrance = self.hindrance()
        if hindrance is not None:
            self._tell(f"{hindrance.message}. {hindrance.advice}")
            self._may_connect = True
            return True
        if not self.listening():
            if not (self._may_connect or self._told):
                self._tell("this worker is not connected to the queue: jobs are taken from the catalog")
            self._may_connect = False
            return True
        self._may_connect = True
        if self._told:
            self._told.clear()
            _log.warning("the queue is back")
        return False

    def _tell(self, why: str) -> None:
        if why not in self._told:
            self._told.add(why)
            _log.warning("%s", why)

    def run_until(self, stop: threading.Event) -> None:
        """Step until told to stop; an outage of the catalog is waited out."""
        pause, outage = _SHORTEST, OutageLog(_log, "taking jobs from the catalog")
        while not stop.wait(pause):
            try:
                worked = self.step(stop)
                outage.well()
            except Exception as error:  # one job that trips it must not end it
                outage.failed(error)
                worked = False
            pause = _SHORTEST if worked else min(2 * pause, _LONGEST)
