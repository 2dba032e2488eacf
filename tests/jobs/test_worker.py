from __future__ import annotations

import re
import threading
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from sqlalchemy import select

from results.answers import KINDS_OF_A_MAP
from site_under_test import ROUTE, Site, film
from whyray.catalog import Delivery, DeliveryState, Event, Job, JobState, ResultRow, installation, jobs
from whyray.jobs import attempt as attempts
from whyray.jobs import worker
from whyray.jobs.device_turn import HandedBack
from whyray.jobs.worker import run_job
from whyray.results import EVERY_KIND, Answer


def queued(site: Site, **options: object) -> str:
    return queued_of(site, film(1, **options))


def rows(site: Site, table: type) -> list[object]:
    with site.catalog.read() as session:
        return list(session.scalars(select(table)))


def test_a_job_leaves_its_results_and_a_delivery_of_each_to_each_destination(site: Site) -> None:
    job_id = queued(site)
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.DONE
    results = rows(site, ResultRow)
    assert sorted(result.kind for result in results) == ["pm", "sc", "sc", "seg", "sr"]
    assert len(rows(site, Delivery)) == 2 * len(results)
    (job,) = site.jobs()
    (finding,) = job.findings
    assert finding["present"]
    assert finding["explanations"][0]["quality"]["grade"] in ("green", "amber")
    for result in results:
        dataset = dcmread(site.storage.root / result.key)
        assert dataset.SOPInstanceUID == result.sop_instance_uid
        assert dataset.StudyInstanceUID == film().StudyInstanceUID
    pictures = [result.picture_key for result in results if result.kind == "sc"]
    assert len(pictures) == 2, "what was found, and the page of the finding"
    for picture in (*pictures, *(result.preview_key for result in results if result.kind == "sc")):
        assert (site.storage.root / picture).read_bytes().startswith(b"\x89PNG")


