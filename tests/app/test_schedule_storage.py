"""What waits for storage goes on when it is seen to be well again, and not when a quarter of an hour is over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from site_under_test import Site, film, site
from whyray.app.retention import Retention
from whyray.app.schedule import Schedule
from whyray.base.errors import PeerUnreachable, StorageUnavailable, WhyRayError
from whyray.catalog import JobState, jobs

__all__ = ["site"]


@pytest.mark.parametrize(
    ("error", "is_woken"), [(StorageUnavailable("storage is away"), True), (PeerUnreachable("another"), False)]
)
def test_what_waits_for_storage_goes_on_once_it_is_well(site: Site, error: WhyRayError, is_woken: bool) -> None:
    seconds, away = 0.0, False

    def check_storage() -> None:
        if away:
            raise StorageUnavailable("storage is away")

    schedule = Schedule(
        site.catalog,
        site.router(),
        Retention(site.catalog, site.storage, lambda: site.config),
        send=lambda *_: None,
        backlog=lambda: 0,
        check_storage=check_storage,
        monotonic=lambda: seconds,
        boot="boot",
    )

    def step() -> JobState:
        nonlocal seconds
        seconds += schedule.check_storage_every
        site.clock.tick(schedule.check_storage_every)
        schedule.step()
        return site.jobs()[0].state

    site.receive([film()])
    assert step() is JobState.QUEUED
    (job,) = site.jobs()
    away = True
    step()
    with site.catalog.begin() as session:
        assert jobs.claim(session, job.id, "worker", site.clock()) is not None
        jobs.stop(session, job.id, "worker", error, site.clock(), retry_after=timedelta(minutes=15))
    assert step() is JobState.WAITING
    away = False
    assert (step() is JobState.QUEUED) is is_woken
