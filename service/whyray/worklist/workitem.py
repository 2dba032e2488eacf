"""Workitems as data sets (PS3.3 B.26.2, PS3.4 CC.2.5): what one asks for, and what has to be in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword

from whyray.base.errors import WorkitemInvalid
from whyray.base.uids import is_uid
from whyray.catalog import WorkitemState
from whyray.storage import Storage

_AT_CREATION = (
    "ScheduledProcedureStepPriority",
    "ProcedureStepLabel",
    "ScheduledProcedureStepStartDateTime",
    "InputReadinessState",
)
"""Attributes of type 1 at creation, next to those that the worklist fills in by itself."""
_TERMS = {
    "ScheduledProcedureStepPriority": ("HIGH", "MEDIUM", "LOW"),
    "InputReadinessState": ("READY", "INCOMPLETE", "UNAVAILABLE"),
}
_WHEN_COMPLETED = (
    "PerformedStationNameCodeSequence",
    "PerformedProcedureStepStartDateTime",
    "PerformedWorkitemCodeSequence",
    "PerformedProcedureStepEndDateTime",
    "OutputInformationSequence",
)
_WHEN_CANCELED = ("ProcedureStepCancellationDateTime", "ProcedureStepDiscontinuationReasonCodeSequence")
_LONGEST_CODE = 128
_PRIORITIES = {"HIGH": 0, "MEDIUM": 1, "LOW": 2}


@dataclass(frozen=True)
class Code:
    """A coded concept by value and scheme."""

    value: str
    scheme: str

    def __str__(self) -> str:
        return f"{self.value}^{self.scheme}"


@dataclass(frozen=True)
class Input:
    """Images of one series that a workitem names; no instances means the whole series."""

    study_uid: str
    series_uid: str
    instance_uids: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """What a workitem asks for. `priority`: 0 high, 1 medium, 2 low."""

    uid: str
    code: Code | None
    ready: bool
    priority: int
    inputs: tuple[Input, ...]

    @property
    def study_uid(self) -> str | None:
        """The study of its images; None where it names none, or several."""
        studies = {wanted.study_uid for wanted in self.inputs}
        return studies.pop() if len(studies) == 1 else None


def read_order(workitem: Dataset) -> Order:
    """What a workitem asks for.

    Raises
    ------
    WorkitemInvalid
        If it or one of its inputs has no UID, its code is longer than the catalog takes, or something else stands where
        the standard has a sequence.
    """
    check_sequences(workitem)
    uid = uid_of(workitem.get("SOPInstanceUID"), "SOP Instance UID")
    codes = [code_of(code) for code in workitem.get("ScheduledWorkitemCodeSequence") or []]
    if codes and (len(str(codes[0])) > _LONGEST_CODE or not str(codes[0]).isprintable()):
        raise WorkitemInvalid(
            f"the Scheduled Workitem Code is longer than {_LONGEST_CODE} characters, or not printable"
        )
    return Order(
        uid=uid,
        code=codes[0] if codes else None,
        ready=workitem.get("InputReadinessState") == "READY",
        priority=_PRIORITIES.get(str(workitem.get("ScheduledProcedureStepPriority")), 1),
        inputs=tuple(_input(wanted) for wanted in workitem.get("InputInformationSequence") or []),
    )


def check_sequences(workitem: Dataset) -> None:
    """Refuse a data set in which something else stands where PS3.6 has a sequence, or a sequence where it has none.

    Raises
    ------
    WorkitemInvalid
        Naming the attribute.
    """
    for element in workitem.iterall():
        if element.keyword and (element.VR == "SQ") != (dictionary_VR(element.tag) == "SQ"):
            raise WorkitemInvalid(f"{element.keyword} has another value representation than the standard gives it")


def _input(item: Dataset) -> Input:
    instances = item.get("ReferencedSOPSequence") or []
    return Input(
        uid_of(item.get("StudyInstanceUID"), "Study Instance UID of an input"),
        uid_of(item.get("SeriesInstanceUID"), "Series Instance UID of an input"),
        tuple(uid_of(instance.get("ReferencedSOPInstanceUID"), "instance of an input") for instance in instances),
    )


def code_of(item: Dataset) -> Code:
    """The code of a sequence item, whichever attribute carries its value (PS3.3 table 8.8-1)."""
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue") or ""
    return Code(str(value), str(item.get("CodingSchemeDesignator") or ""))


def uid_of(value: object, what: str) -> str:
    """A UID as text.

    Raises
    ------
    WorkitemInvalid
        If it is none.
    """
    text = str(value or "")
    if not is_uid(text):
        raise WorkitemInvalid(f"the {what} is missing or no UID")
    return text


def check_new(workitem: Dataset) -> None:
    """Refuse what can't be created.

    Raises
    ------
    WorkitemInvalid
        If an attribute of type 1 is missing, or a state or Transaction UID stands there already.
    """
    missing = [keyword for keyword in _AT_CREATION if not workitem.get(keyword)]
    if missing:
        raise WorkitemInvalid(f"the workitem lacks {', '.join(missing)}")
    for keyword, terms in _TERMS.items():
        if workitem.get(keyword) not in terms:
            raise WorkitemInvalid(f"{keyword} is one of {', '.join(terms)}")
    if workitem.get("TransactionUID"):
        raise WorkitemInvalid("a new workitem has no Transaction UID: nobody has claimed it")
    if str(workitem.get("ProcedureStepState") or WorkitemState.SCHEDULED) != WorkitemState.SCHEDULED:
        raise WorkitemInvalid("a new workitem is SCHEDULED")
    read_order(workitem)


def check_final(workitem: Dataset, state: WorkitemState) -> None:
    """Refuse to close a workitem that does not say what became of it: the final state column of table CC.2.5-3.

    Raises
    ------
    WorkitemInvalid
        Naming what is missing.
    """
    completed = state is WorkitemState.COMPLETED
    sequence = (
        "UnifiedProcedureStepPerformedProcedureSequence" if completed else "ProcedureStepProgressInformationSequence"
    )
    items = workitem.get(sequence)
    item = items[0] if items else Dataset()
    wanted = _WHEN_COMPLETED if completed else _WHEN_CANCELED
    # the list of outputs may be empty: a procedure may have had none
    missing = [keyword for keyword in wanted if keyword not in item or _is_empty(item, keyword)]
    if missing:
        raise WorkitemInvalid(f"{state.value} needs {', '.join(missing)} in {sequence}")


def _is_empty(item: Dataset, keyword: str) -> bool:
    return keyword != "OutputInformationSequence" and not item.get(keyword)


def merge(workitem: Dataset, changes: Dataset) -> None:
    """Put changes in place of what is there; sequences are replaced whole (PS3.4 CC.2.6.2).

    Progress and performed procedure are the exceptions: their one item gains what the change brings, since performers
    tell them piece by piece.
    """
    for element in changes:
        keyword = element.keyword
        if keyword in _ONE_ITEM and element.value and workitem.get(keyword):
            workitem[element.tag].value[0].update(element.value[0])
        else:
            workitem[element.tag] = element


_ONE_ITEM = ("ProcedureStepProgressInformationSequence", "UnifiedProcedureStepPerformedProcedureSequence")


def without(workitem: Dataset, keywords: Iterable[str]) -> Dataset:
    """A shallow copy that lacks these attributes."""
    left_out = {tag_for_keyword(keyword) for keyword in keywords}
    made = Dataset()
    for element in workitem:
        if element.tag not in left_out:
            made.add(element)
    return made


def keep(storage: Storage, workitem: Dataset) -> str:
    """Write a workitem to storage, where patients may be named; gives its key."""
    return storage.put_bytes(to_json([workitem]), suffix=".json")


def kept(storage: Storage, key: str) -> Dataset:
    """Read what `keep` wrote."""
    with storage.open(key) as file:
        return from_json(file.read())


def to_json(workitems: Sequence[Dataset]) -> bytes:
    """The DICOM JSON Model (PS3.18 annex F) of some workitems."""
    return json.dumps([workitem.to_json_dict() for workitem in workitems]).encode()


def from_json(body: bytes) -> Dataset:
    """The one data set of a request or response.

    Raises
    ------
    WorkitemInvalid
        If the body is not DICOM JSON, holds none or several, or its sequences are none.
    """
    data_sets = [_data_set(document) for document in _documents(body)]
    if len(data_sets) != 1:
        raise WorkitemInvalid(f"one data set is expected, {len(data_sets)} came")
    check_sequences(data_sets[0])
    return data_sets[0]


def readable_from_json(body: bytes) -> tuple[list[Dataset], list[str]]:
    """The data sets of a body that can be read, and of each other one its SOP Instance UID; empty where it has none.

    Raises
    ------
    WorkitemInvalid
        If the body is no JSON.
    """
    data_sets: list[Dataset] = []
    unreadable: list[str] = []
    for document in _documents(body):
        try:
            data_sets.append(_data_set(document))
        except WorkitemInvalid:
            unreadable.append(_uid_in(document))
    return data_sets, unreadable


def _documents(body: bytes) -> list[object]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WorkitemInvalid(f"the body is not DICOM JSON: {type(error).__name__}") from None
    return said if isinstance(said, list) else [said]


def _data_set(document: object) -> Dataset:
    try:
        data_set = Dataset.from_json(cast(Any, document))
        for element in data_set.iterall():  # values are read when they are looked at
            _ = element.value
        json.dumps(data_set.to_json_dict(), allow_nan=False)  # it will have to be written again
    except Exception as error:  # whatever a peer may have written there; its text may name a patient
        raise WorkitemInvalid(f"the body is not DICOM JSON: {type(error).__name__}") from None
    return data_set


def _uid_in(document: object) -> str:
    try:
        (uid,) = cast(Any, document)[f"{tag_for_keyword('SOPInstanceUID'):08X}"]["Value"]
    except (KeyError, TypeError, ValueError):
        return ""
    return uid if isinstance(uid, str) and is_uid(uid) else ""


def date_time(at: datetime) -> str:
    """A DT value with its offset from UTC."""
    return at.strftime("%Y%m%d%H%M%S.%f%z")
