"""What presentation states share (PS3.3 A.33 and A.69): identification, references, transforms, the area shown.

Transforms are highdicom's. Its states as a whole, and its references to images, are not used: in 0.28.2 they show every
image with square pixels (pr/content.py:1034), refer to no frames of a series (pr/content.py:875) and know no source of
a retired or private SOP class (_standard_utils.py:372).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
from highdicom import ModalityLUTTransformation
from highdicom.pr import SoftcopyVOILUTTransformation
from pydicom import Dataset
from pydicom.sequence import Sequence as Items

from whyray.config import ResultKind
from whyray.imaging import (
    SourceFrame,
    SourceImage,
    SourceVoi,
    Table,
    Window,
    decimal_number,
    group_item,
    holder_of,
    is_shown_as_stored,
    voi_of,
)
from whyray.results.answer import Answer
from whyray.results.carried import copy_valid
from whyray.results.coding import one_value
from whyray.results.header import add_body_part, new_dataset
from whyray.results.references import instance_item, is_multi_frame
from whyray.results.templates import Templates
from whyray.results.uids import UidSource

_SHUTTERS = {
    "RECTANGULAR": (
        *("ShutterLeftVerticalEdge", "ShutterRightVerticalEdge"),
        *("ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge"),
    ),
    "CIRCULAR": ("CenterOfCircularShutter", "RadiusOfCircularShutter"),
    "POLYGONAL": ("VerticesOfThePolygonalShutter",),
}
"""What each Shutter Shape (0018,1600) needs."""
_FULL_WORD = 2**16 - 1
_MOST_PRECISE = 10_000
"""Largest denominator of a ratio."""


def state_dataset(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    *,
    kind: ResultKind,
    sop_class_uid: str,
    sop_instance_uid: str,
    instance_number: int,
    label: str,
    description: str,
) -> Dataset:
    """A data set with the modules that all presentation states have: Presentation State Identification is C.11.10."""
    made = new_dataset(
        answer,
        templates,
        uids,
        kind=kind,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        instance_number=instance_number,
    )
    for keyword in ("ContentDate", "ContentTime"):
        delattr(made, keyword)
    made.PresentationCreationDate, made.PresentationCreationTime = made.SeriesDate, made.SeriesTime
    made.ContentLabel = label
    made.ContentDescription = one_value(description)
    made.ContentCreatorName = None
    add_body_part(made, answer.image.header)
    return made


def frame_references(image: SourceImage, frames: Iterable[SourceFrame]) -> Items:
    """Items of Referenced Image Sequence, one an instance, with frame numbers where it has several."""
    numbers: dict[str, list[int]] = {}
    for frame in frames:
        numbers.setdefault(frame.sop_instance_uid, []).append(frame.frame_number)
    headers = image.headers
    return Items(
        instance_item(headers[uid], frame_numbers if is_multi_frame(headers[uid]) else ())
        for uid, frame_numbers in numbers.items()
    )


def referenced_series(image: SourceImage, references: Iterable[Dataset]) -> Items:
    """Items of Referenced Series Sequence of Presentation State Relationship (C.11.11)."""
    by_series: dict[str, Items] = {}
    for reference in references:
        header = image.headers[reference.ReferencedSOPInstanceUID]
        by_series.setdefault(str(header.SeriesInstanceUID), Items()).append(reference)
    return Items(series_item(uid, series_references) for uid, series_references in by_series.items())


def series_item(series_uid: str, references: Sequence[Dataset]) -> Dataset:
    """One item of Referenced Series Sequence, with its images."""
    made = Dataset()
    made.SeriesInstanceUID = series_uid
    made.ReferencedImageSequence = references
    return made


def displayed_area(image: SourceImage, references: Sequence[Dataset] = ()) -> Dataset:
    """One item of Displayed Area Selection Sequence (C.10.4): all of each image; of all images without `references`."""
    made = Dataset()
    if references:
        made.ReferencedImageSequence = references
    _, rows, columns = image.shape
    made.PixelOriginInterpretation = "FRAME"
    made.DisplayedAreaTopLeftHandCorner = [1, 1]
    made.DisplayedAreaBottomRightHandCorner = [columns, rows]
    made.PresentationSizeMode = "SCALE TO FIT"
    spacing = image.frames[0].spacing
    if spacing is not None:
        made.PresentationPixelSpacing = [f"{value:.10g}" for value in spacing]
    else:
        made.PresentationPixelAspectRatio = _whole_ratio(image.frames[0].aspect_ratio)
    return made


def add_grey_transforms(made: Dataset, image: SourceImage, frames: Sequence[SourceFrame]) -> None:
    """Modality and VOI transforms as in the source, so that the image looks as it did."""
    rescale = rescale_of(image, frames[0])
    if rescale is not None:
        made.update(ModalityLUTTransformation(*rescale))
    shown_alike: dict[object, tuple[SourceVoi, list[SourceFrame]]] = {}
    for frame in frames:
        voi = voi_of(image.headers[frame.sop_instance_uid], frame.frame_number)
        table = voi.table
        if table is not None:
            shown_alike.setdefault((table.first, table.bits, table.entries.tobytes()), (voi, []))[1].append(frame)
        elif isinstance(voi.chosen, Window):
            shown_alike.setdefault((*voi.windows, voi.chosen.function), (voi, []))[1].append(frame)
    if shown_alike and sum(len(alike) for _, alike in shown_alike.values()) == len(frames):
        made.SoftcopyVOILUTSequence = Items()
        for voi, alike in shown_alike.values():
            one = _voi_item(voi)
            one.ReferencedImageSequence = frame_references(image, alike)
            made.SoftcopyVOILUTSequence.append(one)


def add_shutter(made: Dataset, image: SourceImage, frames: Sequence[SourceFrame]) -> None:
    """The display shutter of the source (C.7.6.11), where its images have one and the same.

    A viewer that applies a state takes no shutter from the image (PS3.4 N.2): what was hidden would be bare.
    """
    shutters = (_shutter_of(image.headers[frame.sop_instance_uid], frame.frame_number) for frame in frames)
    first = next(shutters)
    if first is not None and all(shutter == first for shutter in shutters):
        made.update(first)


def _shutter_of(header: Dataset, frame_number: int) -> Dataset | None:
    """The shutter of a frame, its own before its image's; None where it has none, a bitmap, or one that lacks what its
    shape needs."""
    made, own = Dataset(), group_item(header, frame_number, "FrameDisplayShutterSequence")
    for keyword in ("ShutterShape", *itertools.chain(*_SHUTTERS.values()), "ShutterPresentationValue"):
        copy_valid(made, header if own is None else own, keyword)
    given = made.get("ShutterShape") or ()
    shapes = [given] if isinstance(given, str) else list(given)
    needed = itertools.chain(*(_SHUTTERS.get(shape, ("ShutterOverlayGroup",)) for shape in shapes))
    if not shapes or any(keyword not in made for keyword in needed):
        return None
    made.ShutterPresentationValue = made.get("ShutterPresentationValue") or 0
    return made


def _voi_item(voi: SourceVoi) -> Dataset:
    """One item of Softcopy VOI LUT Sequence: the source's VOI LUT, or its windows."""
    if voi.table is not None:
        made = Dataset()
        made.VOILUTSequence = [_table_item(voi.table)]
        return made
    centre, width = voi.windows
    function = voi.chosen.function if isinstance(voi.chosen, Window) else "LINEAR"
    return SoftcopyVOILUTTransformation(
        window_center=[float(value) for value in centre],
        window_width=[float(value) for value in width],
        voi_lut_function=None if function == "LINEAR" else function,
    )


