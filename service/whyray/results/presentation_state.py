"""Grayscale Softcopy Presentation States (PS3.3 A.33.1): a region's outline and label on the original images.

The outlines are vectors in pixels of the source, so a viewer shows them at full resolution and can turn them off.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from skimage import measure

from whyray.imaging.source import BoolArray, SourceFrame
from whyray.quality.card import Grade
from whyray.results.answer import Answer, Finding, MapInSource
from whyray.results.coding import one_value
from whyray.results.header import add_body_part, new_dataset
from whyray.results.multi_frame import functional_value
from whyray.results.references import instance_item, is_multi_frame
from whyray.results.templates import Templates, Wording
from whyray.results.uids import UidSource, map_key

SOP_CLASS_UID = "1.2.840.10008.5.1.4.1.1.11.1"
_LAYER = "WHYRAY"
_TOLERANCE = 0.3
"""How far a simplified outline may lie from the region's edge, in pixels of the source."""


def can_be_outlined(answer: Answer, each: MapInSource) -> bool:
    """Whether there is a region, on monochrome images whose values all go through one modality transform.

    A presentation state holds one modality transform for all of its images; colour images need another SOP class.
    """
    frames = _outlined_frames(answer, each)
    headers = [answer.image.headers[frame.sop_instance_uid] for _, frame in frames]
    monochrome = all(str(header.get("PhotometricInterpretation", "")).startswith("MONOCHROME") for header in headers)
    rescales = {_rescale(answer, frame) for _, frame in frames}
    tables = any("ModalityLUTSequence" in header for header in headers)
    shapes = {str(header.get("PhotometricInterpretation")) for header in headers}
    return bool(frames) and monochrome and not tables and len(rescales) == 1 and len(shapes) == 1


def presentation_state(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    finding: Finding,
    each: MapInSource,
    wording: Wording,
    *,
    instance_number: int,
) -> Dataset:
    """The outlines of one map's region on all frames that hold part of it, with a label beside each."""
    made = new_dataset(
        answer,
        templates,
        uids,
        kind="gsps",
        series=templates.series.gsps,
        series_key="",
        sop_class_uid=SOP_CLASS_UID,
        sop_instance_uid=uids.uid("gsps", finding.target.name, map_key(each)),
        instance_number=instance_number,
    )
    for keyword in ("ContentDate", "ContentTime"):
        delattr(made, keyword)
    made.PresentationCreationDate, made.PresentationCreationTime = made.SeriesDate, made.SeriesTime
    made.ContentLabel = "OUTLINE"
    made.ContentDescription = one_value(f"{finding.target.name} by {each.method}")
    made.ContentCreatorName = None
    frames = _outlined_frames(answer, each)
    add_body_part(made, answer.image.header)
    _add_relationship(made, answer, [frame for _, frame in frames])
    _add_pixel_transforms(made, answer, [frame for _, frame in frames])
    label = _label(finding, each, wording)
    made.GraphicAnnotationSequence = [_annotation(answer, frame, each.region[index], label) for index, frame in frames]
    layer = Dataset()
    layer.GraphicLayer = _LAYER
    layer.GraphicLayerOrder = 1
    layer.GraphicLayerDescription = made.ContentDescription
    made.GraphicLayerSequence = [layer]
    return made


def outlines(region: BoolArray) -> list[NDArray[np.float64]]:
    """Closed outlines of a (rows, columns) mask as (points, 2) arrays of (column, row).

    In pixel units of PS3.3 C.10.5: 0\\0 is the outer corner of the first pixel, so that a pixel's centre is at + 0.5.
    """
    padded = np.pad(region.astype(np.float32), 1)
    found = []
    for contour in measure.find_contours(padded, 0.5):
        simple = measure.approximate_polygon(contour, _TOLERANCE)
        points = (simple if len(simple) > 3 else contour)[:, ::-1] - 0.5
        found.append(np.clip(points, 0, region.shape[::-1]))
    return found


def _outlined_frames(answer: Answer, each: MapInSource) -> list[tuple[int, SourceFrame]]:
    return [(index, frame) for index, frame in enumerate(answer.image.frames) if each.region[index].any()]


def _rescale(answer: Answer, frame: SourceFrame) -> tuple[str, str, str] | None:
    header = answer.image.headers[frame.sop_instance_uid]
    values = [
        functional_value(header, frame.frame_number, "PixelValueTransformationSequence", keyword)
        for keyword in ("RescaleIntercept", "RescaleSlope", "RescaleType")
    ]
    if values[0] is None or values[1] is None:
        return None
    return str(values[0]), str(values[1]), str(values[2] or "US")


