"""The schedule heeds a clock that is set back while it runs, and no other."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from site_under_test import Site, film
from whyray.app.retention import Retention
from whyray.app.schedule import SET_BACK, Schedule
from whyray.catalog import ClockReading, Event, clock_steps


class Seconds:
    """A monotonic clock that moves when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def schedule_of(site: Site, seconds: Seconds, boot: str = "this boot") -> Schedule:
    retention = Retention(site.catalog, site.storage, lambda: site.config)
    return Schedule(
        site.catalog, site.router(), retention, send=lambda *_: None, backlog=lambda: 0, monotonic=seconds, boot=boot
    )


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


def test_a_clock_set_back_while_no_schedule_ran_is_noticed_at_the_next_start(site: Site) -> None:
    """Killed within the half second after the step, or stopped to set the clock: all waited for as long again."""
    seconds = Seconds()
    schedule_of(site, seconds).step()
    site.clock.tick(5)
    seconds.now += 5
    site.receive([film(1)], released=False)
    site.clock.tick(-3600)
    seconds.now += 7
    schedule = schedule_of(site, seconds)
    schedule.step()
    assert site.jobs() == []
    site.clock.tick(21)
    seconds.now += 21
    schedule.step()
    assert len(site.jobs()) == 1
    assert steps_back(site) == 1
    schedule_of(site, seconds).step()
    assert steps_back(site) == 1


def test_a_clock_set_back_before_the_machine_was_started_anew_or_another_took_over_is_noticed(site: Site) -> None:
    seconds = Seconds()
    schedule_of(site, seconds).step()
    site.receive([film(1)], released=False)
    site.clock.tick(-3600)
    schedule = schedule_of(site, Seconds(), boot="the next boot")
    schedule.step()
    site.clock.tick(21)
    schedule.step()
    assert len(site.jobs()) == 1
    schedule_of(site, Seconds(), boot="one more").step()
    assert steps_back(site) == 1


def test_a_start_after_a_pause_or_beside_another_machine_whose_clock_is_a_little_ahead_moves_nothing(
    site: Site,
) -> None:
    seconds = Seconds()
    schedule_of(site, seconds).step()
    site.clock.tick(86400)
    schedule_of(site, Seconds(), boot="the next day").step()
    site.clock.tick(1 - SET_BACK.total_seconds())
    schedule_of(site, Seconds(), boot="another machine").step()
    assert steps_back(site) == 0


def test_what_the_clock_says_is_told_at_times_and_not_at_each_step(site: Site) -> None:
    seconds = Seconds()
    schedule = schedule_of(site, seconds)
    told = set()
    for _ in range(40):
        schedule.step()
        with site.catalog.read() as session:
            told.add(session.scalars(select(ClockReading.seconds)).one())
        site.clock.tick(0.5)
        seconds.now += 0.5
    assert told == {0.0, 10.0}


def test_what_could_not_be_moved_is_moved_at_the_next_step(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = Seconds()
    schedule = schedule_of(site, seconds)
    schedule.step()
    site.clock.tick(-3600)

    def away(*_: object) -> int:
        raise OperationalError("", None, Exception("the database is away"))

    with monkeypatch.context() as broken:
        broken.setattr(clock_steps, "moved", away)
        with pytest.raises(OperationalError):
            schedule.step()
    schedule_of(site, seconds).step()
    assert steps_back(site) == 1


def stored_before_its_row(site: Site) -> Path:
    """An object whose writer is about to enter it in the catalog: a file of this moment."""
    key = site.storage.put(b"stored a moment ago", suffix=".dcm").key
    moment = site.clock.now.timestamp()
    with site.storage.local_file(key) as path:
        os.utime(path, (moment, moment))
    return path


@pytest.mark.parametrize("restarted", [False, True], ids=["while the schedule runs", "while it was stopped"])
def test_what_was_stored_before_the_clock_was_set_forward_is_not_taken_for_an_orphan(
    site: Site, restarted: bool
) -> None:
    """It looked six hours old, and its bytes were removed before they were entered and acknowledged."""
    seconds = Seconds()
    schedule = schedule_of(site, seconds)
    schedule.step()
    path = stored_before_its_row(site)
    site.clock.tick(timedelta(hours=7).total_seconds())
    seconds.now += 0.5
    if restarted:
        schedule = schedule_of(site, seconds)
    schedule.step()
    assert path.exists()
    site.clock.tick(timedelta(hours=7).total_seconds())
    seconds.now += timedelta(hours=7).total_seconds()
    schedule.step()
    assert not path.exists(), "nobody has entered it since"


def test_a_schedule_started_anew_some_time_after_the_clock_was_set_forward_sweeps_nothing_either(site: Site) -> None:
    """What the one before had noticed was in its memory alone, and by then the clock's readings agreed again."""
    seconds = Seconds()
    schedule = schedule_of(site, seconds)
    schedule.step()
    path = stored_before_its_row(site)
    site.clock.tick(timedelta(hours=7).total_seconds())
    for _ in range(60):
        site.clock.tick(0.5)
        seconds.now += 0.5
        schedule.step()
    for _ in range(2):
        schedule_of(site, seconds).step()
        assert path.exists()
    site.clock.tick(timedelta(hours=6).total_seconds())
    seconds.now += timedelta(hours=6).total_seconds()
    schedule_of(site, seconds).step()
    assert not path.exists(), "nobody has entered it since"


def test_after_a_night_without_power_orphans_are_swept(site: Site) -> None:
    schedule_of(site, Seconds()).step()
    path = stored_before_its_row(site)
    site.clock.tick(timedelta(hours=14).total_seconds())
    schedule_of(site, Seconds(), boot="the next morning").step()
    assert not path.exists()
