"""Work goes on from the catalog where the queue brings no messages: it is down, hangs, or has lost them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from whyray.base.failures import logged
from whyray.catalog import Catalog, jobs

LOST_AFTER = timedelta(seconds=15)
"""A message that is in no queue after so long, and has not come to a worker, is lost."""
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
    backlog
        How many messages wait in the queue; raises RedisError where it does not answer.
    run
        Makes one attempt at a job.
    turn
        Held while a job runs: a worker does one at a time.
    """

    catalog: Catalog
    listening: Callable[[], bool]
    backlog: Callable[[], int]
    run: Callable[[str], object]
    turn: threading.Lock
    _cut_off: bool = field(default=False)

    def step(self) -> bool:
        """Run one job, if there is one that no message brings; says whether there was."""
        if not self.turn.acquire(blocking=False):
            return True  # a message has brought one: look again soon after it
        try:
            job_id = self._next()
            if job_id is None:
                return False
            self.run(job_id)
            return True
        finally:
            self.turn.release()

    def _next(self) -> str | None:
        cut_off, waiting = not self.listening(), 0
        if not cut_off:
            try:
                waiting = self.backlog()
            except RedisError:
                cut_off = True
        if cut_off is not self._cut_off:
            self._cut_off = cut_off
            _log.warning("the queue %s", "does not answer: jobs are taken from the catalog" if cut_off else "is back")
        if waiting:
            return None
        with self.catalog.read() as session:
            return jobs.next_claimable(session, self.catalog.clock(), waiting_for=None if cut_off else LOST_AFTER)

    def run_until(self, stop: threading.Event) -> None:
        """Step until told to stop; an outage of the catalog is waited out."""
        pause = _SHORTEST
        while not stop.wait(pause):
            try:
                found = self.step()
            except SQLAlchemyError as error:
                _log.error("the catalog can't be reached: %s", type(error).__name__)
                found = False
            except Exception as error:  # one job that trips it must not end it
                logged(_log, error, "taking a job from the catalog")
                found = False
            pause = _SHORTEST if found else min(2 * pause, _LONGEST)
