"""A study whose instances name two patients: nothing is made of it under one of them, and an administrator is told."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from pydicom import Dataset
from pydicom.uid import SegmentationStorage
from sqlalchemy import select

from site_under_test import Site, film
from whyray.base.errors import PatientMismatch, uncorrectable_codes
from whyray.catalog import Event, Job, JobState, ResultRow, contents
from whyray.catalog.attention import attention
from whyray.catalog.attention_item import Attention
from whyray.catalog.shortages import Disks
from whyray.imaging import read_images
from whyray.jobs.worker import run_job


def of_another_patient(image: Dataset) -> Dataset:
    image.PatientName, image.PatientID = "ROE^RICHARD", "OTHER-2"
    return image


def late(site: Site, *instances: Dataset) -> Job:
    """The job that instances make which come after the study was answered, done with."""
    site.clock.tick(60)
    site.receive(instances)
    site.router().step()
    job = site.jobs()[-1]
    run_job(job.id, "worker-1", site.job_context())
    return site.jobs()[-1]


def answered(site: Site, *instances: Dataset) -> Job:
    site.receive(instances)
    site.router().step()
    (job,) = site.jobs()
    assert run_job(job.id, "worker-1", site.job_context()) is JobState.DONE
    return job


def attentions(site: Site) -> tuple[Attention, ...]:
    with site.catalog.read() as session:
        told = attention(session, site.clock(), destinations=("pacs", "archive"), disks=Disks())
    return tuple(item for item in told if item.kind not in ("jobs.no-worker", "deliveries.no-role"))


def results_of(site: Site, job: Job) -> list[ResultRow]:
    with site.catalog.read() as session:
        return list(session.scalars(select(ResultRow).where(ResultRow.job_id == job.id)))


def test_images_that_come_late_under_another_patient_fail_the_job_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answered(site, film(1))
    job = late(site, of_another_patient(film(2)))
    assert (job.state, job.error_code, job.attempt) == (JobState.FAILED, "PatientMismatch", 1)
    assert results_of(site, job) == []
    message = job.error_message or ""
    assert message.endswith("its instances name more than one patient: they differ in PatientID, PatientName")
    assert "PACS" in (job.error_advice or "")
    (told,) = attentions(site)
    assert (told.severity, "PatientMismatch" in told.title, told.message) == ("error", True, message)
    with site.catalog.read() as session:
        everything = "".join(session.scalars(select(Event.message))) + caplog.text + repr(told)
    assert not [secret for secret in ("ROE", "RICHARD", "OTHER-2", "SYNTH-1", "Doe") if secret in everything]


def test_nobody_is_offered_to_try_it_again_as_it_is() -> None:
    assert not PatientMismatch.retriable
    assert "PatientMismatch" in uncorrectable_codes()


def in_another_series(image: Dataset) -> Dataset:
    image.SeriesInstanceUID = f"{image.SeriesInstanceUID}.9"
    return of_another_patient(image)


def that_has_no_pixels(image: Dataset) -> Dataset:
    del image.PixelData
    return of_another_patient(image)


@pytest.mark.parametrize("changed", [in_another_series, that_has_no_pixels])
def test_it_is_noticed_across_series_and_of_images_that_give_no_picture(
    site: Site, changed: Callable[[Dataset], Dataset]
) -> None:
    site.receive([film(1), changed(film(2))])
    site.router().step()
    (job,) = site.jobs()
    assert run_job(job.id, "worker-1", site.job_context()) is JobState.FAILED
    assert site.jobs()[0].error_code == "PatientMismatch"


def test_a_segmentation_of_another_patient_is_not_taken_for_the_anatomy_of_this_one(site: Site) -> None:
    segmentation = in_another_series(film(2))
    segmentation.SOPClassUID = segmentation.file_meta.MediaStorageSOPClassUID = SegmentationStorage
    segmentation.Modality = "SEG"
    site.receive([film(1), segmentation])
    site.router().step()
    (job,) = site.jobs()
    assert run_job(job.id, "worker-1", site.job_context()) is JobState.FAILED
    assert site.jobs()[0].error_code == "PatientMismatch"


def test_series_that_write_one_patient_in_two_ways_are_one_study(site: Site) -> None:
    second = film(2)
    second.PatientName, second.IssuerOfPatientID, second.PatientBirthDate = "DOE^JANE^^", "HOSPITAL", ""
    answered(site, film(1), second)


def test_the_corrected_images_are_processed_when_they_come_again(site: Site) -> None:
    answered(site, film(1))
    assert late(site, of_another_patient(film(2))).state is JobState.FAILED
    site.receive([film(2)])
    with site.catalog.begin() as session:
        contents.use_newest(session, str(film(2).StudyInstanceUID), site.clock(), actor="admin", anyway=True)
    site.router().step()
    job = site.jobs()[-1]
    assert run_job(job.id, "worker-1", site.job_context()) is JobState.DONE
    assert job.revision == 3


def test_files_of_one_study_name_one_patient_and_those_of_several_studies_need_not() -> None:
    other = of_another_patient(film(2))
    with pytest.raises(PatientMismatch, match=r"differ in PatientID, PatientName$"):
        read_images([film(1), other]).of_one_patient()
    other.StudyInstanceUID = f"{other.StudyInstanceUID}.9"
    assert len(read_images([film(1), other]).of_one_patient().images) == 2
