"""Anatomy that came with a study: Segmentations (PS3.3 A.51, A.78) as masks of the source, then on a model's grid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import SegmentationStorage

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.errors import ImageError
from whyray.base.failures import raise_unreadable
from whyray.base.frame_array import Frames, PackedMask
from whyray.base.sop_classes import LABEL_MAP_SEGMENTATION_STORAGE
from whyray.imaging.decode import stored_frames
from whyray.imaging.functional_groups import group_item
from whyray.imaging.geometry import frame_geometry
from whyray.imaging.instance import quiet, refusing_as_image_error
from whyray.imaging.isolated import IsolatedGdcm
from whyray.imaging.planar import planar_to_grid
from whyray.imaging.read import Refusal
from whyray.imaging.source import Affine, ModelGrid, SourceFrame, SourceImage
from whyray.imaging.volume import volume_to_grid

Code = tuple[str, str, str]
"""Code value, coding scheme designator, code meaning."""
SEGMENTATIONS = frozenset({SegmentationStorage, LABEL_MAP_SEGMENTATION_STORAGE})
ANATOMY = {"91723000", "123037004", "91832008", "85756007", "T-D000A", "T-D0050", "T-D0080"}
"""Segmented Property Category: (physical) anatomical structure, organ, tissue, as SNOMED CT or SRT. What is morphology
or a spatial concept (a lesion, a salient region) is no anatomy."""
SIDES = {"24028007", "7771000", "G-A100", "G-A101"}
SAME_PLACE = 0.01
"""mm between corners of a segmentation's frame and its source's up to which both are the same plane."""


@dataclass(frozen=True)
class StudyStructure:
    """One segment. `mask` is (frames, rows, columns) of the source, or the shape of a model's grid."""

    label: str
    mask: Frames[np.bool_]
    code: Code | None
    laterality: Code | None
    sop_instance_uid: str
    segment: int


@dataclass(frozen=True)
class StudyStructures:
    """Structures that lie in one image, and segmentations of it that can't be used."""

    structures: tuple[StudyStructure, ...]
    refusals: tuple[Refusal, ...] = ()


def structures_of_study(sources: Iterable[Path | Dataset], image: SourceImage) -> StudyStructures:
    """Anatomical segments among `sources` that lie in `image`, in its geometry; those empty there are left out.

    What is no segmentation is passed over; so are segmentations of other images. Segments of one name in several
    segmentations all come; the first given first.
    """
    structures: list[StudyStructure] = []
    refusals: list[Refusal] = []
    with quiet(), IsolatedGdcm() as isolated:
        for source in sources:
            uid, data = "", None
            try:
                with refusing_as_image_error(source.name if isinstance(source, Path) else "without a file"):
                    data = source if isinstance(source, Dataset) else _if_segmentation(source)
                    if data is None or str(data.get("SOPClassUID")) not in SEGMENTATIONS:
                        continue
                    uid = str(data.get("SOPInstanceUID"))
                with refusing_as_image_error(uid, data):
                    structures.extend(_structures(data, image, isolated))
            except ImageError as error:
                refusals.append(Refusal((uid,) if uid else (), error, source if isinstance(source, Path) else None))
    return StudyStructures(tuple(structures), tuple(refusals))


def structures_on_grid(
    structures: Sequence[StudyStructure], image: SourceImage, grid: ModelGrid
) -> tuple[StudyStructure, ...]:
    """The same on a model's grid: a voxel belongs to a structure of which it shows at least half."""
    return tuple(replace(structure, mask=_sampled(structure.mask, image, grid) >= 0.5) for structure in structures)


def _sampled(mask: Frames[np.bool_], image: SourceImage, grid: ModelGrid) -> FloatArray:
    if image.kind == "planar":
        sampled, covered = planar_to_grid(mask[0].astype(np.float32), grid)
    else:
        sampled, covered = volume_to_grid(image.frames, lambda index: mask[index].astype(np.float32), grid)
    return np.where(covered, sampled, np.float32(0))


def is_segmentation(path: Path) -> bool:
    """Whether the file is a Segmentation; False for what is no DICOM file, or can't be read as one.

    Raises StorageUnavailable or ResourceExhausted for a file that the machine refuses to read.
    """
    try:
        with quiet():
            head = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
            return str(head.get("SOPClassUID")) in SEGMENTATIONS
    except Exception as error:  # whoever reads the images of the study names what is wrong with the file
        raise_unreadable(error, "a file of the study")
        return False


