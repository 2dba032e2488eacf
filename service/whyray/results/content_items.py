"""Content items of Structured Reports (PS3.3 C.17.3), made by highdicom, with what its constructors leave out.

What highdicom 0.28.2 does otherwise than reports need, and is set after construction or not used:

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
from functools import lru_cache
from typing import Literal

import highdicom
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from whyray.base.coded_concept import CodedConcept
from whyray.results.coding import dcm, shared_item

Relationship = Literal["CONTAINS", "HAS CONCEPT MOD", "HAS PROPERTIES", "INFERRED FROM"]
_LONGEST_DS = 16


def container(
    name: CodedConcept, children: Sequence[Dataset], *, template: str | None = None, root: bool = False
) -> Dataset:
    """A CONTAINER item; the root has no relationship."""
    relationship = None if root else "CONTAINS"
    return separate(highdicom.sr.ContainerContentItem(shared_item(name), False, template, relationship), children)


def separate(made: Dataset, children: Sequence[Dataset]) -> Dataset:
    """A CONTAINER item with further children, none of which reads on from the one before."""
    made.ContinuityOfContent = "SEPARATE"
    return _with(made, [*made.get("ContentSequence", ()), *children])


def plain_text(value: str) -> str:
    """A text as a value of UT may hold it: lines parted as DICOM wants it, other control characters as spaces."""
    lines = ("".join(character if ord(character) >= 32 else " " for character in line) for line in value.splitlines())
    return "\r\n".join(lines)


def text(relationship: Relationship, name: CodedConcept, value: str, children: Sequence[Dataset] = ()) -> Dataset:
    """A TEXT item."""
    return _with(highdicom.sr.TextContentItem(shared_item(name), plain_text(value), relationship), children)


def code(
    relationship: Relationship, name: CodedConcept, value: CodedConcept, children: Sequence[Dataset] = ()
) -> Dataset:
    """A CODE item."""
    return _with(highdicom.sr.CodeContentItem(shared_item(name), shared_item(value), relationship), children)


@lru_cache(maxsize=256)
def shared_code(relationship: Relationship, name: CodedConcept, value: CodedConcept) -> Dataset:
    """The same CODE item whenever it says the same, as the grades of measurements do; nobody may change it."""
    return code(relationship, name, value)


def number(
    relationship: Relationship,
    name: CodedConcept,
    value: float,
    unit: CodedConcept,
    children: Sequence[Dataset] = (),
) -> Dataset:
    """A NUM item; a value that is not finite is written as not computable (CID 42)."""
    finite = math.isfinite(value)
    written = float(value) if finite else 0.0
    qualifier = None if finite else shared_item(dcm("114000", "Not a number"))
    made = highdicom.sr.NumContentItem(shared_item(name), written, shared_item(unit), qualifier, relationship)
    if finite:
        made.MeasuredValueSequence[0].NumericValue = _decimal(value)
    else:
        made.MeasuredValueSequence = []
    return _with(made, children)


def image(
    name: CodedConcept, header: Dataset, *, frames: Sequence[int] = (), children: Sequence[Dataset] = ()
) -> Dataset:
    """An IMAGE item: an instance, or frames of it (numbers from 1)."""
    made = highdicom.sr.ImageContentItem(
        shared_item(name), header.SOPClassUID, header.SOPInstanceUID, list(frames) or None, None, "CONTAINS"
    )
    return _with(made, children)


def outline(points: NDArray[np.float64], header: Dataset, frames: Sequence[int] = ()) -> highdicom.sr.ImageRegion:
    """An SCOORD item (PS3.3 C.18.6): a closed line of (points, 2) columns and rows on an image, or on a frame of it."""
    closed = points if np.array_equal(points[0], points[-1]) else np.vstack([points, points[:1]])
    made = highdicom.sr.ScoordContentItem(
        shared_item(dcm("111030", "Image Region")), "POLYLINE", np.round(closed, 3), relationship_type="CONTAINS"
    )
    made.ContentSequence = [
        highdicom.sr.SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID, list(frames) or None)
    ]
    return highdicom.sr.ImageRegion.from_dataset(made, copy=False)


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
