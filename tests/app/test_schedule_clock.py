"""The schedule heeds a clock that is set back while it runs, and no other."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from site_under_test import Site, film
from whyray.app.retention import Retention
from whyray.app.schedule import SET_BACK, Schedule
from whyray.catalog import Event


class Seconds:
    """A monotonic clock that moves when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def schedule_of(site: Site, seconds: Seconds) -> Schedule:
    retention = Retention(site.catalog, site.storage, lambda: site.config)
    return Schedule(site.catalog, site.router(), retention, send=lambda *_: None, backlog=lambda: 0, monotonic=seconds)


def steps_back(site: Site) -> int:
    with site.catalog.read() as session:
        return len(session.scalars(select(Event).where(Event.kind == "clock.set-back")).all())


def test_a_study_whose_quiet_time_ran_is_routed_though_the_clock_was_set_back_by_an_hour(site: Site) -> None:
    seconds = Seconds()
    schedule = schedule_of(site, seconds)
    site.receive([film(1)], released=False)
    schedule.step()
    site.clock.tick(-3600)
    seconds.now += 0.5
    schedule.step()
    assert site.jobs() == []
    site.clock.tick(21)
    seconds.now += 21
    schedule.step()
    assert len(site.jobs()) == 1
    assert steps_back(site) == 1


def test_a_clock_that_goes_forward_stands_still_or_is_slewed_is_not_set_back(site: Site) -> None:
    seconds = Seconds()
    schedule = schedule_of(site, seconds)
    for wall, elapsed in ((0.5, 0.5), (3600, 0.5), (0, SET_BACK.total_seconds() - 1), (-1, 0.5), (0.5, 0.5)):
        site.clock.tick(wall)
        seconds.now += elapsed
        schedule.step()
    assert steps_back(site) == 0


def test_housekeeping_and_the_sweep_of_what_has_no_row_go_on_after_the_step(site: Site) -> None:
    seconds = Seconds()
    schedule = schedule_of(site, seconds)
    schedule.step()
    site.clock.tick(-timedelta(days=30).total_seconds())
    seconds.now += 0.5
    schedule.step()
    assert schedule._kept_house_at == site.clock.now
    assert schedule.retention._swept_at == site.clock.now
