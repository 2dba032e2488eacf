"""Whatever happens to the jobs of a study, one revision of a route's answers is in force at a time: the newest."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from catalog.conftest import Postgres, Ticks
from catalog.rows import job, received, result
from migrated import down_and_up
from whyray.base.errors import DecodeError, PeerBusy, TransitionError, WhyRayError
from whyray.catalog import Catalog, Event, Job, JobState, ResultRow, Study, jobs, revisions, sqlite_url, studies

OWNER = "worker"
_NUMBERS = count(1)


class Revisions:
    """A study that instances come to, late and later, while its jobs run, fail, are cancelled and retried."""

    def __init__(self, session: Session, ticks: Ticks) -> None:
        self.session, self.ticks = session, ticks
        self.study, self.instances = next(_NUMBERS), 0
        self.ids: list[str] = []

    def late(self, _: str) -> None:
        self.instances += 1
        row = job(self.session, study=self.study, instances=self.instances, now=self.ticks())
        self.ids.append(row.id)

    def claim(self, job_id: str) -> None:
        jobs.claim(self.session, job_id, OWNER, self.ticks())

    def finish(self, job_id: str) -> None:
        made = result(f"{next(_NUMBERS)}", "pacs")
        before = revisions.own_results(self.session, jobs.get(self.session, job_id))
        replaced = [row.sop_instance_uid for row in before if not row.superseded]
        jobs.finish(self.session, job_id, OWNER, [made], [], self.ticks(), replaced=replaced)

    def fail(self, job_id: str) -> None:
        jobs.stop(self.session, job_id, OWNER, DecodeError("never"), self.ticks(), retry_after=None)

    def defer(self, job_id: str) -> None:
        jobs.stop(self.session, job_id, OWNER, PeerBusy("later"), self.ticks(), retry_after=timedelta(seconds=5))

    def cancel(self, job_id: str) -> None:
        jobs.cancel(self.session, job_id, self.ticks(), actor="tests")

    def retry(self, job_id: str) -> None:
        jobs.retry(self.session, job_id, self.ticks(), actor="tests", anyway=True)

    def wake(self, _: str) -> None:
        self.ticks.pass_by(jobs.LEASE)
        jobs.wake(self.session, self.ticks())

    def check(self) -> None:
        self.session.flush()
        in_force = [row for row in self.jobs() if row.state is not JobState.SUPERSEDED]
        assert [row.revision for row in in_force] == [len(self.ids)]
        told = select(ResultRow.job_id).where(ResultRow.job_id.in_(self.ids), ~ResultRow.superseded)
        assert set(self.session.scalars(told)) <= {self.ids[-1]}

    def jobs(self) -> list[Job]:
        return list(self.session.scalars(select(Job).where(Job.id.in_(self.ids))))


OPERATIONS = ("late", "claim", "finish", "fail", "defer", "cancel", "retry", "wake")


@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 3)), max_size=14))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_revision_is_in_force_whatever_happened_to_those_before(
    catalog: Catalog, ticks: Ticks, steps: list[tuple[str, int]]
) -> None:
    with catalog.begin() as session:
        revisions = Revisions(session, ticks)
        revisions.late("")
        for operation, back in steps:
            job_id = revisions.ids[max(0, len(revisions.ids) - 1 - back)]
            with suppress(WhyRayError):  # not permitted in this state
                getattr(revisions, operation)(job_id)
            revisions.check()


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.CANCELLING])
def test_what_an_administrator_cancelled_gives_way_to_the_next_revision(
    catalog: Catalog, ticks: Ticks, state: JobState
) -> None:
    with catalog.begin() as session:
        revisions = Revisions(session, ticks)
        revisions.late("")
        (first,) = revisions.ids
        revisions.claim(first)
        revisions.finish(first)
        revisions.retry(first)
        if state is JobState.CANCELLING:
            revisions.claim(first)
        revisions.cancel(first)
        assert jobs.get(session, first).state is state
        revisions.late("")
        revisions.check()
        assert jobs.stop(session, first, OWNER, DecodeError("stopped"), ticks(), retry_after=None) is (
            JobState.SUPERSEDED
        )
        with pytest.raises(TransitionError, match="superseded"):
            revisions.retry(first)


def test_the_event_of_a_job_that_gave_way_names_the_package_that_it_ran(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        first = job(session, now=ticks())
        for package in ("package@1", "package@2"):
            study = session.get_one(Study, first.study_id)
            studies.add_instance(session, received(int(package[-1]) + 5), ticks())
            session.flush()
            made = jobs.create(
                session,
                study=study,
                route="route",
                package=package,
                instances=studies.routable(session, study.id),
                priority=2,
                now=ticks(),
            )
            assert made is not None
        of_kind = select(Event.message).where(Event.kind == "job.superseded").order_by(Event.id)
        assert session.scalars(of_kind).all() == [
            "route: package@1 ran on fewer instances of 1.2.1; a new revision replaces it",
            "route: another version, package@1, ran on 1.2.1; a new revision by package@2 replaces it",
        ]


@pytest.mark.usefixtures("real_migrations")
def test_two_revisions_that_earlier_versions_left_in_force_become_one(
    tmp_path: Path, postgres: Postgres, request: pytest.FixtureRequest
) -> None:
    for url in (sqlite_url(tmp_path / "catalog.sqlite"), postgres.new_database("two-in-force")):
        catalog, ticks = Catalog(url), Ticks()
        request.addfinalizer(catalog.close)
        with catalog.begin() as session:
            revisions = Revisions(session, ticks)
            for _ in range(2):
                revisions.late("")
                revisions.claim(revisions.ids[-1])
                revisions.finish(revisions.ids[-1])
            session.flush()
            old = revisions.ids[0]
            replaced, kept = (result_of(session, job_id) for job_id in revisions.ids)
            # as they were: the first cancelled and retried, the second run again with other results
            session.execute(update(Job).where(Job.id == old).values(state=JobState.DONE))
            session.execute(update(ResultRow).where(ResultRow.id == replaced).values(superseded=False))
            session.execute(update(ResultRow).where(ResultRow.id == kept).values(superseded=True, replaced_at=None))
        down_and_up(catalog.engine, "0022")
        with catalog.read() as session:
            revisions.session = session
            revisions.check()
            assert jobs.tally(session) == {JobState.SUPERSEDED: 1, JobState.DONE: 1}
            rows = {row.id: row for row in session.scalars(select(ResultRow))}
            assert rows[replaced].replaced_at is None
            assert rows[kept].replaced_at == jobs.get(session, revisions.ids[1]).finished_at


def result_of(session: Session, job_id: str) -> int:
    return session.scalars(select(ResultRow.id).where(ResultRow.job_id == job_id)).one()
