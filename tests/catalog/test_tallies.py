"""Counts that the database keeps: the same as counting, whoever writes, and nobody waits for another's."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import combinations_with_replacement
from pathlib import Path
from typing import get_args

from alembic import command
from alembic.config import Config
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from catalog.conftest import Postgres, Ticks
from catalog.rows import NOON, job, received, result
from migrated import down_and_up, migrations_on
from peers import until
from whyray.base.errors import PeerBusy
from whyray.catalog import (
    Catalog,
    Delivery,
    Event,
    Feedback,
    Instance,
    Job,
    JobState,
    ResultRow,
    Study,
    Workitem,
    WorkitemState,
    deliveries,
    feedback,
    jobs,
    sqlite_url,
    studies,
    study_states,
    tallies,
    workitems,
)


def counts(session: Session) -> dict[str, Counter[tuple[object, ...]]]:
    """By table and facets, counted row by row."""
    session.flush()
    facets = {
        "jobs": (Job.route, Job.package, Job.state),
        "deliveries": (Delivery.destination, Delivery.route, Delivery.state),
        "results": (
            ResultRow.kind,
            ResultRow.finding,
            ResultRow.grade,
            ResultRow.superseded,
            ResultRow.picture_key.is_not(None),
        ),
        "events": (Event.kind, Event.severity, Event.actor),
        "instances": (Instance.variant > 0,),
        "studies": (Study.has_jobs, Study.received_sequence > Study.routed_sequence),
        "feedback": (Feedback.package, Feedback.verdict),
        "workitems": (Workitem.worklist, Workitem.state),
    }
    return {name: Counter(tuple(row) for row in session.execute(select(*columns))) for name, columns in facets.items()}


def kept(session: Session) -> dict[str, Counter[tuple[object, ...]]]:
    return {
        name: Counter({row.facets: row.number for row in tallies.counted(session, name)})
        for name in get_args(tallies.Relation)
    }


def an_afternoon(session: Session, now: Ticks) -> None:
    """Two studies: one done and superseded by late instances, with deliveries in several states; one that waits."""
    first = job(session, study=1, now=now.now)
    jobs.claim(session, first.id, "worker", now.now)
    jobs.finish(session, first.id, "worker", [result("1", "pacs"), result("2", "pacs", "archive")], [], now.now)
    session.flush()
    taken = deliveries.claim_batch(session, "pacs", "sender", now.now)
    deliveries.sent(session, taken[0].id, "sender", 0, "success", now.now)
    deliveries.stop(
        session, taken[1].id, "sender", PeerBusy("later"), now.now, status=None, retry_after=timedelta(minutes=1)
    )
    studies.settle(session, first.study_id, 1, "routed")
    job(session, study=1, instances=2, now=now.pass_by(timedelta(minutes=1)))
    studies.add_instance(session, received(7, study=2), now.now)
    session.flush()
    studies.add_instance(session, received(7, study=2, content="other"), now.now)
    for number, verdict in enumerate(["accept", "accept", "reject"]):
        session.add(
            Feedback(
                at=now.now,
                actor="ada",
                sop_instance_uid=f"1.2.{number}",
                verdict=verdict,
                package="planted@1.0.0",
                kind="sc",
            )
        )
    for worklist, uid in (("", "1"), ("", "2"), ("ris", "1")):
        session.add(Workitem(worklist=worklist, uid=uid, code="", created_at=now.now))
    session.flush()
    session.execute(update(Feedback).where(Feedback.sop_instance_uid == "1.2.1").values(verdict="reject"))
    session.execute(update(Workitem).where(Workitem.uid == "2").values(state=WorkitemState.CANCELED, reason="no"))


def test_what_is_kept_is_what_counting_gives(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        an_afternoon(session, ticks)
        assert kept(session) == counts(session)
        size = sum(row.size for row in tallies.counted(session, "instances"))
        assert size == session.scalar(select(func.sum(Instance.size)))
    with catalog.begin() as session:
        tallies.fold(session)
        assert kept(session) == counts(session)
        assert session.scalars(select(tallies.Tally.part).distinct()).all() == [0]
    with catalog.begin() as session:
        session.execute(delete(Study).where(Study.study_instance_uid == "1.2.1"))
        assert kept(session) == counts(session)
        assert kept(session)["jobs"] == Counter(), "they went with their study"
        assert feedback.tally(session) == {("planted@1.0.0", "accept"): 1, ("planted@1.0.0", "reject"): 2}
        assert workitems.tally(session) == {
            "": {WorkitemState.SCHEDULED: 1, WorkitemState.CANCELED: 1},
            "ris": {WorkitemState.SCHEDULED: 1},
        }
        session.execute(delete(Workitem))
        session.execute(delete(Feedback))
        assert kept(session) == counts(session)
        assert workitems.tally(session) == feedback.tally(session) == {}


def test_what_is_rolled_back_was_not_counted(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        an_afternoon(session, ticks)
        session.rollback()
    with catalog.read() as session:
        assert not any(kept(session).values())


def test_rows_that_were_there_before_are_counted(tmp_path: Path, ticks: Ticks) -> None:
    catalog = Catalog(sqlite_url(tmp_path / "catalog.sqlite"))
    with catalog.begin() as session:
        an_afternoon(session, ticks)
        before = kept(session)
    down_and_up(catalog.engine, "0019")
    with catalog.read() as session:
        assert kept(session) == before
        assert session.scalars(select(Delivery.route).distinct()).all() == ["route"]
    catalog.close()


def test_what_a_role_of_before_still_writes_while_counts_are_made_is_counted(postgres: Postgres) -> None:
    catalog = Catalog(postgres.new_database("counted-while-written"))

    def to(revision: str, move: Callable[[Config, str], None]) -> None:
        with catalog.engine.begin() as connection:
            move(migrations_on(connection), revision)

    to("0021", command.downgrade)
    with Session(catalog.engine) as before, Session(catalog.engine) as watching:
        # only the columns that revision 0021 has
        before.execute(
            text(
                "INSERT INTO workitems (worklist, uid, state, code, ready, priority, job_ids, progress, "
                "cancel_requested, attempt, created_at) "
                "VALUES ('', '1', 'SCHEDULED', '', false, 2, '[]', 0, false, 0, '2026-01-02 12:00:00')"
            )
        )
        upgrading = threading.Thread(target=to, args=["0022", command.upgrade])
        upgrading.start()
        until(lambda: watching.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
        before.commit()
        upgrading.join(60)
    with catalog.read() as session:
        assert workitems.tally(session) == {"": {WorkitemState.SCHEDULED: 1}}
    catalog.close()


def test_two_that_change_the_same_count_do_not_wait_for_each_other(postgres: Postgres) -> None:
    catalog = Catalog(postgres.new_database("together-counted"))
    with catalog.begin() as session:
        ids = [job(session, study=number).id for number in (1, 2)]
    with Session(catalog.engine) as one, Session(catalog.engine) as other:
        other.execute(text("SET lock_timeout = '5s'"))
        for session, job_id in ((one, ids[0]), (other, ids[1])):
            session.execute(update(Job).where(Job.id == job_id).values(state=JobState.RUNNING))
        other.commit()
        one.commit()
        assert jobs.tally(one) == {JobState.RUNNING: 2}
    catalog.close()


def test_studies_are_told_apart_as_their_jobs_say(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        an_afternoon(session, ticks)
        studies.add_instance(session, received(1, study=3), NOON)
        session.flush()
        for study in session.scalars(select(Study)):
            studies.settle(session, study.id, study.received_sequence, "routed")
        session.flush()
        state = select(study_states.STUDY_STATE.label("state")).subquery()
        counted = session.execute(select(state.c.state, func.count()).group_by(state.c.state))
        assert study_states.tally(session) == {row[0]: row[1] for row in counted} == {"working": 1, "unrouted": 2}


def test_each_state_of_a_study_is_the_one_that_it_is_in(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        for number, states in enumerate(combinations_with_replacement(JobState, 2)):
            of_study = [job(session, study=number, instances=count, now=ticks.now).id for count in (1, 2)]
            for job_id, state in zip(of_study, states, strict=True):
                session.execute(update(Job).where(Job.id == job_id).values(state=state))
        studies.add_instance(session, received(1, study=99), NOON)
        session.flush()
        for study in session.scalars(select(Study).where(Study.id % 5 != 0)):
            studies.settle(session, study.id, study.received_sequence, "routed")
        said = {row[0]: row[1] for row in session.execute(select(Study.id, study_states.STUDY_STATE))}
        for state in get_args(study_states.StudyState):
            study_ids = set(session.scalars(select(Study.id).where(study_states.is_in(state))))
            assert study_ids == {study_id for study_id, its in said.items() if its == state}, state
        assert len(set(said.values())) >= 5
        tallied = study_states.tally(session)
        for state in ("receiving", "failed", "working", "unrouted"):
            assert tallied.get(state, 0) == sum(its == state for its in said.values()), state
