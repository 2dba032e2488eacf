"""Other contents under known UIDs: which is in use, and what becomes of what was made of the former one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from alembic import command
from pydicom.uid import SegmentationStorage
from sqlalchemy import event, select, text
from sqlalchemy.orm import Session

from catalog.conftest import Ticks
from catalog.rows import received, result
from migrated import down_and_up, migrations_on
from whyray.base.errors import Cancelled, InputChanged, TransitionError
from whyray.catalog import (
    Catalog,
    Conflict,
    ConflictDecision,
    Delivery,
    DeliveryState,
    Event,
    Instance,
    Job,
    JobState,
    PixelComparison,
    ResultRow,
    Study,
    conflicts,
    contents,
    deliveries,
    job_inputs,
    jobs,
    removal,
    revisions,
    studies,
    study_states,
)
from whyray.catalog.conflicts import Difference
from whyray.catalog.database import upgrade

UID = "1.2.1"
OTHER_PATIENT = Difference(("PatientID", "PatientName"))


def come(session: Session, ticks: Ticks, *numbers: int, content: str = "", series: int = 1, ae: str = "PACS") -> None:
    for number in numbers:
        arriving = received(number, content=content, series=series)
        studies.add_instance(session, replace(arriving, calling_ae=ae, key=f"{arriving.sha256}-{ticks()}"), ticks())
    session.flush()


def compare(session: Session, ticks: Ticks, difference: Difference = OTHER_PATIENT) -> None:
    for pair in conflicts.to_compare(session, 100):
        assert conflicts.compared(session, pair.instance_id, difference, ticks())
    session.flush()


def routed(session: Session, ticks: Ticks) -> Job | None:
    """What routing makes of the study now."""
    study = session.scalars(select(Study)).one()
    made = jobs.create(
        session,
        study=study,
        route="route",
        package="package@1",
        instances=studies.routable(session, study.id),
        priority=2,
        now=ticks(),
    )
    studies.settle(session, study.id, study.received_sequence, "routed")
    session.flush()
    session.expire_all()
    return made


def run(session: Session, ticks: Ticks, job: Job | None, *names: str) -> Job:
    assert job is not None
    jobs.claim(session, job.id, "worker", ticks())
    jobs.finish(session, job.id, "worker", [result(name, "pacs") for name in names], [], ticks())
    session.flush()
    return job


def in_use(session: Session) -> list[str]:
    """The digests of what routing takes."""
    return [instance.sha256 for group in studies.routable(session, 1).values() for instance in group]


def sha256(number: int, content: str = "", series: int = 1) -> str:
    return received(number, content=content, series=series).sha256


def kinds(session: Session) -> list[str]:
    return [kind for kind in session.scalars(select(Event.kind).order_by(Event.id)) if kind.startswith("content.")]


def test_the_newest_content_is_used_and_the_study_is_routed_anew(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1, 2)
        first = run(session, ticks, routed(session, ticks), "1", "2")
        come(session, ticks, 1, 2, content="B")
        assert studies.unsettled(session) == []
        compare(session, ticks)
        used = contents.use_newest(session, UID, ticks(), actor="eva")
        assert (used.instances, used.jobs, used.results, used.deliveries.cancelled) == (2, 1, 2, 2)
        assert in_use(session) == [sha256(1, "B"), sha256(2, "B")]
        assert [study.study_instance_uid for study in studies.unsettled(session)] == [UID]
        second = routed(session, ticks)
        assert second is not None
        session.refresh(first)
        assert (first.state, second.state, second.revision) == (JobState.SUPERSEDED, JobState.QUEUED, 2)
        taken = [instance.sha256 for group in job_inputs.instances(session, second).values() for instance in group]
        assert taken == [sha256(1, "B"), sha256(2, "B")]
        assert [row.sop_instance_uid for row in revisions.earlier_results(session, second)] == ["2.25.1", "2.25.2"]


def test_to_use_the_newest_content_twice_is_to_use_it_once(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        come(session, ticks, 1, content="B")
        compare(session, ticks)
        contents.use_newest(session, UID, ticks(), actor="eva")
        sequence = session.scalars(select(Study.received_sequence)).one()
        assert contents.use_newest(session, UID, ticks(), actor="eva") == contents.Used()
        assert contents.keep(session, UID, ticks(), actor="eva") == 0
        assert session.scalars(select(Study.received_sequence)).one() == sequence
        assert kinds(session) == ["content.used"]


def test_what_was_not_sent_of_the_former_content_is_not_sent_any_more(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        run(session, ticks, routed(session, ticks), "11", "12", "13")
        (sent,) = deliveries.claim_batch(session, "pacs", "sender", ticks(), most=1)
        deliveries.sent(session, sent.id, "sender", 0, "0x0000 Success", ticks())
        (sending,) = deliveries.claim_batch(session, "pacs", "sender", ticks(), most=1)
        come(session, ticks, 1, content="B")
        compare(session, ticks)
        used = contents.use_newest(session, UID, ticks(), actor="eva")
        session.flush()
        assert (used.deliveries.cancelled, used.deliveries.sent, used.deliveries.sending) == (1, 1, 1)
        said = session.scalars(select(Event.message).where(Event.kind == "content.used")).one()
        assert "an archive may have them under the former identification" in said
        states = sorted(row.state for row in session.scalars(select(Delivery)))
        assert states == [DeliveryState.CANCELLED, DeliveryState.SENDING, DeliveryState.SENT]
        assert all(
            row.superseded and row.withdrawn_at and not row.replaced_at for row in session.scalars(select(ResultRow))
        )
        # one that fails now is not tried again, and no administrator sends one anew
        deliveries.hand_back(session, [sending.id], "sender")
        session.flush()
        assert deliveries.claim_batch(session, "pacs", "sender", ticks()) == []
        with pytest.raises(TransitionError, match="were corrected"):
            deliveries.retry(session, sent.id, ticks(), actor="eva")


def test_a_job_that_runs_while_its_images_are_corrected_enters_nothing(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        job = routed(session, ticks)
        assert job is not None
        jobs.claim(session, job.id, "worker", ticks())
        come(session, ticks, 1, content="B")
        compare(session, ticks)
        contents.use_newest(session, UID, ticks(), actor="eva")
        session.flush()
        with pytest.raises(Cancelled):
            jobs.renew(session, job.id, "worker", 0.5, "working", ticks())
        with pytest.raises(Cancelled):
            jobs.finish(session, job.id, "worker", [result("1", "pacs")], [], ticks())
        with pytest.raises(TransitionError):
            jobs.retry(session, job.id, ticks(), actor="eva")


def test_a_router_that_saw_the_former_content_makes_no_job_that_runs(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        study = session.scalars(select(Study)).one()
        seen, sequence = studies.routable(session, 1), study.received_sequence
        come(session, ticks, 1, content="B")
        compare(session, ticks)
        contents.use_newest(session, UID, ticks(), actor="eva")
        stale = jobs.create(
            session, study=study, route="route", package="package@1", instances=seen, priority=2, now=ticks()
        )
        assert stale is not None
        studies.settle(session, study.id, sequence, "routed")
        session.flush()
        with pytest.raises(InputChanged):
            job_inputs.instances(session, stale)
        assert len(studies.unsettled(session)) == 1
        session.expire_all()
        valid = routed(session, ticks)
        assert valid is not None
        session.refresh(stale)
        assert stale.state is JobState.SUPERSEDED
        assert job_inputs.instances(session, valid)


def test_jobs_on_other_series_of_the_study_stay_in_force(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        come(session, ticks, 1, series=2)
        study = session.scalars(select(Study)).one()
        made = {}
        for uid, group in studies.routable(session, study.id).items():
            made[uid] = jobs.create(
                session, study=study, route=uid, package="p@1", instances={uid: group}, priority=2, now=ticks()
            )
        come(session, ticks, 1, content="B")
        compare(session, ticks, Difference())
        assert contents.use_newest(session, UID, ticks(), actor="eva").jobs == 1
        states = {uid: job.state for uid, job in made.items() if job is not None}
        assert states == {"1.2.1.1": JobState.SUPERSEDED, "1.2.1.2": JobState.QUEUED}


def test_jobs_that_took_a_corrected_segmentation_of_another_series_are_withdrawn(
    catalog: Catalog, ticks: Ticks
) -> None:
    def route(session: Session) -> Job | None:
        study = session.scalars(select(Study)).one()
        images = {"1.2.1.1": studies.routable(session, study.id)["1.2.1.1"]}
        ticks.pass_by(timedelta(minutes=1))
        made = jobs.create(
            session, study=study, route="route", package="package@1", instances=images, priority=2, now=ticks()
        )
        session.flush()
        return made

    def segment(session: Session, content: str) -> str:
        ticks.pass_by(timedelta(minutes=1))
        segmentation = replace(
            received(1, series=2, content=content),
            sop_class_uid=str(SegmentationStorage),
            key=f"segmentation {content}",
        )
        studies.add_instance(session, segmentation, ticks())
        return segmentation.sha256

    with catalog.begin() as session:
        come(session, ticks, 1)
        before = route(session)
        segment(session, "")
        # a job of another route, which was there before the segmentation, took none
        assert before is not None
        session.expire_all()
        before.route = "earlier"
        first = run(session, ticks, route(session), "1")
        corrected = segment(session, "B")
        compare(session, ticks, Difference((), (), PixelComparison.OTHER))
        used = contents.use_newest(session, UID, ticks(), actor="eva")
        assert (used.jobs, used.results) == (1, 1)
        session.expire_all()
        second = route(session)
        assert second is not None
        assert (first.state, before.state, second.revision) == (JobState.SUPERSEDED, JobState.QUEUED, 2)
        assert [row.sha256 for row in job_inputs.segmentations(session, second)] == [corrected]


def test_contents_of_a_study_of_any_size_wait_for_one_decision(catalog: Catalog, ticks: Ticks) -> None:
    """PostgreSQL takes 65,535 parameters in a statement: what grows with a study comes to its limit."""
    most: dict[int, int] = {}
    with catalog.begin() as session:
        for number in (5, 25):
            come(session, ticks, *range(number))
            come(session, ticks, *range(number), content="B")
            compare(session, ticks)
            seen: list[int] = []

            def noted(*call: object, seen: list[int] = seen) -> None:
                seen.append(len(call[3]))  # type: ignore[arg-type]

            event.listen(catalog.engine, "before_cursor_execute", noted)
            assert len(conflicts.undecided(session, 1)) == number
            (waiting,) = conflicts.waiting(session).values()
            event.remove(catalog.engine, "before_cursor_execute", noted)
            assert (waiting.instances, waiting.compared) == (number, number)
            most[number] = max(seen)
    assert most[5] == most[25]


def test_a_correction_that_is_taken_back_is_a_revision_of_its_own(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        first = run(session, ticks, routed(session, ticks), "1")
        for content, name in (("B", "2"), ("", "3")):
            come(session, ticks, 1, content=content)
            session.expire_all()
            compare(session, ticks)
            assert contents.use_newest(session, UID, ticks(), actor="eva").results == 1
            last = run(session, ticks, routed(session, ticks), name)
        assert in_use(session) == [sha256(1)]
        assert (first.revision, last.revision, last.state) == (1, 3, JobState.DONE)
        in_force = session.scalars(select(ResultRow.sop_instance_uid).where(~ResultRow.superseded)).all()
        assert in_force == ["2.25.3"]
        assert [row.decision for row in session.scalars(select(Conflict))] == [ConflictDecision.USED] * 2


def test_results_that_came_back_corrected_are_no_matter_of_the_study(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        for content in ("", "B"):
            studies.add_instance(session, received(7, content=content, own_result=True), ticks())
        assert conflicts.to_compare(session, 9) == []
        assert conflicts.in_use_alone(session, 1) == 1


def test_a_corrected_study_that_no_route_takes_has_stopped(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        run(session, ticks, routed(session, ticks), "1")
        come(session, ticks, 1, content="B")
        compare(session, ticks)
        contents.use_newest(session, UID, ticks(), actor="eva")
        session.flush()
        assert study_states.tally(session) == {"receiving": 1}
        study = session.scalars(select(Study)).one()
        session.refresh(study)
        studies.settle(session, study.id, study.received_sequence, "no route matched")
        session.flush()
        assert study_states.tally(session) == {"stopped": 1}
        assert session.scalars(select(study_states.STUDY_STATE)).all() == ["stopped"]
        for condition in (study_states.is_in("stopped"), study_states.is_in_rare("stopped")):
            assert len(session.scalars(select(Study).where(condition)).all()) == 1
        removal.remove_instances(session, study.id)  # retention takes what was said of contents along
        session.flush()
        session.expire_all()
        assert session.scalars(select(Conflict)).all() == []
        assert study_states.tally(session) == {"stopped": 1}
        assert session.scalars(select(study_states.STUDY_STATE)).all() == ["stopped"]
        for condition in (study_states.is_in("stopped"), study_states.is_in_rare("stopped")):
            assert len(session.scalars(select(Study).where(condition)).all()) == 1


def test_a_catalog_of_before_has_the_first_content_in_use(catalog: Catalog, ticks: Ticks) -> None:
    moved = replace(
        received(2), study_instance_uid="1.2.2", series_instance_uid="1.2.2.1", sha256="f" * 64, key="moved"
    )
    with catalog.begin() as session:
        come(session, ticks, 1, 2)
        come(session, ticks, 1, content="B")
        studies.add_instance(session, moved, ticks())
    down_and_up(catalog.engine, "0024")
    with catalog.begin() as session:
        rows = session.execute(select(Instance.variant, Instance.set_aside).order_by(Instance.id)).all()
        assert [tuple(row) for row in rows] == [(0, False), (0, False), (1, True), (1, False)]
        assert in_use(session) == [sha256(1), sha256(2)]
        come(session, ticks, 1, content="C")
        compare(session, ticks, Difference())
        assert contents.use_newest(session, UID, ticks(), actor="eva").instances == 1


def test_instances_that_another_study_had_first_are_routed_from_now_on(catalog: Catalog, ticks: Ticks) -> None:
    other, moved = received(9, study=2), received(2)
    moved = replace(moved, study_instance_uid="1.2.2", series_instance_uid="1.2.2.1", sha256="f" * 64, key="moved")
    with catalog.begin() as session:
        come(session, ticks, 1, 2)
        routed(session, ticks)
        for instance in (other, moved):
            studies.add_instance(session, instance, ticks())
        session.flush()
        study = session.scalars(select(Study).where(Study.study_instance_uid == "1.2.2")).one()
        studies.settle(session, study.id, study.received_sequence, "routed", expires_at=ticks())
        # what was in use then, and something that is here no more
        of_before = {"valid": [other.sha256], "of lost instances": [other.sha256, "d" * 64]}
        ids = {}
        for route, digests in of_before.items():
            group = studies.routable(session, study.id)
            job = jobs.create(
                session, study=study, route=route, package="p@1", instances=group, priority=2, now=ticks()
            )
            assert job is not None
            job.input_digest = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
            ids[route] = job.id
    down_and_up(catalog.engine, "0025")
    with catalog.begin() as session:
        (study,) = studies.unsettled(session)
        assert (study.study_instance_uid, study.expires_at) == ("1.2.2", None)
        (taken,) = job_inputs.instances(session, jobs.get(session, ids["valid"])).values()
        assert [instance.sha256 for instance in taken] == [other.sha256, moved.sha256]
        with pytest.raises(InputChanged):
            job_inputs.instances(session, jobs.get(session, ids["of lost instances"]))


@pytest.mark.parametrize("order", [("", "B", ""), ("", "B", "C", "used"), ("", "B", "used", "", "B")])
def test_what_is_in_use_stays_so_in_a_catalog_that_was_taken_back(
    catalog: Catalog, ticks: Ticks, order: tuple[str, ...]
) -> None:
    with catalog.begin() as session:
        moved = replace(
            received(1, content="X"), study_instance_uid="1.2.2", series_instance_uid="1.2.2.1", key="moved"
        )
        for content in order:
            if content == "used":
                compare(session, ticks)
                contents.use_newest(session, UID, ticks(), actor="eva")
            else:
                come(session, ticks, 1, 2, content=content)
            session.expire_all()
        studies.add_instance(session, moved, ticks())
        before = in_use(session)
    with catalog.engine.begin() as connection:
        command.downgrade(migrations_on(connection), "0025")
        rows = connection.execute(
            text("SELECT sha256 FROM instances WHERE variant = 0 ORDER BY sop_instance_uid")
        ).scalars()
        assert list(rows) == before
    upgrade(catalog.engine)
    with catalog.begin() as session:
        assert in_use(session) == before
        assert len({(row.sop_instance_uid, row.variant) for row in session.scalars(select(Instance))}) == len(
            session.scalars(select(Instance)).all()
        )


def test_what_a_study_leaves_takes_its_conflicts_with_it(catalog: Catalog, ticks: Ticks) -> None:
    with catalog.begin() as session:
        come(session, ticks, 1)
        come(session, ticks, 1, content="B")
    with catalog.begin() as session:
        session.delete(session.scalars(select(Study)).one())
    with catalog.read() as session:
        assert session.scalars(select(Conflict)).all() == []
