"""Which jobs a worker takes without a message, and when."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from site_under_test import ROUTE, Site, film
from whyray.base.errors import PeerUnreachable, WhyRayError
from whyray.catalog import job_queue, jobs
from whyray.jobs.standby import LOST_AFTER, Standby


def queued(site: Site, number: int, priority: str) -> str:
    site.configure(routes=[ROUTE | {"priority": priority}])
    before = {job.id for job in site.jobs()}
    site.receive([film(number, study=f"study {number}", series=f"series {number}")])
    site.router().step()
    (made,) = {job.id for job in site.jobs()} - before
    return made


def taken(site: Site, *, listening: bool = True, hindrance: WhyRayError | None = None) -> list[str]:
    """What a worker takes until it finds no more; it claims what it takes."""
    job_ids: list[str] = []

    def run(job_id: str) -> bool:
        with site.catalog.begin() as session:
            assert jobs.claim(session, job_id, "worker-1", site.clock()) is not None
        job_ids.append(job_id)
        return True

    standby = Standby(site.catalog, lambda: listening, lambda: hindrance, run, threading.Lock())
    while standby.step(threading.Event()):
        pass
    return job_ids


@pytest.mark.parametrize("away", [{"listening": False}, {"hindrance": PeerUnreachable("the queue is silent")}])
def test_while_the_queue_is_away_jobs_are_taken_at_once_the_most_urgent_first(site: Site, away: dict[str, Any]) -> None:
    routine, stat, urgent = (queued(site, number, name) for number, name in enumerate(("routine", "stat", "urgent")))
    assert taken(site, **away) == [stat, urgent, routine]
    site.clock.tick(jobs.LEASE.total_seconds() + 1)
    assert taken(site, **away) == [stat, urgent, routine], "their worker has died"


def test_beside_a_queue_that_answers_only_what_no_message_has_brought_is_taken(site: Site) -> None:
    job_id = queued(site, 1, "urgent")
    with site.catalog.begin() as session:
        job_queue.to_dispatch(session, site.clock(), again_after=None)
    assert taken(site) == []
    site.clock.tick(LOST_AFTER.total_seconds())
    assert taken(site) == [job_id]


class Pauses(threading.Event):
    """Is not waited for; it keeps how long it would have been, and is set after as many waits."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.told: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.told.append(timeout)
        return len(self.told) > self.most


def test_a_job_that_could_not_be_begun_is_not_looked_for_again_at_once(site: Site) -> None:
    """While the catalog takes no writes, the same one was tried twice a second."""
    queued(site, 1, "urgent")
    begun = iter([False, False, False, False, False, True, True, False])
    asked: list[str] = []

    def run(job_id: str) -> bool:
        asked.append(job_id)
        return next(begun)

    stop = Pauses(8)
    Standby(site.catalog, lambda: False, lambda: None, run, threading.Lock()).run_until(stop)
    assert stop.told == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 0.5, 0.5, 1.0]
    assert len(asked) == 8


def test_an_error_and_a_look_that_found_nothing_are_followed_by_the_same_pauses(site: Site) -> None:
    def run(_: str) -> bool:
        raise ValueError("a defect")

    idle, failing = Pauses(5), Pauses(5)
    Standby(site.catalog, lambda: False, lambda: None, run, threading.Lock()).run_until(idle)
    queued(site, 1, "urgent")
    Standby(site.catalog, lambda: False, lambda: None, run, threading.Lock()).run_until(failing)
    assert idle.told == failing.told == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_worker_that_is_to_stop_takes_no_more(site: Site) -> None:
    queued(site, 1, "urgent")
    stop = threading.Event()
    stop.set()
    standby = Standby(site.catalog, lambda: False, lambda: None, pytest.fail, threading.Lock())
    assert standby.step(stop) is False
