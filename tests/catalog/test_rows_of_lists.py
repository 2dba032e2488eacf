"""What lists are read from: a destination's jobs, what is stuck, a study's UID from its end."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from catalog.conftest import Postgres, Ticks
from catalog.rows import NOON, job, result
from migrated import down_and_up
from whyray.base.errors import PeerBusy, PeerRefused
from whyray.catalog import (
    Catalog,
    Delivery,
    DeliveryState,
    Job,
    JobDestination,
    JobState,
    Study,
    deliveries,
    jobs,
    sqlite_url,
    stuck,
    study_states,
)
from whyray.catalog.overview import destination_states


def finished(session: Session, study: int, *destinations: str, now: datetime = NOON) -> Job:
    """A job of a study with a result for these destinations."""
    made = job(session, study=study, now=now)
    jobs.claim(session, made.id, "worker", now)
    jobs.finish(session, made.id, "worker", [result(f"{study}", *destinations)], [], now)
    session.flush()
    return made


def test_a_job_is_among_those_of_each_destination_once(catalog: Catalog) -> None:
    with catalog.begin() as session:
        made = finished(session, 1, "pacs")
        finished(session, 2, "archive")
        jobs.retry(session, made.id, NOON, actor="ada")
        jobs.claim(session, made.id, "worker", NOON)
        again = [result("1", "pacs"), result("more", "pacs", "archive"), result("alone")]
        jobs.finish(session, made.id, "worker", again, [], NOON)
        session.flush()
        rows = session.execute(select(JobDestination.destination, JobDestination.created_at).filter_by(job_id=made.id))
        assert sorted(tuple(row) for row in rows) == [("archive", made.created_at), ("pacs", made.created_at)]
        session.execute(delete(Study).where(Study.id == made.study_id))
        assert session.scalars(select(JobDestination.destination)).all() == ["archive"], "it went with its job"


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_rows_that_were_there_before_are_in_the_lists(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if database == "sqlite":
        catalog = Catalog(sqlite_url(tmp_path / "catalog.sqlite"))
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        catalog = Catalog(postgres.new_database("before-lists"))
    with catalog.begin() as session:
        finished(session, 1, "pacs", "archive")
        finished(session, 2, "pacs")
        job(session, study=3)

    def kept() -> tuple[list[object], ...]:
        with catalog.read() as session:
            every = select(Job.id, Delivery.id).join(Job.results).join(Delivery).order_by(Delivery.id)
            of_destinations = session.execute(
                select(JobDestination.job_id, JobDestination.destination, JobDestination.created_at).order_by(
                    JobDestination.job_id, JobDestination.destination
                )
            )
            uids = session.execute(select(Study.study_instance_uid, Study.reversed_uid).order_by(Study.id))
            return ([*session.execute(every)], [*of_destinations], [*uids])

    before = kept()
    assert len(before[1]) == 3
    assert {uid[::-1] for uid, _ in before[2]} == {backwards for _, backwards in before[2]}
    down_and_up(catalog.engine, "0020")
    assert kept() == before
    catalog.close()


def test_what_is_stuck_is_told_by_place_and_error(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        for study in range(1, 6):
            finished(session, study, "pacs", "archive", now=ticks.pass_by(timedelta(seconds=1)))
            for destination in ("pacs", "archive"):
                (taken,) = deliveries.claim_batch(session, destination, "sender", ticks.now)
                refused = PeerRefused(f"no context for study {study}") if study % 2 else PeerBusy("later")
                again = None if study % 2 else timedelta(minutes=1)
                deliveries.stop(session, taken.id, "sender", refused, ticks.now, status=None, retry_after=again)
            session.flush()
        counted = Counter(
            (row[0], row[1], row[2], row[3])
            for row in session.execute(
                select(Delivery.state, Delivery.destination, Delivery.error_code, func.count()).group_by(
                    Delivery.state, Delivery.destination, Delivery.error_code
                )
            )
        )
        stuck_groups = stuck.deliveries(session)
        told = Counter(
            (state, group.place, group.error_code, group.count)
            for (_, state), groups in stuck_groups.items()
            for group in groups
        )
        assert told == counted
        (newest,) = [group for group in stuck_groups["deliveries", DeliveryState.FAILED] if group.place == "pacs"]
        assert (newest.since, newest.newest_at) == (ticks.now - timedelta(seconds=4), ticks.now)
        assert (newest.message, bool(newest.advice)) == ("no context for study 5", True)
        for state in destination_states(session, ["pacs"]):
            assert state.last_error is not None
            assert (state.last_error.code, state.last_error.message) == ("PeerRefused", "no context for study 5")


def test_a_failed_job_is_stuck_since_it_failed(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        made = job(session, now=ticks.now)
        jobs.claim(session, made.id, "worker", ticks.now)
        failed_at = ticks.pass_by(timedelta(hours=1))
        jobs.stop(session, made.id, "worker", PeerRefused("so it is"), failed_at, retry_after=None)
        session.flush()
        (group,) = stuck.stuck(session, "jobs", JobState.FAILED)
        assert (group.place, group.error_code, group.count, group.since) == ("route", "PeerRefused", 1, failed_at)
        assert (group.message, group.newest_at) == ("so it is", made.created_at)
        assert stuck.stuck(session, "jobs", JobState.WAITING) == []
        assert study_states.number_of_rare(session, "failed") == 0, "its study is being received"
