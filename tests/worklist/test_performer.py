"""WhyRay as performer: from a scheduled workitem to results at a destination, whatever dies on the way."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import select

from site_under_test import ROUTE, Site
from whyray.app.compare_contents import ContentComparer
from whyray.base.errors import PeerRefused
from whyray.catalog import Event, JobState, ResultRow, WorkitemStage, clock_steps, contents, deliveries, jobs, workitems
from whyray.jobs.worker import run_job
from whyray.worklist import Order, Performer
from worklist.conftest import PATIENT, MakePerformer, Served, code, film, workitem


@pytest.fixture(autouse=True)
def by_order(site: Site) -> None:
    site.configure(routes=[{**ROUTE, "by_order": True, "send": {"to": ["pacs"], "as": ["sc", "sr"]}}])


def deliver(site: Site, *, refuse: bool = False) -> None:
    """What the delivery role does with a PACS that takes everything, or nothing."""
    with site.catalog.begin() as session:
        for delivery in deliveries.claim_batch(session, "pacs", "sender", site.clock()):
            if refuse:
                error = PeerRefused("pacs takes no such objects")
                deliveries.stop(session, delivery.id, "sender", error, site.clock(), status=0x0122, retry_after=None)
            else:
                deliveries.sent(session, delivery.id, "sender", 0, "Success", site.clock())


def steps(site: Site, one: Performer, times: int = 1) -> None:
    for _ in range(times):
        one.step()
        site.clock.tick(20)


def worked(site: Site) -> None:
    for job in site.jobs():
        if job.state is JobState.QUEUED:
            assert run_job(job.id, "worker", site.job_context()) is JobState.DONE


def correct(site: Site, image: Dataset, *, routed: bool = True, **changes: str) -> None:
    """What happens where a PACS sends an image again with other attributes of its patient or order."""
    corrected = copy.deepcopy(image)
    for keyword, value in changes.items():
        setattr(corrected, keyword, value)
    site.receive([corrected], routed=routed, released=False)
    ContentComparer(site.catalog, lambda: site.config, site.storage.open).step()
    site.router().step()


def told(served: Served, uid: str) -> Dataset:
    return served.retrieve(uid).UnifiedProcedureStepPerformedProcedureSequence[0]


def reason(served: Served, uid: str) -> tuple[str, str]:
    item = served.retrieve(uid).ProcedureStepProgressInformationSequence[0]
    return item.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue, item.ReasonForCancellation


@pytest.mark.parametrize("remote", [False, True], ids=["own worklist", "by HTTP"])
def test_a_workitem_is_claimed_worked_on_told_of_and_completed_with_its_results(
    site: Site, served: Served, performer: MakePerformer, remote: bool
) -> None:
    image = film()
    site.receive([image])
    uid, one = served.create(workitem(image)), performer(remote=remote)
    site.router().step()
    assert site.jobs() == [], "a route that runs by order does not run because images came"
    steps(site, one)
    assert served.state(uid) == "IN PROGRESS"
    (job,) = site.jobs()
    assert (job.route, job.package) == ("films", "planted@1.0.0")
    with site.catalog.begin() as session:
        jobs.claim(session, job.id, "worker", site.clock())
        jobs.renew(session, job.id, "worker", 0.5, "explaining", site.clock())
    steps(site, one, 2)
    item = served.retrieve(uid).ProcedureStepProgressInformationSequence[0]
    assert (item.ProcedureStepProgress, item.ProcedureStepProgressDescription) == (45, "explaining")
    site.clock.tick(60)
    assert run_job(job.id, "worker-2", site.job_context()) is JobState.DONE
    steps(site, one)
    assert served.state(uid) == "IN PROGRESS", "nobody can fetch the results yet"
    deliver(site)
    steps(site, one)
    assert served.state(uid) == "COMPLETED"
    done = told(served, uid)
    assert done.PerformedStationNameCodeSequence[0].CodeValue == "WHYRAY"
    assert done.PerformedWorkitemCodeSequence[0].CodeValue == "films-ai"
    assert done.PerformedProcedureStepStartDateTime < done.PerformedProcedureStepEndDateTime
    named = {
        reference.ReferencedSOPInstanceUID: (output.SeriesInstanceUID, output.DICOMRetrievalSequence[0].RetrieveAETitle)
        for output in done.OutputInformationSequence
        for reference in output.ReferencedSOPSequence
    }
    with site.catalog.read() as session:
        made = {
            result.sop_instance_uid: (result.series_instance_uid, "PACS")
            for result in session.scalars(select(ResultRow))
        }
    assert named == made
    assert len(made) == 3


def test_a_priority_of_the_workitem_is_that_of_its_jobs(site: Site, served: Served, performer: MakePerformer) -> None:
    priorities = {}
    for number, priority in enumerate(("HIGH", "MEDIUM", "LOW"), start=1):
        image = film(number)
        image.StudyInstanceUID = generate_uid(prefix=None)
        site.receive([image])
        served.create(workitem(image, ScheduledProcedureStepPriority=priority))
        known = {job.id for job in site.jobs()}
        steps(site, performer())
        (job,) = [job for job in site.jobs() if job.id not in known]
        priorities[priority] = job.priority
    assert priorities == {"HIGH": 0, "MEDIUM": jobs.PRIORITIES["urgent"], "LOW": 2}


def test_codes_that_nobody_maps_and_inputs_that_are_not_ready_are_left_alone(
    site: Site, served: Served, performer: MakePerformer
) -> None:
    image = film()
    site.receive([image])
    other = served.create(workitem(image, ScheduledWorkitemCodeSequence=[code("else")]))
    waiting = served.create(workitem(image, InputReadinessState="INCOMPLETE"))
    for remote in (False, True):
        steps(site, performer(remote=remote), 2)
    assert served.state(other) == served.state(waiting) == "SCHEDULED"
    change = Dataset()
    change.InputReadinessState = "READY"
    assert served.send("POST", f"/workitems/{waiting}", change).status_code == 200
    steps(site, performer())
    assert served.state(waiting) == "IN PROGRESS"


def test_two_performers_never_work_on_the_same_workitem(site: Site, served: Served, performer: MakePerformer) -> None:
    image = film()
    site.receive([image])
    uid = served.create(workitem(image))
    assert served.change_state(uid, "IN PROGRESS", generate_uid(prefix=None)) == 200
    for remote in (False, True):
        steps(site, performer(remote=remote), 2)
    assert site.jobs() == []
    assert served.state(uid) == "IN PROGRESS"


def test_a_claim_that_comes_second_is_forgotten_and_nothing_is_done(
    site: Site, served: Served, performer: MakePerformer
) -> None:
    image = film()
    site.receive([image])
    uid = served.create(workitem(image))
    one = performer(remote=True)
    (source,) = one.sources().values()

    class Slower:
        """A worklist on which somebody else is faster between search and claim."""

        def __getattr__(self, name: str) -> Any:
            return getattr(source.worklist, name)

        def claim(self, uid: str, transaction_uid: str) -> None:
            served.change_state(uid, "IN PROGRESS", "1.2.3.4")
            source.worklist.claim(uid, transaction_uid)

    one.sources = lambda: {"ris": replace(source, worklist=Slower())}
    steps(site, one, 2)
    with site.catalog.read() as session:
        assert workitems.get(session, "ris", uid) is None
    assert site.jobs() == []


def test_a_worklist_is_asked_at_once_and_then_as_often_as_before_though_the_clock_was_set_back_by_a_day(
    site: Site, served: Served, performer: MakePerformer
) -> None:
    image = film()
    site.receive([image])
    one = performer(remote=True)
    one.step()
    site.clock.tick(-24 * 3600)
    first = served.create(workitem(image))
    one.step()
    assert served.state(first) == "IN PROGRESS"
    second = served.create(workitem(image))
    one.step()
    assert served.state(second) == "SCHEDULED", "it was asked just before"
    site.clock.tick(60)
    one.step()
    assert served.state(second) == "IN PROGRESS"


def test_a_workitem_that_somebody_closes_after_the_clock_was_set_back_is_let_go(
    site: Site, served: Served, performer: MakePerformer
) -> None:
    image = film()
    site.receive([image])
    served.create(workitem(image))
    one = performer(remote=True)
    (source,) = one.sources().values()
    steps(site, one, 2)
    site.clock.tick(-24 * 3600)
    with site.catalog.begin() as session:
        clock_steps.moved(session, timedelta(days=1), site.clock())

    class Closed:
        """A worklist on which somebody has closed the workitem."""

        def __getattr__(self, name: str) -> Any:
            return getattr(source.worklist, name)

        def retrieve(self, uid: str) -> Dataset:
            retrieved = source.worklist.retrieve(uid)
            retrieved.ProcedureStepState = "CANCELED"
            return retrieved

    one.sources = lambda: {"ris": replace(source, worklist=Closed())}
    site.clock.tick(20)
    one.step()
    (job,) = site.jobs()
    assert job.state is JobState.CANCELLED


def test_images_that_no_route_is_for_give_the_workitem_back_with_the_clause(
    site: Site, served: Served, performer: MakePerformer
) -> None:
    image = film()
    image.Modality = "MG"
    site.receive([image])
    uid = served.create(workitem(image))
    steps(site, performer(), 2)
    assert served.state(uid) == "CANCELED"
    value, words = reason(served, uid)
    assert value == "110521"
    assert "Modality" in words
    assert "MG" in words


def test_images_that_are_nowhere_give_the_workitem_back(site: Site, served: Served, performer: MakePerformer) -> None:
    uid = served.create(workitem(film()))
    steps(site, performer(), 2)
    assert served.state(uid) == "CANCELED"
    assert reason(served, uid)[0] == "110523"
    with site.catalog.read() as session:
        (event,) = session.scalars(select(Event).where(Event.kind == "worklist.failed"))
    assert uid in event.message


@pytest.mark.parametrize("remote", [False, True], ids=["own worklist", "by HTTP"])
def test_a_job_that_fails_and_a_pacs_that_refuses_give_the_workitem_back_with_the_reason(
    site: Site, served: Served, performer: MakePerformer, remote: bool
) -> None:
    one = performer(remote=remote)
    image = film()
    image.PixelData = image.PixelData[:100]
    site.receive([image])
    uid = served.create(workitem(image))
    steps(site, one)
    (job,) = site.jobs()
    assert run_job(job.id, "worker", site.job_context()) is JobState.FAILED
    steps(site, one, 2)
    assert served.state(uid) == "CANCELED"
    assert "Error" in reason(served, uid)[1]
    good = film(2)
    good.StudyInstanceUID = generate_uid(prefix=None)
    site.receive([good])
    second = served.create(workitem(good))
    steps(site, one)
    worked(site)
    deliver(site, refuse=True)
    steps(site, one, 2)
    assert served.state(second) == "CANCELED"
    assert "pacs takes no such objects" in reason(served, second)[1]


@pytest.mark.parametrize("routed", [True, False], ids=["sent by the PACS", "fetched for the workitem"])
def test_what_was_ordered_of_images_that_are_corrected_meanwhile_is_done_of_the_corrected_ones(
    site: Site, served: Served, performer: MakePerformer, routed: bool
) -> None:
    image = film()
    site.receive([image], routed=routed, released=False)
    uid, one = served.create(workitem(image)), performer()
    steps(site, one)
    worked(site)
    correct(site, image, routed=routed, PatientID="P-77")
    steps(site, one, 2)
    assert served.state(uid) == "IN PROGRESS"
    former, anew = site.jobs()
    assert (former.state, anew.state, anew.revision) == (JobState.SUPERSEDED, JobState.QUEUED, 2)
    correct(site, image, routed=routed, PatientID="P-78")  # nobody takes a second one into use without asking
    with site.catalog.begin() as session:
        contents.use_newest(session, str(image.StudyInstanceUID), site.clock(), actor="eva")
    site.router().step()
    steps(site, one, 2)
    assert len(site.jobs()) == 3
    worked(site)
    deliver(site)
    steps(site, one)
    assert served.state(uid) == "COMPLETED"
    with site.catalog.read() as session:
        named = {
            reference.ReferencedSOPInstanceUID
            for output in told(served, uid).OutputInformationSequence
            for reference in output.ReferencedSOPSequence
        }
        in_force = select(ResultRow.sop_instance_uid).where(~ResultRow.superseded)
        assert named == set(session.scalars(in_force))
        assert named


def test_images_that_are_corrected_out_of_their_route_give_the_workitem_back_with_the_clause(
    site: Site, served: Served, performer: MakePerformer
) -> None:
    image = film()
    site.receive([image], routed=False, released=False)
    uid, one = served.create(workitem(image)), performer()
    steps(site, one)
    correct(site, image, routed=False, PatientID="P-77", Modality="OT")
    steps(site, one, 2)
    assert served.state(uid) == "CANCELED"
    assert "no series of the workitem" in reason(served, uid)[1]
    assert [job.state for job in site.jobs()] == [JobState.SUPERSEDED]


def test_a_request_to_cancel_stops_the_job(site: Site, served: Served, performer: MakePerformer) -> None:
    image = film()
    site.receive([image])
    uid, one = served.create(workitem(image)), performer()
    steps(site, one)
    assert served.send("POST", f"/workitems/{uid}/cancelrequest").status_code == 202
    steps(site, one, 2)
    assert served.state(uid) == "CANCELED"
    assert reason(served, uid) == ("110500", "cancelled on request")
    (job,) = site.jobs()
    assert job.state is JobState.CANCELLED


def test_a_job_made_after_the_clock_was_set_back_is_stopped_with_its_workitem(
    site: Site, served: Served, performer: MakePerformer
) -> None:
    """It was entered as an hour older than the workitem that it was made for, and ran on."""
    image = film()
    site.receive([image])
    uid, one = served.create(workitem(image)), performer()
    make_jobs = one.make_jobs

    def later(route: str, order: Order) -> list[str]:
        site.clock.tick(-3600)
        return make_jobs(route, order)

    steps(site, replace(one, make_jobs=later))
    assert served.send("POST", f"/workitems/{uid}/cancelrequest").status_code == 202
    with site.catalog.begin() as session:
        clock_steps.moved(session, timedelta(hours=1), site.clock())
    steps(site, one, 2)
    assert served.state(uid) == "CANCELED"
    assert [job.state for job in site.jobs()] == [JobState.CANCELLED]


def test_a_job_that_was_there_before_the_clock_was_set_back_is_not_stopped_with_a_later_workitem(
    site: Site, served: Served, performer: MakePerformer
) -> None:
    """It was entered as an hour younger than the workitem, and was taken for one of its own."""
    image = film()
    site.receive([image])
    served.create(workitem(image))
    one = performer()
    steps(site, one)
    (before,) = site.jobs()
    site.clock.tick(-3600)
    with site.catalog.begin() as session:
        clock_steps.moved(session, timedelta(hours=1), site.clock())
    withdrawn = served.create(workitem(image, whole_series=True))
    steps(site, one)
    assert served.send("POST", f"/workitems/{withdrawn}/cancelrequest").status_code == 202
    steps(site, one, 2)
    assert served.state(withdrawn) == "CANCELED"
    assert [(job.id, job.state) for job in site.jobs()] == [(before.id, JobState.QUEUED)]


def test_a_workitem_whose_clock_was_set_back_does_not_end_before_it_started(
    site: Site, served: Served, performer: MakePerformer
) -> None:
    image = film()
    site.receive([image])
    uid, one = served.create(workitem(image)), performer()
    steps(site, one)
    worked(site)
    deliver(site)
    site.clock.tick(-3600)
    with site.catalog.begin() as session:
        clock_steps.moved(session, timedelta(hours=1), site.clock())
    steps(site, one, 2)
    assert served.state(uid) == "COMPLETED"
    done = told(served, uid)
    assert done.PerformedProcedureStepStartDateTime <= done.PerformedProcedureStepEndDateTime


def test_the_same_order_twice_is_one_job_and_both_are_completed(
    site: Site, served: Served, performer: MakePerformer
) -> None:
    image = film()
    site.receive([image])
    first, second = served.create(workitem(image)), served.create(workitem(image, whole_series=True))
    one = performer()
    steps(site, one)
    worked(site)
    deliver(site)
    steps(site, one, 2)
    assert len(site.jobs()) == 1
    assert served.state(first) == served.state(second) == "COMPLETED"
    assert len(told(served, second).OutputInformationSequence) == 2


class Killed(BaseException):
    """The process is gone."""


class Dying:
    """A worklist whose user is killed before or after its n-th call."""

    def __init__(self, worklist: Any, at: int, *, before: bool) -> None:
        self._worklist, self._at, self._before = worklist, at, before
        self.calls = itertools.count(1)
        self.dead = False

    @property
    def name(self) -> str:
        return str(self._worklist.name)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._worklist, name)

        def call(*arguments: Any) -> Any:
            number = next(self.calls)
            if number == self._at and self._before:
                self.dead = True
                raise Killed
            result = method(*arguments)
            if number == self._at:
                self.dead = True
                raise Killed
            return result

        return call


@pytest.mark.parametrize("remote", [False, True], ids=["own worklist", "by HTTP"])
@pytest.mark.parametrize("before", [False, True], ids=["after the call", "before the call"])
def test_a_performer_killed_at_any_call_is_taken_over_and_the_workitem_done_once(
    site: Site, served: Served, performer: MakePerformer, remote: bool, before: bool
) -> None:
    image = film()
    site.receive([image])
    survived = 0
    for at in itertools.count(1):
        uid = served.create(workitem(image))
        first = performer(remote=remote, owner=f"first {at}")
        (source,) = first.sources().values()
        dying = Dying(source.worklist, at, before=before)
        first.sources = lambda dying=dying, source=source: {source.worklist.name: replace(source, worklist=dying)}
        try:
            for _ in range(4):
                first.step()
                worked(site)
                deliver(site)
                site.clock.tick(20)
        except Killed:
            survived += 1
        site.clock.tick(workitems.LEASE.total_seconds() + 1)
        second = performer(remote=remote, owner=f"second {at}")
        for _ in range(4):
            steps(site, second)
            worked(site)
            deliver(site)
        assert served.state(uid) == "COMPLETED", f"killed at call {at}"
        assert len(told(served, uid).OutputInformationSequence) == 2
        with site.catalog.read() as session:
            row = workitems.get(session, source.worklist.name, uid)
            assert row is not None
            assert row.stage is WorkitemStage.CLOSED
        if not dying.dead:
            break
    assert survived >= 5
    assert len(site.jobs()) == 1


def test_neither_events_nor_log_name_the_patient(
    site: Site, served: Served, performer: MakePerformer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="whyray")
    image = film()
    site.receive([image])
    served.create(workitem(image))
    served.create(workitem(film(7)))
    for remote in (False, True):
        steps(site, performer(remote=remote), 3)
    with site.catalog.read() as session:
        said = " ".join(event.message for event in session.scalars(select(Event)))
    for secret in (PATIENT, "P-4711"):
        assert secret not in caplog.text
        assert secret not in said
