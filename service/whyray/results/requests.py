"""The order that a study was made for, as the source names it: what results belong to in a worklist or RIS."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset

from whyray.results.carried import copy_valid, valid_text

_REQUEST_ATTRIBUTES = (
    "RequestedProcedureID",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "StudyInstanceUID",
    "ReferencedStudySequence",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
    "ReasonForTheRequestedProcedure",
    "ReasonForRequestedProcedureCodeSequence",
    "ScheduledProcedureStepID",
    "ScheduledProcedureStepDescription",
    "ScheduledProtocolCodeSequence",
)
"""The Request Attributes macro, PS3.3 table 10-9."""
_IDENTIFYING = ("RequestedProcedureID", "ScheduledProcedureStepID", "AccessionNumber")
_EMPTY_REQUEST: dict[str, list[Dataset] | None] = {
    "ReferencedStudySequence": [],
    "AccessionNumber": None,
    "PlacerOrderNumberImagingServiceRequest": None,
    "FillerOrderNumberImagingServiceRequest": None,
    "RequestedProcedureID": None,
    "RequestedProcedureDescription": None,
    "RequestedProcedureCodeSequence": [],
}
"""Type 2 of Referenced Request Sequence, PS3.3 table C.17-2."""
_OF_A_REQUEST = (
    *_EMPTY_REQUEST,
    "IssuerOfAccessionNumberSequence",
    "OrderPlacerIdentifierSequence",
    "OrderFillerIdentifierSequence",
    "ReasonForTheRequestedProcedure",
    "ReasonForRequestedProcedureCodeSequence",
)
_OF_THE_STUDY = (
    "IssuerOfAccessionNumberSequence",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "OrderPlacerIdentifierSequence",
    "OrderFillerIdentifierSequence",
)
"""What an item may leave to the top of the source, where there is one request."""


def add_request_attributes(made: Dataset, source: Dataset) -> None:
    """Add Request Attributes Sequence (0040,0275) to the series of a result, as the source has it.

    An attribute that is not valid is left out of its item, an item without any identifier altogether.
    """
    items = []
    for request in _requests(source):
        item = Dataset()
        for keyword in _REQUEST_ATTRIBUTES:
            copy_valid(item, request, keyword)
        if _is_identified(request):
            items.append(item)
    if items:
        made.RequestAttributesSequence = items


def add_referenced_request(made: Dataset, source: Dataset) -> None:
    """Add Referenced Request Sequence (0040,A370) to a document (PS3.3 C.17.2 and C.17.6.2): what it answers to."""
    requests = list(_requests(source))
    items: dict[tuple[str, str, str], Dataset] = {}
    for request in requests:
        if not _is_identified(request):
            continue
        item = Dataset()
        for keyword in _OF_A_REQUEST:
            copy_valid(item, request, keyword)
        if len(requests) == 1:
            for keyword in _OF_THE_STUDY:
                if keyword not in item:
                    copy_valid(item, source, keyword)
            if "AccessionNumber" not in item:
                copy_valid(item, source, "AccessionNumber")
        item.StudyInstanceUID = valid_text(request, "StudyInstanceUID") or source.StudyInstanceUID
        for keyword, empty in _EMPTY_REQUEST.items():
            if keyword not in item:
                setattr(item, keyword, empty)
        key = str(item.StudyInstanceUID), str(item.AccessionNumber or ""), str(item.RequestedProcedureID or "")
        items.setdefault(key, item)
    if items:
        made.ReferencedRequestSequence = list(items.values())


def _is_identified(request: Dataset) -> bool:
    return any(valid_text(request, keyword) for keyword in _IDENTIFYING)


def invalid_request_attributes(source: Dataset) -> list[str]:
    """Keywords of what a request of the source holds and results leave out, as not valid."""
    invalid = []
    for request in _requests(source):
        for keyword in _REQUEST_ATTRIBUTES:
            taken = Dataset()
            copy_valid(taken, request, keyword)
            if request.get(keyword) and keyword not in taken:
                invalid.append(keyword)
    return list(dict.fromkeys(invalid))


def _requests(source: Dataset) -> Iterator[Dataset]:
    """The items that name a request; of sources that write a worklist's attributes at their top, the source itself."""
    for keyword in ("RequestAttributesSequence", "ReferencedRequestSequence"):
        items = source.get(keyword)
        if items:
            yield from items
            return
    if valid_text(source, "RequestedProcedureID"):
        yield source
