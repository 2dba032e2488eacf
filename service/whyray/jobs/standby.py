"""Work goes on from the catalog where the queue brings no messages: it is down, hangs, or has lost them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

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
    answers
        Whether the queue answers.
    run
        Makes one attempt at a job; says whether jobs can be begun.
    turn
        Held while a job runs: a worker does one at a time.
    """

    catalog: Catalog
    listening: Callable[[], bool]
    answers: Callable[[], bool]
    run: Callable[[str], bool]
    turn: threading.Lock
    _cut_off: bool = field(default=False)

    def step(self, stop: threading.Event) -> bool:
        """Run one job, if there is one that no message brings; says whether there was and it was begun."""
        if self._next() is None:
            return False
        with self.turn:  # waits for the job in hand: where messages keep a worker busy, one that was lost gets its turn
            job_id = None if stop.is_set() else self._next()
            if job_id is None:
                return False
            return self.run(job_id)

    def _next(self) -> str | None:
        cut_off = not (self.listening() and self.answers())
        if cut_off is not self._cut_off:
            self._cut_off = cut_off
            _log.warning("the queue %s", "does not answer: jobs are taken from the catalog" if cut_off else "is back")
        with self.catalog.read() as session:
            return job_queue.next_claimable(session, self.catalog.clock(), waiting_for=None if cut_off else LOST_AFTER)

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