def _if_segmentation(path: Path) -> Dataset | None:
    return dcmread(path) if is_segmentation(path) else None


@dataclass(frozen=True)
class _Slice:
    """One frame of a segmentation: its values, where it lies, and which source frame it was made from."""

    number: int
    affine: Affine | None
    segment: int | None
    source: tuple[str, int] | None


def _structures(data: Dataset, image: SourceImage, isolated: IsolatedGdcm) -> Iterator[StudyStructure]:
    uid = str(data.SOPInstanceUID)
    wanted = {int(segment.SegmentNumber): segment for segment in data.SegmentSequence if _is_anatomy(segment)}
    slices = [_slice(data, number) for number in range(1, int(data.NumberOfFrames) + 1)]
    places = _placed(data, slices, image)
    if not wanted or not places:
        return
    numbers = sorted(places)
    fractional = str(data.get("SegmentationType")) == "FRACTIONAL"
    half = (float(data.get("MaximumFractionalValue") or 255)) / 2 if fractional else 0.5
    masks: dict[int, PackedMask] = defaultdict(lambda: PackedMask.of((), image.shape))
    for number, frame in zip(numbers, stored_frames(data, uid, numbers, isolated), strict=True):
        one, stored = slices[number - 1], frame.values
        present = np.unique(stored) if one.segment is None else [one.segment]
        for segment in (int(label) for label in present):
            if segment not in wanted:
                continue
            values = stored == segment if one.segment is None else stored >= half
            for index in places[number]:
                mask = masks[segment]
                mask.put(index, mask[index] | _laid(values, one, image.frames[index], data))
    for segment in sorted(masks):
        if masks[segment].any():
            item = wanted[segment]
            code, side = _codes(item)
            yield StudyStructure(str(item.get("SegmentLabel") or segment), masks[segment], code, side, uid, segment)


def _placed(data: Dataset, slices: Sequence[_Slice], image: SourceImage) -> dict[int, list[int]]:
    """Number of each frame of the segmentation that lies in the image → the source frames which it reaches.

    A frame that was made from a frame of this image, of the same size and at the same place, belongs to just that one.
    Else frames are placed by position, where both share a frame of reference.
    """
    index = {(frame.sop_instance_uid, frame.frame_number): number for number, frame in enumerate(image.frames)}
    single = {frame.sop_instance_uid: number for number, frame in enumerate(image.frames)}
    size = (int(data.Rows), int(data.Columns))
    direct: dict[int, list[int]] = {}
    for one in slices:
        if one.source is None:
            continue
        uid, number = one.source
        at = index.get((uid, number)) if number else single.get(uid)
        if at is not None and image.frames[at].shape == size and _same_plane(one, image.frames[at]):
            direct[one.number] = [at]
    if direct or not _same_space(data, image):
        return direct
    reach = _half_distance(data, slices)
    placed = {}
    for one in slices:
        if one.affine is not None:
            near = [number for number, frame in enumerate(image.frames) if _reaches(one.affine, frame, reach)]
            if near:
                placed[one.number] = near
    return placed


def _same_space(data: Dataset, image: SourceImage) -> bool:
    ours, theirs = image.header.get("FrameOfReferenceUID"), data.get("FrameOfReferenceUID")
    return bool(ours) and ours == theirs and all(frame.to_patient is not None for frame in image.frames)


def _same_plane(one: _Slice, frame: SourceFrame) -> bool:
    if one.affine is None or frame.to_patient is None:
        return True
    rows, columns = frame.shape
    corners = np.array([[0, 0, 0, 1], [columns - 1, 0, 0, 1], [0, rows - 1, 0, 1]], np.float64).T
    return bool(np.abs((one.affine - frame.to_patient)[:3] @ corners).max() <= SAME_PLACE)


def _half_distance(data: Dataset, slices: Sequence[_Slice]) -> float:
    """Half of what lies between the segmentation's slices, in mm."""
    measures = group_item(data, 1, "PixelMeasuresSequence")
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = None if measures is None else measures.get(keyword)
        if value:
            return abs(float(value)) / 2
    affines = [one.affine for one in slices if one.affine is not None]
    normal = affines[0][:3, 2]
    heights = np.unique(np.round([affine[:3, 3] @ normal for affine in affines], 3))
    return float(np.diff(heights).min()) / 2 if len(heights) > 1 else 0.5


