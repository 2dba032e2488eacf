"""Segmentation objects (PS3.3 A.51): salient regions, or the segments of a segmentation package, as binary masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

import whyray
from whyray.imaging.source import BoolArray
from whyray.models.manifest import CodedConcept
from whyray.results.answer import Answer, Finding, MapInSource, Told
from whyray.results.coding import LONGEST_SHORT_TEXT, dcm, item, of_target, one_value, own
from whyray.results.header import add_lossy, copy_valid, new_dataset
from whyray.results.multi_frame import (
    IMAGE_POSITION_PATIENT,
    REFERENCED_SEGMENT_NUMBER,
    add_dimensions,
    derivation_item,
    frame_content_item,
    pixel_measures,
    plane_of,
    plane_orientation_item,
    plane_position_item,
)
from whyray.results.references import add_referenced_series
from whyray.results.templates import SeriesTemplate, Templates
from whyray.results.uids import UidSource, map_key

SOP_CLASS_UID = "1.2.840.10008.5.1.4.1.1.66.4"
SEGMENTATION_DERIVATION = dcm("113076", "Segmentation")
# Okabe and Ito's colours, distinct for colour-blind readers too, as sRGB.
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


@dataclass(frozen=True)
class Segment:
    """One segment. `mask` is (frames, rows, columns) of the source."""

    finding: Finding
    mask: BoolArray
    label: str
    description: str
    category: CodedConcept
    kind: CodedConcept
    modifier: CodedConcept | None
    algorithm: str
    version: str
    parameters: str
    tracking_uid: str
    method: str | None = None


def region_segments(
    templates: Templates, uids: UidSource, shown: Sequence[tuple[Finding, MapInSource]]
) -> list[Segment]:
    """One segment for the salient region of each map that may be shown."""
    concepts, scheme = templates.concepts, templates.equipment.coding_scheme.designator
    return [
        Segment(
            finding=finding,
            mask=each.region,
            label=f"{finding.target.name}: {each.name}",
            description=f"Salient region of {finding.target.name} by {each.name}, {each.region_rule}",
            category=concepts.region_category,
            kind=concepts.region_type,
            modifier=of_target(finding.target, scheme),
            algorithm=each.method,
            version=whyray.__version__,
            parameters=", ".join(f"{name}={value}" for name, value in sorted(each.parameters.items())),
            tracking_uid=uids.uid("tracking", finding.target.name, map_key(each)),
            method=each.method,
        )
        for finding, each in shown
    ]


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
            parameters="",
            tracking_uid=uids.uid("tracking", finding.target.name, "mask"),
        )
        for finding in findings
        if finding.mask is not None
    ]


def structure_segments(templates: Templates, uids: UidSource, shown: Sequence[tuple[Finding, Told]]) -> list[Segment]:
    """One segment for each structure of explanations that may be shown; the same structure once."""
    segments: dict[str, Segment] = {}
    for finding, told in shown:
        for each in told.structures:
            if each.name in segments:
                continue
            segments[each.name] = Segment(
                finding=finding,
                mask=each.mask,
                label=each.name,
                description=f"{each.name}, as {told.method} used it",
                category=templates.concepts.segment_category,
                kind=each.code or own(each.name, templates.equipment.coding_scheme.designator),
                modifier=each.laterality,
                algorithm=told.method,
                version=whyray.__version__,
                parameters=", ".join(f"{name}={value}" for name, value in sorted(told.explanation.parameters.items())),
                tracking_uid=uids.uid("tracking", "structure", each.name),
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
) -> Dataset:
    """One Segmentation of type BINARY with these segments, in the source's geometry.

    `key` names what the segments are made of, for the UIDs. An empty segment keeps its frames (or, with
    `omit_empty_frames`, has none; an object in which nothing is set keeps one frame, since none would be invalid).
    """
    made = new_dataset(
        answer,
        templates,
        uids,
        kind="seg",
        series=series,
        series_key=series.description,
        sop_class_uid=SOP_CLASS_UID,
        sop_instance_uid=uids.uid("seg", key, str(omit_empty_frames)),
        instance_number=instance_number,
    )
    copy_valid(made, answer.image.header, "BodyPartExamined")
    made.ImageType = ["DERIVED", "PRIMARY"]
    made.ContentLabel = "SEGMENTS"
    made.ContentDescription = made.SeriesDescription
    made.ContentCreatorName = None
    made.PatientOrientation = None
    made.SegmentationType = "BINARY"
    made.SegmentsOverlap = "YES" if _overlap(segments) else "NO"
    made.SegmentSequence = [
        _segment_item(segment, number, templates) for number, segment in enumerate(segments, start=1)
    ]
    add_lossy(made, answer, required=True)
    add_referenced_series(made, answer.image)
    _add_frames(made, answer, uids, segments, omit_empty_frames=omit_empty_frames)
    return made


def _overlap(segments: Sequence[Segment]) -> bool:
    seen = np.zeros_like(segments[0].mask)
    for segment in segments:
        if (seen & segment.mask).any():
            return True
        seen |= segment.mask
    return False


def _segment_item(segment: Segment, number: int, templates: Templates) -> Dataset:
    made = Dataset()
    made.SegmentNumber = number
    made.SegmentLabel = one_value(segment.label)
    made.SegmentDescription = one_value(segment.description, LONGEST_SHORT_TEXT)
    made.SegmentAlgorithmType = "AUTOMATIC"
    made.SegmentAlgorithmName = one_value(segment.algorithm)
    algorithm = Dataset()
    algorithm.AlgorithmFamilyCodeSequence = [item(templates.concepts.algorithm_family)]
    algorithm.AlgorithmName = one_value(segment.algorithm)
    algorithm.AlgorithmVersion = segment.version
    if segment.parameters:
        algorithm.AlgorithmParameters = segment.parameters
    made.SegmentationAlgorithmIdentificationSequence = [algorithm]
    made.SegmentedPropertyCategoryCodeSequence = [item(segment.category)]
    kind = item(segment.kind)
    if segment.modifier is not None:
        kind.SegmentedPropertyTypeModifierCodeSequence = [item(segment.modifier)]
    made.SegmentedPropertyTypeCodeSequence = [kind]
    anatomy = segment.finding.target.anatomy
    if anatomy is not None:
        made.AnatomicRegionSequence = [item(anatomy)]
    made.TrackingID = one_value(segment.label)
    made.TrackingUID = segment.tracking_uid
    made.RecommendedDisplayCIELabValue = _cielab(_COLOURS[(number - 1) % len(_COLOURS)])
    return made


def _add_frames(
    made: Dataset, answer: Answer, uids: UidSource, segments: Sequence[Segment], *, omit_empty_frames: bool
) -> None:
    image = answer.image
    planes = [plane_of(image, frame) for frame in image.frames]
    placed = all(plane is not None for plane in planes)
    kept = [
        (number, index)
        for number, segment in enumerate(segments, start=1)
        for index in range(len(image.frames))
        if not omit_empty_frames or segment.mask[index].any()
    ] or [(1, 0)]

    shared = Dataset()
    measures = pixel_measures(image)
    if measures is not None:
        shared.PixelMeasuresSequence = [measures]
    orientations = {plane.orientation for plane in planes if plane is not None}
    if placed:
        made.FrameOfReferenceUID = image.header.get("FrameOfReferenceUID") or uids.uid("frame-of-reference")
        made.PositionReferenceIndicator = str(image.header.get("PositionReferenceIndicator") or "")
        if len(orientations) == 1:
            shared.PlaneOrientationSequence = [plane_orientation_item(planes[0])]  # type: ignore[arg-type]
    made.SharedFunctionalGroupsSequence = [shared]

    pointers = [REFERENCED_SEGMENT_NUMBER, *([IMAGE_POSITION_PATIENT] if placed else [])]
    add_dimensions(made, uids.uid("dimensions", "seg"), pointers)
    groups = []
    for number, index in kept:
        frame, plane = image.frames[index], planes[index]
        group = Dataset()
        group.FrameContentSequence = [frame_content_item([number, index + 1] if placed else [number])]
        if placed and plane is not None:
            group.PlanePositionSequence = [plane_position_item(plane)]
            if len(orientations) > 1:
                group.PlaneOrientationSequence = [plane_orientation_item(plane)]
        group.DerivationImageSequence = [derivation_item(image, frame, SEGMENTATION_DERIVATION)]
        identification = Dataset()
        identification.ReferencedSegmentNumber = number
        group.SegmentIdentificationSequence = [identification]
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = groups

    _, rows, columns = image.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.NumberOfFrames, made.Rows, made.Columns = len(kept), rows, columns
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 1, 1, 0, 0
    pixels = np.stack([segments[number - 1].mask[index] for number, index in kept])
    packed = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    made.PixelData = packed + b"\0" * (len(packed) % 2)
    made["PixelData"].VR = "OB"


def _cielab(colour: tuple[int, int, int]) -> list[int]:
    """sRGB to the 16-bit CIELab of PS3.3 C.10.7.1.1 (D65 white, which displays of today use)."""
    linear = np.array([value / 255 for value in colour])
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    )
    xyz = matrix @ linear / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    lightness, a, b = 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])
    return [round(lightness / 100 * 65535), round((a + 128) / 255 * 65535), round((b + 128) / 255 * 65535)]
