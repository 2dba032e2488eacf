"""Content items of Structured Reports (PS3.3 C.17.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from whyray.base.coded_concept import CodedConcept
from whyray.results.coding import item

Relationship = Literal[
    "CONTAINS", "HAS OBS CONTEXT", "HAS CONCEPT MOD", "HAS PROPERTIES", "INFERRED FROM", "SELECTED FROM"
]
_LONGEST_DS = 16


def container(
    name: CodedConcept, children: Sequence[Dataset], *, template: str | None = None, root: bool = False
) -> Dataset:
    """A CONTAINER item; the root has no relationship."""
    made = Dataset() if root else _new("CONTAINS")
    made.ValueType = "CONTAINER"
    made.ConceptNameCodeSequence = [item(name)]
    made.ContinuityOfContent = "SEPARATE"
    if template is not None:
        template_item = Dataset()
        template_item.MappingResource = "DCMR"
        template_item.TemplateIdentifier = template
        made.ContentTemplateSequence = [template_item]
    if children:
        made.ContentSequence = list(children)
    return made


def text(relationship: Relationship, name: CodedConcept, value: str) -> Dataset:
    """A TEXT item; lines are parted as DICOM wants it, other control characters become spaces."""
    made = _named(relationship, "TEXT", name)
    lines = ("".join(each if ord(each) >= 32 else " " for each in line) for line in value.splitlines())
    made.TextValue = "\r\n".join(lines)
    return made


def code(
    relationship: Relationship, name: CodedConcept, value: CodedConcept, children: Sequence[Dataset] = ()
) -> Dataset:
    """A CODE item."""
    made = _named(relationship, "CODE", name)
    made.ConceptCodeSequence = [item(value)]
    return _with(made, children)


def number(
    relationship: Relationship,
    name: CodedConcept,
    value: float,
    unit: CodedConcept,
    children: Sequence[Dataset] = (),
) -> Dataset:
    """A NUM item; a value that is not finite is written as not computable (CID 42)."""
    made = _named(relationship, "NUM", name)
    if value != value or value in (float("inf"), float("-inf")):
        made.MeasuredValueSequence = []
        qualifier = CodedConcept(value="114000", scheme="DCM", meaning="Not a number")
        made.NumericValueQualifierCodeSequence = [item(qualifier)]
        return _with(made, children)
    measured = Dataset()
    measured.NumericValue = _decimal(value)
    measured.FloatingPointValue = float(value)
    measured.MeasurementUnitsCodeSequence = [item(unit)]
    made.MeasuredValueSequence = [measured]
    return _with(made, children)


def uid_reference(relationship: Relationship, name: CodedConcept, uid: str) -> Dataset:
    """A UIDREF item."""
    made = _named(relationship, "UIDREF", name)
    made.UID = uid
    return made


def image(
    relationship: Relationship,
    name: CodedConcept | None,
    reference: Dataset,
    *,
    segments: Sequence[int] = (),
    frames: Sequence[int] = (),
    children: Sequence[Dataset] = (),
) -> Dataset:
    """An IMAGE item; `reference` is an item with Referenced SOP Class and Instance UID."""
    made = _new(relationship)
    made.ValueType = "IMAGE"
    if name is not None:
        made.ConceptNameCodeSequence = [item(name)]
    referenced = Dataset()
    referenced.update(reference)
    if segments:
        referenced.ReferencedSegmentNumber = list(segments) if len(segments) > 1 else segments[0]
    if frames:
        referenced.ReferencedFrameNumber = list(frames) if len(frames) > 1 else frames[0]
    made.ReferencedSOPSequence = [referenced]
    return _with(made, children)


def polyline(
    name: CodedConcept, points: NDArray[np.float64], reference: Dataset, frames: Sequence[int] = ()
) -> Dataset:
    """An SCOORD item (C.18.6): a closed line of (column, row) on an image, or on one frame of it."""
    made = _named("CONTAINS", "SCOORD", name)
    made.GraphicType = "POLYLINE"
    closed = points if np.array_equal(points[0], points[-1]) else np.vstack([points, points[:1]])
    made.GraphicData = [float(value) for value in np.round(closed, 3).ravel()]
    return _with(made, [image("SELECTED FROM", None, reference, frames=frames)])


def _new(relationship: Relationship) -> Dataset:
    made = Dataset()
    made.RelationshipType = relationship
    return made


def _named(relationship: Relationship, value_type: str, name: CodedConcept) -> Dataset:
    made = _new(relationship)
    made.ValueType = value_type
    made.ConceptNameCodeSequence = [item(name)]
    return made


def _with(made: Dataset, children: Sequence[Dataset]) -> Dataset:
    if children:
        made.ContentSequence = list(children)
    return made


def _decimal(value: float) -> str:
    for digits in range(12, 2, -1):
        shortened = f"{value:.{digits}g}"
        if len(shortened) <= _LONGEST_DS:
            return shortened
    return f"{value:.2g}"
