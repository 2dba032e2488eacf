"""Segmentation objects (PS3.3 A.51): salient regions, or the segments of a segmentation package.

Binary masks by default; fractional ones for heatmaps and label maps for segments that don't overlap, where a site wants
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentDescription
from pydicom import Dataset
from pydicom.uid import SegmentationStorage

import whyray
from whyray.base.arrays import BoolArray, ByteArray, FloatArray
from whyray.base.coded_concept import CodedConcept
from whyray.base.frame_array import FrameArray, Frames, PackedMask
from whyray.base.sop_classes import LABEL_MAP_SEGMENTATION_STORAGE
from whyray.imaging import SourceImage
from whyray.results.answer import Answer, Finding, GradedExplanation, MapInSource, label_of
from whyray.results.carried import copy_valid
from whyray.results.coding import LONGEST_SHORT_TEXT, dcm, item, of_target, one_value, own
from whyray.results.header import add_lossy, new_dataset
from whyray.results.references import add_referenced_series
from whyray.results.segmentation_frames import Form, Layer, add_frames
from whyray.results.side import region_item, site_of
from whyray.results.template_objects import SeriesTemplate
from whyray.results.templates import Templates
from whyray.results.uids import UidSource, map_key

SOP_CLASS_UID = SegmentationStorage
LABEL_MAP_SOP_CLASS_UID = LABEL_MAP_SEGMENTATION_STORAGE
_BACKGROUND = dcm("125040", "Background")
_MOST = 255
"""The fractional value that stands for a map's maximum, and the highest segment number of a label map."""
# Okabe and Ito's colours, distinct for colour-blind readers too, as sRGB.
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


@dataclass(frozen=True)
class Segment:
    """One segment. `mask` is (frames, rows, columns) of the source."""

    finding: Finding
    mask: Frames[np.bool_]
    label: str
    description: str
    category: CodedConcept
    kind: CodedConcept
    modifier: CodedConcept | None
    algorithm: str
    version: str
    parameters: Mapping[str, str]
    tracking_uid: str
    method: str | None = None
    shares: Frames[np.float32] | None = None
    """(frames, rows, columns) in 0..1, of a fractional segment."""
    frames: tuple[int, ...] | None = None
    """Indices of the frames of which the segment says something, empty or not; None for all."""


def region_segments(
    templates: Templates, uids: UidSource, shown: Sequence[tuple[Finding, MapInSource]]
) -> list[Segment]:
    """One segment for the salient region of each map that may be shown."""
    concepts, scheme = templates.concepts, templates.equipment.coding_scheme.designator
    return [
        Segment(
            finding=finding,
            mask=heatmap.region,
            label=f"{label_of(finding)}: {heatmap.name}",
            description=f"Salient region of {finding.target.name} by {heatmap.name}, {heatmap.region_rule}",
            category=concepts.region_category,
            kind=concepts.region_type,
            modifier=of_target(finding.target, scheme),
            algorithm=heatmap.method,
            version=whyray.__version__,
            parameters={name: str(value) for name, value in sorted(heatmap.parameters.items())},
            tracking_uid=uids.uid("tracking", finding.target.name, map_key(heatmap)),
            method=heatmap.method,
        )
        for finding, heatmap in shown
    ]


def attribution_segments(
    uids: UidSource, segments: Sequence[Segment], shown: Sequence[tuple[Finding, MapInSource]]
) -> list[Segment]:
    """The heatmaps themselves as fractional segments, after their regions' `segments`; what speaks against, apart.

    The standard has two words for fractions, and attribution is neither a probability nor a share of a pixel. OCCUPANCY
    is the one that nobody takes for a diagnosis; the description says what the numbers are.
    """
    made = []
    for segment, (finding, heatmap) in zip(segments, shown, strict=True):
        top = heatmap.largest
        sides = [("", 1)] + ([(" against", -1)] if heatmap.signed and heatmap.values.min() < 0 else [])
        for words, sign in sides:
            shares = _shares(heatmap.values, sign, top)
            made.append(
                replace(
                    segment,
                    mask=_positive(shares),
                    shares=shares,
                    label=f"{segment.label}{words}",
                    description=(
                        f"Attribution{words} {finding.target.name} by {heatmap.name}: "
                        f"{_MOST} is {top:.4g} {heatmap.unit}, the largest of this map; "
                        "neither a probability nor a share of area"
                    ),
                    tracking_uid=uids.uid("tracking", finding.target.name, map_key(heatmap), f"attribution{words}"),
                )
            )
    return made


