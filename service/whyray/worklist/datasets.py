"""What a performer tells of a workitem: progress, what was done and where the results are, or why it was not done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pydicom import Dataset

from whyray.base.errors import ImageError, InputChanged, WhyRayError, WorkitemInvalid
from whyray.worklist.workitem import date_time

_DISCONTINUED = ("110513", "Discontinued for unspecified reason")
_CANCELLED = ("110500", "Doctor canceled procedure")
_REASONS: tuple[tuple[type[WhyRayError], tuple[str, str]], ...] = (
    (InputChanged, ("110523", "Object Set incomplete")),
    (ImageError, ("110521", "Objects incorrectly formatted")),
    (WorkitemInvalid, ("110514", "Incorrect worklist entry selected")),
)
"""CID 9300 (PS3.16)."""
_LONGEST_TEXT = 1024
_LONGEST_REASON = 10240


@dataclass(frozen=True)
class Output:
    """Results of one series. `retrieve_from` is an AE title, or the URL of the series where it begins with http."""

    study_uid: str
    series_uid: str
    instances: tuple[tuple[str, str], ...]
    """(SOP class, SOP instance) of each."""
    retrieve_from: str


def progress(share: float, words: str) -> Dataset:
    """How far the work is; `share` in 0 to 1."""
    item = Dataset()
    item.ProcedureStepProgress = f"{100 * share:.0f}"
    item.ProcedureStepProgressDescription = words[:_LONGEST_TEXT]
    return _in("ProcedureStepProgressInformationSequence", item)


def discontinued(reason: str, at: datetime, *, error: WhyRayError | None = None) -> Dataset:
    """Why the work was not done; without an `error`, somebody asked for that."""
    value, meaning = _CANCELLED if error is None else _DISCONTINUED
    for kind, code in _REASONS:
        if isinstance(error, kind):
            value, meaning = code
            break
    item = Dataset()
    item.ProcedureStepCancellationDateTime = date_time(at)
    item.ReasonForCancellation = reason[:_LONGEST_REASON]
    item.ProcedureStepDiscontinuationReasonCodeSequence = [_code(value, "DCM", meaning)]
    return _in("ProcedureStepProgressInformationSequence", item)


def performed(workitem: Dataset, station: str, start: datetime, end: datetime, outputs: Iterable[Output]) -> Dataset:
    """What was done, by the station of this AE title, from when to when, and what came out."""
    item = Dataset()
    item.PerformedStationNameCodeSequence = [_code(station, "99WHYRAY", station)]
    item.PerformedProcedureStepStartDateTime = date_time(start)
    item.PerformedProcedureStepEndDateTime = date_time(end)
    item.PerformedProcedureStepDescription = "Inference and explanation"
    item.PerformedWorkitemCodeSequence = list(workitem.get("ScheduledWorkitemCodeSequence") or [])
    item.OutputInformationSequence = [_output(output) for output in outputs]
    return _in("UnifiedProcedureStepPerformedProcedureSequence", item)


def _output(output: Output) -> Dataset:
    """One item of Output Information (PS3.3 table 10.3-1, Referenced Instances and Access)."""
    item = Dataset()
    item.TypeOfInstances = "DICOM"
    item.StudyInstanceUID, item.SeriesInstanceUID = output.study_uid, output.series_uid
    item.ReferencedSOPSequence = []
    for sop_class, instance in output.instances:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, instance
        item.ReferencedSOPSequence.append(reference)
    where = Dataset()
    if output.retrieve_from.startswith("http"):
        where.RetrieveURL = output.retrieve_from
        item.WADORSRetrievalSequence = [where]
    else:
        where.RetrieveAETitle = output.retrieve_from
        item.DICOMRetrievalSequence = [where]
    return item


def _in(keyword: str, item: Dataset) -> Dataset:
    made = Dataset()
    setattr(made, keyword, [item])
    return made


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