def _table_item(table: Table) -> Dataset:
    """One item of VOI LUT Sequence (C.11.2), its entries brought to 16 bits: a state may have 8 or 16 alone."""
    entries = np.rint(table.entries * (_FULL_WORD / (2**table.bits - 1)))
    made = Dataset()
    # a table of 2^16 entries says 0; pydicom writes the count unsigned in either case, as PS3.3 C.11.2.1.1 wants it
    descriptor = [len(entries) % 2**16, table.first, 16]
    made.add_new("LUTDescriptor", "SS" if table.first < 0 else "US", descriptor)
    made.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return made


def one_grey_transform(image: SourceImage, frames: Sequence[SourceFrame]) -> bool:
    """Whether these frames are monochrome and all go through one modality transform: a state holds one for all."""
    headers = [image.headers[frame.sop_instance_uid] for frame in frames]
    shapes = {str(header.get("PhotometricInterpretation", "")) for header in headers}
    tables = any("ModalityLUTSequence" in header and not is_shown_as_stored(header) for header in headers)
    rescales = {rescale_of(image, frame) for frame in frames}
    monochrome = all(shape.startswith("MONOCHROME") for shape in shapes)
    return bool(frames) and monochrome and not tables and len(rescales) == 1 and len(shapes) == 1


def rescale_of(image: SourceImage, frame: SourceFrame) -> tuple[float, float, str] | None:
    """Rescale Intercept, Slope and Type by which a frame is shown; None where it is shown without."""
    header = image.headers[frame.sop_instance_uid]
    if is_shown_as_stored(header):
        return None
    holder = holder_of(header, frame.frame_number, "PixelValueTransformationSequence", "RescaleSlope")
    if holder is None:
        return None
    intercept, slope = decimal_number(holder, "RescaleIntercept"), decimal_number(holder, "RescaleSlope")
    if intercept is None or slope is None:
        return None
    return intercept, slope, one_value(str(holder.get("RescaleType") or "US"))


def _whole_ratio(ratio: tuple[float, float]) -> list[int]:
    """A ratio as two whole numbers, as Presentation Pixel Aspect Ratio (0070,0102) wants it."""
    share = Fraction(ratio[0] / ratio[1]).limit_denominator(_MOST_PRECISE)
    return [share.numerator, share.denominator] if share else [1, 1]