def _shares(values: Frames[np.float32], sign: int, top: float) -> FrameArray[np.float32]:
    """What speaks for the target, or with a negative sign against it, of the largest value: 0..1."""

    def frame(index: int) -> FloatArray:
        one = values[index] if sign > 0 else -values[index]
        return np.clip(one / top, 0, 1).astype(np.float32) if top else np.zeros_like(one)

    return FrameArray(values.shape, np.float32, frame)


def _positive(shares: FrameArray[np.float32]) -> PackedMask:
    return PackedMask(shares.shape, lambda index: shares[index] > 0)


def mask_segments(answer: Answer, templates: Templates, uids: UidSource, findings: Sequence[Finding]) -> list[Segment]:
    """One segment for each finding of a segmentation package that has a mask."""
    scheme = templates.equipment.coding_scheme.designator
    return [
        Segment(
            finding=finding,
            mask=finding.mask,
            label=finding.target.name,
            description=f"{finding.target.name} by {answer.package.title}",
            category=templates.concepts.segment_category,
            kind=of_target(finding.target, scheme),
            modifier=None,
            algorithm=answer.package.name,
            version=answer.package.version,
            parameters={},
            tracking_uid=uids.uid("tracking", finding.target.name, "mask"),
        )
        for finding in findings
        if finding.mask is not None
    ]


def structure_segments(
    templates: Templates, uids: UidSource, shown: Sequence[tuple[Finding, GradedExplanation]]
) -> list[Segment]:
    """One segment for each structure of explanations that may be shown; the same structure once."""
    segments: dict[str, Segment] = {}
    for finding, graded in shown:
        for structure in graded.structures:
            if structure.name in segments:
                continue
            segments[structure.name] = Segment(
                finding=finding,
                mask=structure.mask,
                label=structure.name,
                description=f"{structure.name}, as {graded.method} used it",
                category=templates.concepts.segment_category,
                kind=structure.code or own(structure.name, templates.equipment.coding_scheme.designator),
                modifier=structure.laterality,
                algorithm=graded.method,
                version=whyray.__version__,
                parameters={name: str(value) for name, value in sorted(graded.explanation.parameters.items())},
                tracking_uid=uids.uid("tracking", "structure", structure.name),
            )
    return list(segments.values())


def segmentation(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    segments: Sequence[Segment],
    *,
    series: SeriesTemplate,
    key: str,
    omit_empty_frames: bool,
    instance_number: int = 1,
    form: Form = "BINARY",
) -> Dataset:
    """One Segmentation with these segments, in the source's geometry.

    `key` names what the segments are made of, for the UIDs. An empty segment keeps its frames (or, with
    `omit_empty_frames`, has none). Segments that overlap can't be a label map.
    """
    assert form != "LABELMAP" or not overlap(segments)
    made = new_dataset(
        answer,
        templates,
        uids,
        kind="seg",
        series=series,
        series_key=series.description,
        sop_class_uid=LABEL_MAP_SOP_CLASS_UID if form == "LABELMAP" else SOP_CLASS_UID,
        sop_instance_uid=uids.uid("seg", key, str(omit_empty_frames), *([] if form == "BINARY" else [form])),
        instance_number=instance_number,
    )
    copy_valid(made, answer.image.header, "BodyPartExamined")
    made.ImageType = ["DERIVED", "PRIMARY"]
    made.ContentLabel = "SEGMENTS"
    made.ContentDescription = made.SeriesDescription
    made.ContentCreatorName = None
    made.PatientOrientation = None
    made.SegmentationType = form
    made.SegmentsOverlap = "YES" if overlap(segments) else "NO"
    described = [
        _description(segment, number, templates, answer.image) for number, segment in enumerate(segments, start=1)
    ]
    if form == "FRACTIONAL":
        made.SegmentationFractionalType, made.MaximumFractionalValue = "OCCUPANCY", _MOST
    if form == "LABELMAP":
        described.insert(0, _background())
        made.PixelPaddingValue = 0
    made.SegmentSequence = described
    add_lossy(made, answer, required=True)
    add_referenced_series(made, answer.image)
    add_frames(made, answer.image, uids, _layers(segments, form), form, omit_empty_frames=omit_empty_frames)
    return made


