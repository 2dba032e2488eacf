"""Films, notes of a PACS that reject some of them, and what a site under test makes of both."""

from __future__ import annotations

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid
from sqlalchemy import select

from catalog.rows import result
from site_under_test import Site, film
from whyray.app.context import Context
from whyray.app.orders import OrderedJobs
from whyray.app.retention import Retention
from whyray.catalog import (
    Event,
    Job,
    job_inputs,
    jobs,
)
from whyray.worklist import Input, Order

QUALITY = Code("113001", "DCM", "Rejected for Quality Reasons")
SAFETY = Code("113037", "DCM", "Rejected for Patient Safety Reasons")
WORKLIST = Code("113038", "DCM", "Incorrect Modality Worklist Entry")
EXPIRED = Code("113039", "DCM", "Data Retention Policy Expired")
OF_INTEREST = Code("113000", "DCM", "Of Interest")


def films(*numbers: int, study: str = "hand", series: str = "hand") -> list[Dataset]:
    return [film(number, study=study, series=series) for number in numbers]


def note(*rejected: Dataset, title: Code = SAFETY) -> Dataset:
    """A key object selection as a PACS makes it."""
    made: Dataset = KeyObjectSelectionDocument(
        evidence=rejected,
        content=KeyObjectSelection(document_title=title, referenced_objects=rejected),
        series_instance_uid=generate_uid(),
        series_number=99,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="PACS",
        institution_name="Hospital",
    )
    return made


def long_note(image: Dataset, count: int) -> Dataset:
    """A note that refers to so many instances, this one the last of them."""
    made = note(image)
    (own,) = made.CurrentRequestedProcedureEvidenceSequence
    references = own.ReferencedSeriesSequence[0].ReferencedSOPSequence
    last = references.pop()
    for number in range(count - 1):
        reference = Dataset()
        reference.ReferencedSOPClassUID = last.ReferencedSOPClassUID
        reference.ReferencedSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.{10**30 + number}"
        references.append(reference)
    references.append(last)
    return made


def events(site: Site) -> list[Event]:
    with site.catalog.read() as session:
        of_kind = select(Event).where(Event.kind.in_(("instance.rejected", "rejection.refused", "study.unread")))
        return list(session.scalars(of_kind.order_by(Event.id)))


def taken(site: Site, job: Job) -> set[str]:
    with site.catalog.read() as session:
        found = job_inputs.instances(session, session.get_one(Job, job.id))
    return {instance.sop_instance_uid for group in found.values() for instance in group}


def run(site: Site, job: Job, *names: str) -> None:
    with site.catalog.begin() as session:
        jobs.claim(session, job.id, "worker", site.clock())
        jobs.finish(session, job.id, "worker", [result(name, "pacs", "archive") for name in names], [], site.clock())


def uids(*instances: Dataset) -> set[str]:
    return {str(instance.SOPInstanceUID) for instance in instances}


def ordered(site: Site, *images: Dataset) -> list[str]:
    """The jobs of a workitem on the series of these images."""
    context = Context(site.folder / "whyray.yaml", None, site.catalog, site.storage)  # type: ignore[arg-type]
    make_jobs = OrderedJobs(
        site.catalog, lambda: site.config, context.read_header, lambda name: f"{name.split('@')[0]}@1.0.0"
    )
    series = dict.fromkeys(str(image.SeriesInstanceUID) for image in images)
    inputs = tuple(Input(str(images[0].StudyInstanceUID), uid, ()) for uid in series)
    return make_jobs("films", Order("1.2.3", None, True, 1, inputs))


def retention(site: Site) -> Retention:
    return Retention(site.catalog, site.storage, lambda: site.config)


def days(number: float) -> float:
    return number * 24 * 3600
