"""What waits for storage goes on when it is seen to be well again, and not when a quarter of an hour is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import select

from catalog.rows import result
from site_under_test import Site, film, site
from whyray.app.retention import Retention
from whyray.app.schedule import Schedule
from whyray.base.errors import PeerUnreachable, StorageUnavailable, WhyRayError
from whyray.catalog import Delivery, DeliveryState, JobState, deliveries, jobs
from whyray.delivery import DeliveryService

__all__ = ["site"]

AWAY = StorageUnavailable("storage is away")
LATER = timedelta(minutes=15)


@dataclass
class Scene:
    """A site with one job, whose storage goes and comes as a test says."""

    site: Site
    away: bool = False
    seconds: float = 0.0
    schedule: Schedule = field(init=False)

    def __post_init__(self) -> None:
        self.site.receive([film()])
        self.site.router().step()
        self.schedule = Schedule(
            self.site.catalog,
            self.site.router(),
            Retention(self.site.catalog, self.site.storage, lambda: self.site.config),
            send=lambda *_: None,
            backlog=lambda: 0,
            check_storage=self._check_storage,
            monotonic=lambda: self.seconds,
            boot="boot",
        )

    def _check_storage(self) -> None:
        if self.away:
            raise AWAY

    def steps(self) -> None:
        """The schedule steps when storage is next to be looked at."""
        self.seconds += self.schedule.check_storage_every
        self.site.clock.tick(self.schedule.check_storage_every)
        self.schedule.step()

    def job_waits(self, error: WhyRayError = AWAY) -> None:
        (job,) = self.site.jobs()
        with self.site.catalog.begin() as session:
            assert jobs.claim(session, job.id, "worker", self.site.clock()) is not None
            jobs.stop(session, job.id, "worker", error, self.site.clock(), retry_after=LATER)
        assert self.job() is JobState.WAITING

    def job(self) -> JobState:
        return self.site.jobs()[0].state

    def delivery_waits(self, error: WhyRayError = AWAY) -> None:
        """The job is done, and its only result can't be read."""
        (job,) = self.site.jobs()
        now = self.site.clock()
        with self.site.catalog.begin() as session:
            assert jobs.claim(session, job.id, "worker", now) is not None
            jobs.finish(session, job.id, "worker", [result("1", "pacs")], [], now)
        with self.site.catalog.begin() as session:
            (taken,) = deliveries.claim_batch(session, "pacs", "sender", now)
            deliveries.stop(session, taken.id, "sender", error, now, status=None, retry_after=LATER)
        assert self.delivery() is DeliveryState.WAITING

    def delivery(self) -> DeliveryState:
        """Its state, once the delivery role has looked, which alone queues it again."""
        DeliveryService(self.site.catalog, self.site.storage, {}).poll()
        with self.site.catalog.read() as session:
            return session.scalars(select(Delivery)).one().state


@pytest.fixture
def scene(site: Site) -> Scene:
    return Scene(site)


@pytest.mark.parametrize(("error", "is_woken"), [(AWAY, True), (PeerUnreachable("another"), False)])
def test_a_job_that_waits_for_storage_goes_on_once_it_is_well(scene: Scene, error: WhyRayError, is_woken: bool) -> None:
    scene.steps()
    scene.away = True
    scene.steps()
    scene.job_waits(error)
    scene.steps()
    assert scene.job() is JobState.WAITING
    scene.away = False
    scene.steps()
    assert (scene.job() is JobState.QUEUED) is is_woken


@pytest.mark.parametrize(("error", "is_woken"), [(AWAY, True), (PeerUnreachable("another"), False)])
def test_a_delivery_that_waits_for_storage_goes_on_once_it_is_well(
    scene: Scene, error: WhyRayError, is_woken: bool
) -> None:
    scene.steps()
    scene.away = True
    scene.steps()
    scene.delivery_waits(error)
    scene.steps()
    assert scene.delivery() is DeliveryState.WAITING
    scene.away = False
    scene.steps()
    assert (scene.delivery() is DeliveryState.QUEUED) is is_woken


def test_what_waits_since_before_the_start_goes_on_at_the_first_step(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody saw storage come back, for it came while WhyRay was stopped."""
    scene.job_waits()
    scene.steps()
    assert scene.job() is JobState.QUEUED
    assert "storage is well again: 1 jobs and deliveries that waited for it go on" in caplog.text


def test_at_a_start_while_storage_is_away_what_waits_goes_on_waiting_until_it_is_back(scene: Scene) -> None:
    scene.away = True
    scene.job_waits()
    scene.steps()
    assert scene.job() is JobState.WAITING
    scene.away = False
    scene.steps()
    assert scene.job() is JobState.QUEUED


def test_where_storage_was_well_all_the_time_the_wait_is_not_ended(scene: Scene) -> None:
    """It may be away on the worker's machine alone: ended every ten seconds, its back-off would be none."""
    scene.steps()
    scene.job_waits()
    for _ in range(3):
        scene.steps()
    assert scene.job() is JobState.WAITING


def test_what_waits_in_a_second_outage_goes_on_after_it(scene: Scene) -> None:
    for _ in range(2):
        scene.away = True
        scene.steps()
        scene.job_waits()
        scene.away = False
        scene.steps()
        assert scene.job() is JobState.QUEUED
    scene.away = True
    scene.steps()
    scene.delivery_waits()
    scene.away = False
    scene.steps()
    assert scene.delivery() is DeliveryState.QUEUED