def _add_relationship(made: Dataset, answer: Answer, frames: Sequence[SourceFrame]) -> None:
    """Presentation State Relationship (C.11.11) and Displayed Area (C.10.4): which images, all of each."""
    image = answer.image
    by_series: dict[str, Items] = {}
    for reference in _references(answer, frames):
        header = image.headers[reference.ReferencedSOPInstanceUID]
        by_series.setdefault(str(header.SeriesInstanceUID), Items()).append(reference)
    made.ReferencedSeriesSequence = Items()
    for uid, references in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID = uid
        series.ReferencedImageSequence = references
        made.ReferencedSeriesSequence.append(series)
    area = Dataset()
    area.ReferencedImageSequence = _references(answer, frames)
    _, rows, columns = image.shape
    area.PixelOriginInterpretation = "FRAME"
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [columns, rows]
    area.PresentationSizeMode = "SCALE TO FIT"
    spacing = image.frames[0].spacing
    if spacing is not None:
        area.PresentationPixelSpacing = [f"{value:.10g}" for value in spacing]
    else:
        area.PresentationPixelAspectRatio = [1, 1]
    made.DisplayedAreaSelectionSequence = [area]


def _add_pixel_transforms(made: Dataset, answer: Answer, frames: Sequence[SourceFrame]) -> None:
    """Modality and VOI transforms and the presentation LUT, as in the source, so that the image looks as it did."""
    rescale = _rescale(answer, frames[0])
    if rescale is not None:
        made.RescaleIntercept, made.RescaleSlope, made.RescaleType = rescale
    windows: dict[tuple[tuple[str, ...], tuple[str, ...]], list[SourceFrame]] = {}
    for frame in frames:
        header = answer.image.headers[frame.sop_instance_uid]
        if "VOILUTSequence" in header:
            continue
        centre, width = (
            _strings(functional_value(header, frame.frame_number, "FrameVOILUTSequence", keyword))
            for keyword in ("WindowCenter", "WindowWidth")
        )
        if centre and len(centre) == len(width):
            windows.setdefault((centre, width), []).append(frame)
    if windows and sum(map(len, windows.values())) == len(frames):
        made.SoftcopyVOILUTSequence = Items()
        for (centre, width), shown in windows.items():
            one = Dataset()
            one.ReferencedImageSequence = _references(answer, shown)
            one.WindowCenter, one.WindowWidth = list(centre), list(width)
            made.SoftcopyVOILUTSequence.append(one)
    inverse = str(answer.image.header.PhotometricInterpretation) == "MONOCHROME1"
    made.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"


def _annotation(answer: Answer, frame: SourceFrame, region: BoolArray, label: str) -> Dataset:
    made = Dataset()
    made.ReferencedImageSequence = _references(answer, [frame])
    made.GraphicLayer = _LAYER
    curves = outlines(region)
    made.GraphicObjectSequence = [_polyline(curve) for curve in curves]
    points = np.concatenate(curves)
    lowest = points[points[:, 1].argmax()]
    text = Dataset()
    text.UnformattedTextValue = label
    text.AnchorPointAnnotationUnits = "PIXEL"
    text.AnchorPoint = [float(value) for value in lowest]
    text.AnchorPointVisibility = "N"
    made.TextObjectSequence = [text]
    return made


def _polyline(points: NDArray[np.float64]) -> Dataset:
    made = Dataset()
    made.GraphicAnnotationUnits = "PIXEL"
    made.GraphicDimensions = 2
    made.NumberOfGraphicPoints = len(points)
    made.GraphicData = [float(value) for value in np.round(points, 3).ravel()]
    made.GraphicType = "POLYLINE"
    made.GraphicFilled = "N"
    return made


def _label(finding: Finding, each: MapInSource, wording: Wording) -> str:
    score = "" if finding.probability is None else f" {finding.probability:.2f}"
    lines = [f"{finding.target.name}{score} ({each.method})"]
    if each.card.grade is Grade.AMBER:
        lines.append(wording.low_reliability)
    lines.append(wording.not_for_diagnosis)
    return "\r\n".join(lines)


def _references(answer: Answer, frames: Sequence[SourceFrame]) -> Items:
    numbers: dict[str, list[int]] = {}
    for frame in frames:
        numbers.setdefault(frame.sop_instance_uid, []).append(frame.frame_number)
    headers = answer.image.headers
    return Items(
        instance_item(headers[uid], each if is_multi_frame(headers[uid]) else ()) for uid, each in numbers.items()
    )


def _strings(value: object) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    return tuple(map(str, value)) if isinstance(value, (list, tuple, MultiValue)) else (str(value),)
