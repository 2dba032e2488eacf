"""Content items of Structured Reports (PS3.3 C.17.3): what highdicom's constructors make, in a tenth of their time.

highdicom 0.28.2 validates and looks up anew what a report says hundreds of times, half a millisecond a measurement. A
test holds each item to highdicom's, byte for byte, but for what reports need otherwise:

* Its items are made without children; here they come with them, as the relationships of TID 300 and 1419 want it.
* `TextContentItem` writes any character; a control character in a text is forbidden (PS3.5 6.2).
* `NumContentItem` fills a decimal string with digits, 57.0000000000000 for the 57 that viewers should show, and raises
  ValueError for a value that is not finite, which CID 42 has a qualifier for.
* `ContainerContentItem` says that content is continuous, which readers print as one paragraph, where not told
  otherwise.
* `ImageRegion` raises KeyError for images of a SOP Class that is private or retired.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.uid import UID
from pydicom.valuerep import DSfloat

from whyray.base.coded_concept import CodedConcept
from whyray.results.coding import SOURCE, dcm, shared_code
from whyray.results.elements import element, item_of, items, shared_text

Relationship = Literal[
    "CONTAINS", "HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS PROPERTIES", "INFERRED FROM", "SELECTED FROM"
]
_IMAGE_REGION = dcm("111030", "Image Region")
_NOT_A_NUMBER = dcm("114000", "Not a number")
_LONGEST_DS = 16


def container(
    name: CodedConcept, children: Sequence[Dataset], *, template: str | None = None, root: bool = False
) -> Dataset:
    """A CONTAINER item, none of whose children reads on from the one before; the root has no relationship."""
    values = [shared_text("ContinuityOfContent", "SEPARATE")]
    if template is not None:
        identified = [shared_text("MappingResource", "DCMR"), shared_text("TemplateIdentifier", template)]
        values.append(items("ContentTemplateSequence", [item_of(identified)]))
    return _content_item("CONTAINER", None if root else "CONTAINS", name, values, children)


def plain_text(value: str) -> str:
    """A text as a value of UT may hold it: lines parted as DICOM wants it, other control characters as spaces."""
    if value.isprintable():
        return value
    lines = ("".join(character if ord(character) >= 32 else " " for character in line) for line in value.splitlines())
    return "\r\n".join(lines)


def text(relationship: Relationship, name: CodedConcept, value: str, children: Sequence[Dataset] = ()) -> Dataset:
    """A TEXT item."""
    return _content_item("TEXT", relationship, name, [element("TextValue", plain_text(value))], children)


def code(
    relationship: Relationship, name: CodedConcept, value: CodedConcept, children: Sequence[Dataset] = ()
) -> Dataset:
    """A CODE item."""
    return _content_item("CODE", relationship, name, [shared_code("ConceptCodeSequence", value)], children)


def uid(relationship: Relationship, name: CodedConcept, value: str) -> Dataset:
    """A UIDREF item."""
    return _content_item("UIDREF", relationship, name, [element("UID", UID(value))])


def number(
    relationship: Relationship,
    name: CodedConcept,
    value: float,
    unit: CodedConcept,
    children: Sequence[Dataset] = (),
) -> Dataset:
    """A NUM item; a value that is not finite is written as not computable (CID 42)."""
    if math.isfinite(value):
        measured = item_of(
            [
                element("NumericValue", DSfloat(_decimal(value))),
                element("FloatingPointValue", float(value)),
                shared_code("MeasurementUnitsCodeSequence", unit),
            ]
        )
        values = [items("MeasuredValueSequence", [measured])]
    else:
        qualifier = shared_code("NumericValueQualifierCodeSequence", _NOT_A_NUMBER)
        values = [items("MeasuredValueSequence", []), qualifier]
    return _content_item("NUM", relationship, name, values, children)


def image(
    name: CodedConcept,
    header: Dataset,
    *,
    frames: Sequence[int] = (),
    segment: int | None = None,
    children: Sequence[Dataset] = (),
    relationship: Relationship = "CONTAINS",
) -> Dataset:
    """An IMAGE item: an instance, or frames or a segment of it (numbers from 1)."""
    referenced = item_of(
        [
            element("ReferencedSOPClassUID", _uid(header.SOPClassUID)),
            element("ReferencedSOPInstanceUID", _uid(header.SOPInstanceUID)),
        ]
    )
    if frames:
        referenced.ReferencedFrameNumber = list(frames)
    if segment is not None:
        referenced.ReferencedSegmentNumber = segment
    return _content_item("IMAGE", relationship, name, [items("ReferencedSOPSequence", [referenced])], children)


def outline(points: NDArray[np.float64], header: Dataset, frames: Sequence[int] = ()) -> Dataset:
    """An SCOORD item (PS3.3 C.18.6): a closed line of (points, 2) columns and rows on an image, or on a frame of it."""
    closed = points if np.array_equal(points[0], points[-1]) else np.vstack([points, points[:1]])
    source = image(SOURCE, header, frames=frames, relationship="SELECTED FROM")
    # thousands of numbers: pydicom would ask of each whether it may be one
    points_of_it = element("GraphicData", MultiValue(float, np.round(closed, 3).flatten().tolist()))
    values = [points_of_it, shared_text("GraphicType", "POLYLINE")]
    return _content_item("SCOORD", "CONTAINS", _IMAGE_REGION, values, [source])


def _content_item(
    value_type: str,
    relationship: Relationship | None,
    name: CodedConcept,
    values: Sequence[DataElement],
    children: Sequence[Dataset] = (),
) -> Dataset:
    held = [shared_text("ValueType", value_type), shared_code("ConceptNameCodeSequence", name), *values]
    if relationship is not None:
        held.append(shared_text("RelationshipType", relationship))
    if children:
        held.append(items("ContentSequence", children))
    return item_of(held)


def _uid(value: str) -> UID:
    return value if isinstance(value, UID) else UID(str(value))


def _decimal(value: float) -> str:
    for digits in range(12, 2, -1):
        shortened = f"{value:.{digits}g}"
        if len(shortened) <= _LONGEST_DS:
            return shortened
    return f"{value:.2g}"