def _reaches(affine: Affine, frame: SourceFrame, reach: float) -> bool:
    """Whether some corner, or the way from one corner to another, of the frame lies in the slice's slab."""
    assert frame.to_patient is not None
    rows, columns = frame.shape
    ends = np.array([[c, r, 0, 1] for r in (0, rows - 1) for c in (0, columns - 1)], np.float64).T
    heights = (np.linalg.inv(affine) @ frame.to_patient @ ends)[2]
    return bool(heights.min() < reach and heights.max() >= -reach)


def _laid(values: BoolArray, one: _Slice, frame: SourceFrame, data: Dataset) -> BoolArray:
    """A frame of the segmentation on the pixels of a source frame, by nearest neighbour."""
    same = values.shape == frame.shape and _same_plane(one, frame)
    if same or one.affine is None or frame.to_patient is None:
        return values
    rows, columns = np.meshgrid(*(np.arange(size, dtype=np.float64) for size in frame.shape), indexing="ij")
    step = np.linalg.inv(one.affine) @ frame.to_patient
    across, down, height = (step[axis, 0] * columns + step[axis, 1] * rows + step[axis, 3] for axis in range(3))
    reach = _half_distance(data, [one])
    column, row = np.rint(across).astype(np.intp), np.rint(down).astype(np.intp)
    inside = (height < reach) & (height >= -reach) & (row >= 0) & (row < values.shape[0])
    inside &= (column >= 0) & (column < values.shape[1])
    laid = np.zeros(frame.shape, np.bool_)
    laid[inside] = values[row[inside], column[inside]]
    return laid


def _slice(data: Dataset, number: int) -> _Slice:
    _, affine = frame_geometry(data, number)
    identified = group_item(data, number, "SegmentIdentificationSequence")
    segment = None if identified is None else int(identified.ReferencedSegmentNumber)
    if str(data.SOPClassUID) == LABEL_MAP_SEGMENTATION_STORAGE:
        segment = None
    return _Slice(number, affine, segment, _made_from(data, number))


def _made_from(data: Dataset, number: int) -> tuple[str, int] | None:
    """Source instance and frame number (0 where none is named) of a frame; the only instance referred to, if one is."""
    derivation = group_item(data, number, "DerivationImageSequence")
    sources = [] if derivation is None else derivation.get("SourceImageSequence") or []
    if len(sources) == 1:
        frames = sources[0].get("ReferencedFrameNumber")
        first: Any = frames[0] if isinstance(frames, Sequence) and not isinstance(frames, str) else frames
        return str(sources[0].ReferencedSOPInstanceUID), int(first or 0)
    series = data.get("ReferencedSeriesSequence") or []
    instances = [instance for one in series for instance in one.get("ReferencedInstanceSequence") or []]
    return (str(instances[0].ReferencedSOPInstanceUID), 0) if len(instances) == 1 else None


def _is_anatomy(segment: Dataset) -> bool:
    category = segment.get("SegmentedPropertyCategoryCodeSequence")
    return bool(category) and str(category[0].get("CodeValue")) in ANATOMY


def _codes(segment: Dataset) -> tuple[Code | None, Code | None]:
    """What the segment is, and on which side; the side is a modifier of the type, or of the anatomic region."""
    kind = (segment.get("SegmentedPropertyTypeCodeSequence") or [None])[0]
    if kind is None:
        return None, None
    modifiers = list(kind.get("SegmentedPropertyTypeModifierCodeSequence") or [])
    for region in segment.get("AnatomicRegionSequence") or []:
        modifiers += list(region.get("AnatomicRegionModifierSequence") or [])
    sides = [code for modifier in modifiers if (code := _code(modifier)) is not None and code[0] in SIDES]
    return _code(kind), sides[0] if sides else None


def _code(item: Dataset) -> Code | None:
    value = item.get("CodeValue") or item.get("LongCodeValue")
    if not value:
        return None
    return str(value), str(item.get("CodingSchemeDesignator") or ""), str(item.get("CodeMeaning") or "")