def _layers(segments: Sequence[Segment], form: Form) -> list[Layer]:
    if form == "LABELMAP":
        named = [segment.frames for segment in segments]
        every = None if None in named else tuple(sorted({index for frames in named for index in frames or ()}))
        return [Layer(None, _labels(segments), every)]
    return [
        Layer(number, segment.mask if segment.shares is None else _stored_shares(segment.shares), segment.frames)
        for number, segment in enumerate(segments, start=1)
    ]


def _labels(segments: Sequence[Segment]) -> FrameArray[np.uint8]:
    """The number of each pixel's segment, 0 where it has none."""

    def frame(index: int) -> ByteArray:
        labels = np.zeros(segments[0].mask.shape[1:], np.uint8)
        for number, segment in enumerate(segments, start=1):
            labels[segment.mask[index]] = number
        return labels

    return FrameArray(segments[0].mask.shape, np.uint8, frame)


def _stored_shares(shares: Frames[np.float32]) -> FrameArray[np.uint8]:
    return FrameArray(shares.shape, np.uint8, lambda index: np.rint(shares[index] * _MOST).astype(np.uint8))


def _background() -> SegmentDescription:
    """What the pixels of no segment are (PS3.3 C.8.20.2)."""
    made = SegmentDescription(
        segment_number=1,
        segment_label="Background",
        segmented_property_category=item(_BACKGROUND),
        segmented_property_type=item(_BACKGROUND),
        algorithm_type="MANUAL",
        display_color=CIELabColor(0, 0, 0),
    )
    # highdicom 0.28.2 takes no number 0 and no algorithm without a version (seg/content.py:108 and 128).
    made.SegmentNumber, made.SegmentAlgorithmType, made.SegmentAlgorithmName = 0, "AUTOMATIC", "none"
    return made


def can_be_label_map(segments: Sequence[Segment]) -> bool:
    """Whether each pixel belongs to one segment at most, and a byte can number them."""
    return 0 < len(segments) <= _MOST and not overlap(segments)


def overlap(segments: Sequence[Segment]) -> bool:
    """Whether a pixel belongs to two segments."""
    frames = range(len(segments[0].mask))
    return any(_overlap_on_frame([segment.mask[index] for segment in segments]) for index in frames)


def _overlap_on_frame(masks: Sequence[BoolArray]) -> bool:
    seen = np.zeros(masks[0].shape, np.bool_)
    for mask in masks:
        if (seen & mask).any():
            return True
        seen |= mask
    return False


def _description(segment: Segment, number: int, templates: Templates, image: SourceImage) -> SegmentDescription:
    anatomy = site_of(image, segment.finding.target.anatomy)
    kind = item(segment.kind)
    if segment.modifier is not None:
        kind.SegmentedPropertyTypeModifierCodeSequence = [item(segment.modifier)]
    made = SegmentDescription(
        segment_number=number,
        segment_label=one_value(segment.label),
        segmented_property_category=item(segment.category),
        segmented_property_type=kind,
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=one_value(segment.algorithm),
            family=item(templates.concepts.algorithm_family),
            version=segment.version,
            parameters=segment.parameters or None,
        ),
        tracking_uid=segment.tracking_uid,
        tracking_id=one_value(segment.label),
        anatomic_regions=None if anatomy is None else [region_item(image, anatomy)],
        display_color=CIELabColor.from_rgb(*_COLOURS[(number - 1) % len(_COLOURS)]),
    )
    made.SegmentDescription = one_value(segment.description, LONGEST_SHORT_TEXT)
    return made
