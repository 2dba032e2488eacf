"""The content of an Instance Availability Notification: PS3.4 table R.3.2-1, PS3.3 section C.4.23."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import InstanceAvailabilityNotification

from whyray.catalog import ResultRow
from whyray.config import Destination, DicomDestination, Informed
from whyray.delivery.association import context
from whyray.delivery.syntaxes import UNCOMPRESSED


def announcement_context() -> PresentationContext:
    """Instance Availability Notification, to be proposed."""
    return context(InstanceAvailabilityNotification, *UNCOMPRESSED)


def announcement(results: Sequence[ResultRow], destination: Destination, informed: Informed) -> Dataset:
    """The attribute list that says: these results, of one study, are online at the destination.

    Attributes that the table does not list are forbidden, lest they name the patient or the procedure (PS3.4 section
    R.3.2.1.2). Referenced Performed Procedure Step Sequence is empty, as its type 2 allows: WhyRay performs none.
    """
    study_uid = results[0].job.study.study_instance_uid
    series: dict[str, list[ResultRow]] = {}
    for result in results:
        series.setdefault(result.series_instance_uid, []).append(result)
    content = Dataset()
    content.ReferencedPerformedProcedureStepSequence = []
    content.StudyInstanceUID = study_uid
    content.ReferencedSeriesSequence = [
        _series(uid, members, study_uid, destination, informed) for uid, members in series.items()
    ]
    return content


def _series(
    uid: str, results: Sequence[ResultRow], study_uid: str, destination: Destination, informed: Informed
) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = uid
    item.ReferencedSOPSequence = [_instance(result, study_uid, destination, informed) for result in results]
    return item


def _instance(result: ResultRow, study_uid: str, destination: Destination, informed: Informed) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = result.sop_class_uid
    item.ReferencedSOPInstanceUID = result.sop_instance_uid
    item.InstanceAvailability = "ONLINE"
    if isinstance(destination, DicomDestination):
        item.RetrieveAETitle = informed.retrieve_ae_title or destination.ae_title
    else:
        item.RetrieveAETitle = informed.retrieve_ae_title
        series = f"{destination.url}/studies/{study_uid}/series/{result.series_instance_uid}"
        item.RetrieveURL = f"{series}/instances/{result.sop_instance_uid}"
    return item