def test_a_job_that_is_done_says_where_its_time_went(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    job_id = queued(site)
    with caplog.at_level("INFO", logger="whyray"):
        run_job(job_id, "worker-1", site.job_context())
    (event,) = [event for event in rows(site, Event) if event.kind == "job.done"]
    assert event.job_id == job_id
    assert re.fullmatch(r"done in \d+\.\d\d s: ([a-z][\w:\- ]+ \d+\.\d\d, ){8}the rest \d+\.\d\d", event.message, re.I)
    (line,) = [record.getMessage() for record in caplog.records if "done" in record.getMessage()]
    assert line == f"job.done: job {job_id}: {event.message}", "the log says it once"


def test_a_route_gets_every_kind_of_result_that_it_asks_for(site: Site) -> None:
    site.configure(routes=[{**ROUTE, "send": {"to": ["pacs"], "as": list(EVERY_KIND)}}])
    assert run_job(queued(site), "worker-1", site.job_context()) is JobState.DONE
    results = rows(site, ResultRow)
    assert {result.kind for result in results} == set(KINDS_OF_A_MAP)
    assert {row.result_id for row in rows(site, Delivery)} == {row.id for row in results}
    for result in results:
        assert dcmread(site.storage.root / result.key).SOPClassUID == result.sop_class_uid


def test_a_report_names_the_installation_that_the_catalog_knows(site: Site) -> None:
    run_job(queued(site), "worker-1", site.job_context())
    (report,) = [dcmread(site.storage.root / result.key) for result in rows(site, ResultRow) if result.kind == "sr"]
    with site.catalog.read() as session:
        uid = installation.device_uid(session)
    assert uid in [content_item.get("UID") for content_item in report.ContentSequence]


def test_a_doubled_message_does_nothing(site: Site) -> None:
    job_id = queued(site)
    run_job(job_id, "worker-1", site.job_context())
    assert run_job(job_id, "worker-2", site.job_context()) is None
    assert len(rows(site, ResultRow)) == 5


def test_doing_a_job_twice_makes_the_same_objects_once(site: Site) -> None:
    job_id = queued(site)
    run_job(job_id, "worker-1", site.job_context())
    before = {result.sop_instance_uid: result.sha256 for result in rows(site, ResultRow)}
    with site.catalog.begin() as session:
        jobs.retry(session, job_id, site.clock(), actor="admin")
    assert run_job(job_id, "worker-2", site.job_context()) is JobState.DONE
    assert {result.sop_instance_uid: result.sha256 for result in rows(site, ResultRow)} == before


def test_a_job_that_answers_otherwise_when_it_runs_again_leaves_one_set_of_results_in_force(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine whose sums come out otherwise in the last bit."""
    job_id = queued(site)
    run_job(job_id, "worker-1", site.job_context())
    first = rows(site, ResultRow)
    plain = worker.answer_images

    def a_little_different(*arguments: object, **options: object) -> list[Answer]:
        answers = plain(*arguments, **options)  # type: ignore[arg-type]
        return [
            replace(
                answer,
                findings=tuple(
                    replace(finding, probability=float(np.nextafter(finding.probability, 0)))
                    for finding in answer.findings
                ),
            )
            for answer in answers
        ]

    monkeypatch.setattr(worker, "answer_images", a_little_different)
    again(site, job_id)
    superseded = [result.sop_instance_uid for result in rows(site, ResultRow) if result.superseded]
    assert superseded == [result.sop_instance_uid for result in first]
    in_force = [result for result in rows(site, ResultRow) if not result.superseded]
    assert len(in_force) == len(first)
    (report,) = [dcmread(site.storage.root / result.key) for result in in_force if result.kind == "sr"]
    named = [
        item.ReferencedSOPInstanceUID
        for study in report.PredecessorDocumentsSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]
    assert set(named) <= set(superseded)
    assert named
    (event,) = [event for event in rows(site, Event) if event.kind == "job.results-replaced"]
    assert event.job_id == job_id
    for group, said in ((first, False), (in_force, True)):
        descriptions = [str(dcmread(site.storage.root / one.key).SeriesDescription) for one in group]
        assert {text.endswith("rev 1.2, replaces 1") for text in descriptions} == {said}, descriptions

    again(site, job_id)
    assert [result.sop_instance_uid for result in rows(site, ResultRow) if not result.superseded] == [
        result.sop_instance_uid for result in in_force
    ], "a third run that answers as the second makes the second's objects"

    monkeypatch.setattr(worker, "answer_images", plain)
    again(site, job_id)
    last = [result for result in rows(site, ResultRow) if not result.superseded]
    assert len(last) == len(first)
    assert not {result.sop_instance_uid for result in last} & {
        result.sop_instance_uid for result in (*first, *in_force)
    }


def test_a_job_whose_route_asks_for_other_kinds_when_it_runs_again_leaves_these_alone_in_force(site: Site) -> None:
    job_id = queued(site)
    run_job(job_id, "worker-1", site.job_context())
    first = rows(site, ResultRow)
    site.configure(routes=[{**ROUTE, "send": {"to": ["pacs"], "as": ["sc"]}}])
    again(site, job_id)
    assert {result.kind for result in rows(site, ResultRow) if not result.superseded} == {"sc"}
    assert {result.sop_instance_uid for result in rows(site, ResultRow) if result.superseded} == {
        result.sop_instance_uid for result in first
    }
    with site.catalog.read() as session:
        sent = session.execute(select(ResultRow.superseded, Delivery.state).join(Delivery)).all()
    assert set(sent) == {(True, DeliveryState.CANCELLED), (False, DeliveryState.QUEUED)}
    (event,) = [event for event in rows(site, Event) if event.kind == "job.results-replaced"]
    assert (
        event.message
        == f"{len(first)} results of an earlier run were replaced, {2 * len(first)} deliveries of them cancelled"
    )
    assert "answer" not in event.message, "that is equal"


def again(site: Site, job_id: str) -> None:
    with site.catalog.begin() as session:
        jobs.retry(session, job_id, site.clock(), actor="admin")
    assert run_job(job_id, "worker-2", site.job_context()) is JobState.DONE


def test_a_job_whose_worker_died_is_taken_over_when_its_lease_runs_out(site: Site) -> None:
    job_id = queued(site)
    with site.catalog.begin() as session:
        assert jobs.claim(session, job_id, "dead worker", site.clock()) is not None
    assert run_job(job_id, "worker-2", site.job_context()) is None
    site.clock.tick(jobs.LEASE.total_seconds())
    assert run_job(job_id, "worker-2", site.job_context()) is JobState.DONE


def report_beside(image: Dataset) -> Dataset:
    """A structured report in the series of an image, as some modalities send them."""
    report = deepcopy(image)
    for name in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(report, name)
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = "2.25.4711"
    return report


def test_a_report_beside_the_images_is_passed_over_and_is_no_fault(site: Site) -> None:
    image = film(1)
    site.receive([image, report_beside(image)])
    site.router().step()
    (job,) = site.jobs()
    assert run_job(job.id, "worker-1", site.job_context()) is JobState.DONE
    told = {event.kind: event for event in rows(site, Event)}
    assert "job.partial" not in told
    assert told["job.passed-over"].message == "passed over, since it is no image: Basic Text SR"
    assert told["job.passed-over"].severity == "info"


def test_a_job_of_reports_alone_fails_by_saying_what_there_is(site: Site) -> None:
    site.receive([report_beside(film(1))])
    site.router().step()
    (job,) = site.jobs()
    assert run_job(job.id, "worker-1", site.job_context()) is JobState.FAILED
    (job,) = site.jobs()
    assert job.error_code == "ImageError"
    assert "found none in 1 instances: Basic Text SR" in (job.error_message or "")
    assert "route" in (job.error_advice or ""), "in the service, a route decides what comes"


def test_a_cancel_stops_the_work_at_its_next_step_and_delivers_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = queued(site)
    told = threading.Event()

    class Beat(attempts.Heartbeat):
        def progress(self, done: float, words: str) -> None:
            if not told.is_set():
                with site.catalog.begin() as session:
                    jobs.cancel(session, job_id, site.clock(), actor="admin")
                told.set()
            while self._said is None:
                self._end.wait(0.01)
            super().progress(done, words)

    monkeypatch.setattr(attempts, "Heartbeat", lambda *given, **options: Beat(*given, every=0.01, **options))
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.CANCELLED
    assert not rows(site, Delivery)


def test_a_job_that_runs_too_long_is_stopped_and_says_where_it_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = queued(site)

    class Late(attempts.Heartbeat):
        def progress(self, done: float, words: str) -> None:
            self._started -= 10_000
            super().progress(done, words)

    monkeypatch.setattr(attempts, "Heartbeat", Late)
    assert run_job(job_id, "worker-1", site.job_context()) is JobState.FAILED
    assert site.jobs()[0].error_code == "TimeLimit"


def next_revision(site: Site) -> Job:
    """The job that an instance makes which comes late, done."""
    site.clock.tick(60)
    site.receive([film(2)])
    site.router().step()
    job = site.jobs()[-1]
    assert run_job(job.id, "worker-1", site.job_context()) is JobState.DONE
    return job


def test_late_instances_make_a_new_revision_that_names_the_reports_that_it_replaces(site: Site) -> None:
    """And nothing else: Key Object Selections have SOP Classes beside those of reports, and are none."""
    site.configure(routes=[{**ROUTE, "send": {"to": ["pacs"], "as": ["sc", "sr", "ko"]}}])
    run_job(queued(site), "worker-1", site.job_context())
    second = next_revision(site)
    results = rows(site, ResultRow)
    assert {result.superseded for result in results if result.job_id != second.id} == {True}
    reports = [result for result in results if result.job_id == second.id and result.kind == "sr"]
    assert len(reports) == 2, "one for each image"
    for report in reports:
        dataset = dcmread(site.storage.root / report.key)
        replaced = {
            item.ReferencedSOPInstanceUID
            for study in dataset.PredecessorDocumentsSequence
            for series in study.ReferencedSeriesSequence
            for item in series.ReferencedSOPSequence
        }
        earlier = [result for result in results if result.job_id != second.id and result.kind == "sr"]
        assert replaced == {result.sop_instance_uid for result in earlier}
    assert [result for result in results if result.job_id != second.id and result.kind == "ko"]


def test_a_new_revision_says_which_run_of_the_one_before_it_replaces(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = queued(site)
    run_job(job_id, "worker-1", site.job_context())
    with monkeypatch.context() as patch:
        plain = worker.answer_images
        patch.setattr(
            worker,
            "answer_images",
            lambda *given, **options: [replace(answer, scope=None) for answer in plain(*given, **options)],
        )
        again(site, job_id)
    second = next_revision(site)
    results = rows(site, ResultRow)
    runs = {result.replaced_at for result in results if result.job_id == job_id}
    assert len(runs) == 2, "one set was replaced by a run, the other by the revision"
    for result in results:
        if result.job_id == second.id:
            assert str(dcmread(site.storage.root / result.key).SeriesDescription).endswith("rev 2, replaces 1.2")


def test_a_dry_run_makes_results_and_sends_nothing(site: Site) -> None:
    site.configure(routes=[ROUTE | {"dry_run": True}])
    run_job(queued(site), "worker-1", site.job_context())
    assert rows(site, ResultRow)
    assert not rows(site, Delivery)


def test_a_series_that_cannot_be_used_is_named_though_the_rest_gives_an_answer(site: Site) -> None:
    broken = film(2)
    del broken.PixelData
    site.receive([film(1), broken])
    site.router().step()
    assert run_job(site.jobs()[0].id, "worker-1", site.job_context()) is JobState.DONE
    (event,) = [event for event in rows(site, Event) if event.kind == "job.partial"]
    assert "1 instances not used" in event.message


def test_a_series_that_cannot_be_used_is_named_once_though_the_job_is_handed_back(site: Site) -> None:
    def taken_back() -> AbstractContextManager[None]:
        raise HandedBack("a more urgent job")

    broken, image = film(2), film(1)
    del broken.PixelData
    site.receive([image, broken, report_beside(image)])
    site.router().step()
    (job,), job_context = site.jobs(), site.job_context()
    work = partial(worker.work_on, job_context, device=taken_back)
    assert (
        attempts.attempt(job.id, "worker-1", job_context.catalog, job_context.config, job_context.rng, work)
        is JobState.QUEUED
    )
    assert run_job(job.id, "worker-1", job_context) is JobState.DONE
    told = [event.kind for event in rows(site, Event)]
    assert (told.count("job.partial"), told.count("job.passed-over")) == (1, 1)


def test_what_can_not_be_used_is_named_where_nothing_else_is_there(site: Site) -> None:
    broken = film(1)
    del broken.PixelData
    assert run_job(queued_of(site, broken), "worker-1", site.job_context()) is JobState.FAILED
    assert [event.kind for event in rows(site, Event)].count("job.partial") == 1


def queued_of(site: Site, image: Dataset) -> str:
    site.receive([image])
    site.router().step()
    return site.jobs()[-1].id
