"""One attempt at one job: claim it, keep its lease while the work goes on, close it. What a Celery message calls."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from whyray.base.errors import InternalError, NotFound, WhyRayError
from whyray.base.failures import logged, typed_error
from whyray.base.retry import retry_after
from whyray.catalog import Catalog, Job, JobState, jobs
from whyray.config import Config, Route
from whyray.jobs.device_turn import HandedBack
from whyray.jobs.explanation_request import Progress
from whyray.jobs.job_heartbeat import Heartbeat

_log = logging.getLogger("whyray.worker")

Work = Callable[[str, str, Progress], None]
"""(job id, who has claimed it, progress) → does it, and enters it as done; raises what went wrong."""


def attempt(
    job_id: str, owner: str, catalog: Catalog, in_force: Callable[[], Config], rng: random.Random, work: Work
) -> JobState | None:
    """Make one attempt, if the job is there to be claimed; says the state reached, None if there was nothing to do.

    Never raises for what went wrong with the job: that is in the catalog.
    """
    config = in_force()
    with catalog.begin() as session:
        job = jobs.claim(session, job_id, owner, catalog.clock(), most_attempts=config.workers.retry.attempts)
    if job is None:
        return None
    _log.info("job %s: attempt %d, route %s, package %s", job_id, job.attempt, job.route, job.package)
    try:
        limit = route_of(config, job.route).budget.job_time.total_seconds()
        with Heartbeat(catalog, job_id, owner, limit=limit) as heartbeat:
            work(job_id, owner, heartbeat.progress)
    except HandedBack as reason:
        return _hand_back(catalog, job, owner, reason)
    except Exception as error:  # the queue must go on, and the catalog must say why this job did not
        typed = typed_error(error, f"job {job_id}")
        if isinstance(typed, InternalError):
            logged(_log, error, f"job {job_id}")
        wait = retry_after(typed, job.attempt, config.workers.retry, rng, outages=job.outages)
        return _stop(catalog, job, owner, typed, wait)
    return JobState.DONE


def _hand_back(catalog: Catalog, job: Job, owner: str, reason: HandedBack) -> JobState | None:
    try:
        with catalog.begin() as session:
            state = jobs.hand_back(session, job.id, owner, catalog.clock())
    except SQLAlchemyError as lost:
        _log.error("job %s: handed back, and the catalog: %s", job.id, type(lost).__name__)
        return None
    _log.info("job %s: %s: handed back, for %s", job.id, state.value, reason)
    return state


def _stop(catalog: Catalog, job: Job, owner: str, error: WhyRayError, wait: timedelta | None) -> JobState | None:
    try:
        with catalog.begin() as session:
            state = jobs.stop(session, job.id, owner, error, catalog.clock(), retry_after=wait)
    except SQLAlchemyError as lost:
        # its lease runs out by itself, and then it is taken up again
        _log.error("job %s: %s: %s, and the catalog: %s", job.id, error.code, error.message, type(lost).__name__)
        return None
    if state is not JobState.FAILED:  # which is an event, and so in the log
        _log.warning("job %s: %s: %s: %s", job.id, state.value, error.code, error.message)
    return state


def route_of(config: Config, name: str) -> Route:
    """The route of this name. Raises NotFound."""
    for route in config.routes:
        if route.name == name:
            return route
    raise NotFound(
        f"the configuration has no route {name!r} any more",
        advice="Put the route back and retry the job, or leave it: the study is routed anew when it comes again.",
    )
