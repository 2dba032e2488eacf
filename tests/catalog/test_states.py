"""Jobs and deliveries move only along the transition tables, whatever is done to them, by whomever, in any order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.conftest import Ticks
from catalog.rows import NOON, job, received, result
from whyray.base.errors import Cancelled, DecodeError, LeaseLost, PeerBusy, TransitionError
from whyray.catalog import (
    DELIVERY_TRANSITIONS,
    JOB_TRANSITIONS,
    Catalog,
    Delivery,
    DeliveryState,
    Job,
    JobState,
    ResultRow,
    Study,
    deliveries,
    job_queue,
    jobs,
    sqlite_url,
    studies,
)
from whyray.catalog.states import delivery_after, job_after

JOB_MOVES = {(transition.source, transition.to) for transition in JOB_TRANSITIONS}
DELIVERY_MOVES = {(transition.source, transition.to) for transition in DELIVERY_TRANSITIONS}
JOB_ACTIONS = ("claim", "renew", "finish", "defer", "fail", "cancel", "retry", "wake", "pass", "late", "dispatch")
DELIVERY_ACTIONS = (
    *("claim", "renew", "sent", "defer", "fail", "hand-back", "cancel", "retry", "wake", "pass", "report"),
    "replace",
)
STEPS = st.lists(st.tuples(st.sampled_from(JOB_ACTIONS), st.sampled_from("AB")), max_size=30)
DELIVERY_STEPS = st.lists(st.tuples(st.sampled_from(DELIVERY_ACTIONS), st.sampled_from("AB")), max_size=30)
FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    opened = Catalog(sqlite_url(tmp_path_factory.mktemp("states") / "catalog.sqlite"))
    yield opened
    opened.close()


@contextmanager
def _nothing_is_kept(catalog: Catalog) -> Iterator[Session]:
    with Session(catalog.engine, expire_on_commit=False) as session:
        yield session
        session.rollback()


def test_every_state_can_be_left_or_is_an_end_and_every_action_leads_to_one_state() -> None:
    ends = {
        JobState.SUPERSEDED: "a newer revision has taken its place",
    }
    assert set(JobState) - {transition.source for transition in JOB_TRANSITIONS} == set(ends)
    assert set(DeliveryState) - {transition.source for transition in DELIVERY_TRANSITIONS} == set()
    for transitions in (JOB_TRANSITIONS, DELIVERY_TRANSITIONS):
        pairs = [(transition.action, transition.source) for transition in transitions]
        assert len(pairs) == len(set(pairs))


@given(st.sampled_from(sorted({transition.action for transition in JOB_TRANSITIONS})), st.sampled_from(JobState))
def test_a_move_that_the_table_of_jobs_does_not_have_is_refused(action: str, state: JobState) -> None:
    moves = {(transition.action, transition.source): transition.to for transition in JOB_TRANSITIONS}
    if (action, state) in moves:
        assert job_after(action, state) is moves[action, state]
    else:
        with pytest.raises(TransitionError, match=state.value):
            job_after(action, state)


@given(
    st.sampled_from(sorted({transition.action for transition in DELIVERY_TRANSITIONS})), st.sampled_from(DeliveryState)
)
def test_a_move_that_the_table_of_deliveries_does_not_have_is_refused(action: str, state: DeliveryState) -> None:
    moves = {(transition.action, transition.source): transition.to for transition in DELIVERY_TRANSITIONS}
    if (action, state) in moves:
        assert delivery_after(action, state) is moves[action, state]
    else:
        with pytest.raises(TransitionError, match=state.value):
            delivery_after(action, state)


class JobPlay:
    """Does to a job what workers, administrators, schedule and routing do, and watches what becomes of it."""

    def __init__(self, session: Session, ticks: Ticks) -> None:
        self.session, self.ticks = session, ticks
        self.job_id = job(session, now=ticks.now).id
        self.instances = 1

    @property
    def job(self) -> Job:
        return jobs.get(self.session, self.job_id)

    def step(self, action: str, owner: str) -> None:
        before, held_by = self.job.state, self.job.lease_owner
        results_before = self.results()
        try:
            self.act(action, owner)
        except (TransitionError, Cancelled, LeaseLost):
            assert self.job.state is before, "a refusal changes nothing"
        self.session.flush()
        after = self.job.state
        assert after is before or (before, after) in JOB_MOVES, f"{action}: {before} → {after}"
        if self.results() != results_before:
            assert (action, before, held_by) == ("finish", JobState.RUNNING, owner), "only who holds the lease finishes"
        if after is JobState.RUNNING:
            assert self.job.lease_owner is not None
            assert self.job.lease_until is not None
        if after in (JobState.QUEUED, JobState.WAITING, JobState.DONE, JobState.FAILED):
            assert self.job.lease_owner is None

    def results(self) -> int:
        return len(list(self.session.scalars(select(ResultRow.id).where(ResultRow.job_id == self.job_id))))

    def act(self, action: str, owner: str) -> None:
        session, now = self.session, self.ticks.now
        if action == "claim":
            taken = self.job.state is JobState.RUNNING and (self.job.lease_until or now) > now
            assert not (jobs.claim(session, self.job_id, owner, now) and taken), "a lease that holds is not taken over"
        elif action == "renew":
            jobs.renew(session, self.job_id, owner, 0.5, "half way", now)
        elif action == "finish":
            jobs.finish(session, self.job_id, owner, [result(self.job_id, "pacs")], [], now)
        elif action == "defer":
            jobs.stop(session, self.job_id, owner, PeerBusy("later"), now, retry_after=timedelta(seconds=30))
        elif action == "fail":
            jobs.stop(session, self.job_id, owner, DecodeError("never"), now, retry_after=None)
        elif action == "cancel":
            jobs.cancel(session, self.job_id, now, actor="admin")
        elif action == "retry":
            jobs.retry(session, self.job_id, now, actor="admin")
        elif action == "wake":
            jobs.wake(session, now)
        elif action == "dispatch":
            job_queue.to_dispatch(session, now, again_after=timedelta(minutes=5))
        elif action == "pass":
            self.ticks.pass_by(timedelta(seconds=40))
        else:
            self.late_instance()

    def late_instance(self) -> None:
        self.instances += 1
        studies.add_instance(self.session, received(self.instances), self.ticks.now)
        self.session.flush()
        study = self.session.scalars(select(Study)).one()
        jobs.create(
            self.session,
            study=study,
            route="route",
            package="package@1",
            instances=studies.routable(self.session, study.id),
            priority=2,
            now=self.ticks.now,
        )


@FAST
@given(STEPS)
def test_a_job_moves_only_along_its_table(scratch: Catalog, steps: list[tuple[str, str]]) -> None:
    with _nothing_is_kept(scratch) as session:
        play = JobPlay(session, Ticks())
        for action, owner in steps:
            play.step(action, owner)


@FAST
@given(STEPS)
def test_a_job_that_is_not_at_an_end_can_always_come_to_one(scratch: Catalog, steps: list[tuple[str, str]]) -> None:
    with _nothing_is_kept(scratch) as session:
        play = JobPlay(session, Ticks())
        for action, owner in steps:
            play.step(action, owner)
        for _ in range(6):
            play.ticks.pass_by(timedelta(minutes=10))
            jobs.wake(session, play.ticks.now)
            for job in job_queue.to_dispatch(session, play.ticks.now, again_after=timedelta(minutes=5)):
                if jobs.claim(session, job.id, "C", play.ticks.now):
                    jobs.finish(session, job.id, "C", [], [], play.ticks.now)
        open_states = {JobState.QUEUED, JobState.RUNNING, JobState.WAITING, JobState.CANCELLING}
        assert not set(jobs.tally(session)) & open_states


@FAST
@given(DELIVERY_STEPS)
def test_a_delivery_moves_only_along_its_table(scratch: Catalog, steps: list[tuple[str, str]]) -> None:
    ticks = Ticks()
    with _nothing_is_kept(scratch) as session:
        created = job(session, now=ticks.now)
        jobs.claim(session, created.id, "worker", ticks.now)
        jobs.finish(session, created.id, "worker", [result("1", "pacs")], [], ticks.now)
        row = session.scalars(select(Delivery)).one()
        for action, owner in steps:
            before, replaced = row.state, row.result.superseded
            try:
                _deliver(session, row, action, owner, ticks)
            except TransitionError:
                assert row.state is before
            session.flush()
            assert row.state is before or (before, row.state) in DELIVERY_MOVES, f"{action}: {before} → {row.state}"
            assert (row.lease_owner is not None) == (row.state is DeliveryState.SENDING)
            if replaced and row.state is DeliveryState.SENDING:
                assert before is DeliveryState.SENDING, "what was replaced is not begun to be sent"


def _deliver(session: Session, row: Delivery, action: str, owner: str, ticks: Ticks) -> None:
    now = ticks.now
    if action == "claim":
        held = row.state is DeliveryState.SENDING and (row.lease_until or now) > now
        assert not (deliveries.claim_batch(session, "pacs", owner, now) and held)
    elif action == "renew":
        mine = row.state is DeliveryState.SENDING and row.lease_owner == owner
        assert deliveries.renew(session, [row.id], owner, now) == ({row.id} if mine else set())
        session.refresh(row)
    elif action == "sent":
        deliveries.sent(session, row.id, owner, 0, "Success", now)
    elif action == "defer":
        deliveries.stop(session, row.id, owner, PeerBusy("later"), now, status=None, retry_after=timedelta(seconds=30))
    elif action == "fail":
        deliveries.stop(session, row.id, owner, DecodeError("never"), now, status=0xC000, retry_after=None)
    elif action == "hand-back":
        deliveries.hand_back(session, [row.id], owner)
    elif action == "cancel":
        deliveries.cancel(session, row.id, now, actor="admin")
    elif action == "retry":
        deliveries.retry(session, row.id, now, actor="admin")
    elif action == "wake":
        deliveries.wake(session, now)
    elif action == "pass":
        ticks.pass_by(timedelta(seconds=150))
    elif action == "replace":
        job_id, uid = row.result.job_id, row.result.sop_instance_uid
        jobs.retry(session, job_id, now, actor="admin")
        jobs.claim(session, job_id, "worker", now)
        jobs.finish(session, job_id, "worker", [], [], now, replaced=[uid])
    else:
        deliveries.ask_commitment(session, [row.id], "1.2.3", now)
        uid = row.result.sop_instance_uid
        good = [uid] if owner == "A" else []
        deliveries.commitment_reported(session, "1.2.3", good, {} if good else {uid: 0x0112}, now)


def test_a_job_is_taken_over_only_when_its_lease_has_run_out(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        job_id = job(session, now=ticks.now).id
        assert jobs.claim(session, job_id, "first", ticks.now)
    ticks.pass_by(jobs.LEASE - timedelta(seconds=1))
    with catalog.begin() as session:
        assert jobs.claim(session, job_id, "second", ticks.now) is None
        jobs.renew(session, job_id, "first", 0.5, "half way", ticks.now)
    ticks.pass_by(jobs.LEASE - timedelta(seconds=1))
    with catalog.begin() as session:
        assert jobs.claim(session, job_id, "second", ticks.now) is None
    ticks.pass_by(timedelta(seconds=1))
    with catalog.begin() as session:
        assert jobs.claim(session, job_id, "second", ticks.now)
        with pytest.raises(LeaseLost):
            jobs.renew(session, job_id, "first", 0.6, "still here", ticks.now)
        with pytest.raises(LeaseLost):
            jobs.finish(session, job_id, "first", [result("1", "pacs")], [], ticks.now)
        assert jobs.get(session, job_id).attempt == 2


def test_doing_a_job_twice_enters_its_results_once(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        job_id = job(session, now=ticks.now).id
    for _ in range(2):
        with catalog.begin() as session:
            assert jobs.claim(session, job_id, "worker", ticks.now)
            jobs.finish(session, job_id, "worker", [result("1", "pacs", "archive")], [], ticks.now)
        with catalog.begin() as session:
            assert len(list(session.scalars(select(ResultRow)))) == 1
            assert len(list(session.scalars(select(Delivery)))) == 2
            jobs.retry(session, job_id, ticks.now, actor="admin")


@pytest.mark.timeout(120)
def test_of_many_workers_that_claim_at_once_one_gets_the_job(catalog: Catalog) -> None:
    with catalog.begin() as session:
        ids = [job(session, study=number).id for number in range(1, 6)]
    claimed: list[tuple[str, str]] = []

    def work(name: str) -> None:
        for job_id in ids:
            with catalog.begin() as session:
                if jobs.claim(session, job_id, name, NOON) is not None:
                    claimed.append((job_id, name))

    _in_threads(work, 4)
    assert sorted(job_id for job_id, _ in claimed) == sorted(ids)


@pytest.mark.timeout(120)
def test_of_many_senders_that_claim_at_once_each_delivery_goes_to_one(catalog: Catalog) -> None:
    with catalog.begin() as session:
        job_id = job(session).id
        jobs.claim(session, job_id, "worker", NOON)
        jobs.finish(session, job_id, "worker", [result(str(number), "pacs") for number in range(40)], [], NOON)
    claimed: list[str] = []

    def send(name: str) -> None:
        while True:
            with catalog.begin() as session:
                batch = [delivery.id for delivery in deliveries.claim_batch(session, "pacs", name, NOON, most=3)]
            if not batch:
                return
            claimed.extend(batch)

    _in_threads(send, 4)
    assert len(claimed) == len(set(claimed)) == 40


def _in_threads(work: Callable[[str], None], count: int) -> None:
    problems: list[BaseException] = []
    together = threading.Barrier(count)

    def run(name: str) -> None:
        together.wait()
        try:
            work(name)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=run, args=(f"thread{number}",)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


@pytest.mark.parametrize(
    ("meanwhile", "state"), [("superseded", JobState.SUPERSEDED), ("cancelled", JobState.CANCELLED)]
)
def test_a_job_that_ended_while_it_was_read_ahead_is_under_no_lease_once_it_is_handed_back(
    catalog: Catalog, meanwhile: str, state: JobState
) -> None:
    with catalog.begin() as session:
        row = job(session)
        jobs.claim(session, row.id, "A", NOON)
        if meanwhile == "superseded":
            job(session, instances=2)
        else:
            jobs.cancel(session, row.id, NOON, actor="ada")
        assert jobs.hand_back(session, row.id, "B", NOON) is row.state, "of another worker"
        assert row.lease_owner == "A"
        assert jobs.hand_back(session, row.id, "A", NOON) is state
        assert (row.lease_owner, row.lease_until) == (None, None)
