"""Which part of the body the frames of a result show: the Frame Anatomy functional group (PS3.3 C.7.6.16.2.8)."""

from __future__ import annotations

from copy import deepcopy

from pydicom import Dataset
from pydicom.sequence import Sequence as Items

from whyray.imaging import SourceImage, group_item
from whyray.results.body_parts import REGIONS, is_unpaired
from whyray.results.carried import copy_valid, valid_text
from whyray.results.coding import item
from whyray.results.header import stated_sides
from whyray.results.side import side_of

_LATERALITIES = ("R", "L", "U", "B")


def add_frame_anatomy(made: Dataset, shared: Dataset, image: SourceImage) -> None:
    """Say in the groups that all frames share which part they show, where region and side are known.

    As the source's own groups say it, where all of its frames that the image has agree; else as the object says it of
    its images. Both are needed (type 1): where one is not known, nothing is said. dcmqi, by which 3D Slicer reads
    Parametric Maps, can't open one that says nothing.
    """
    group = _of_source(image) or _of_object(made, image)
    if group is not None:
        shared.FrameAnatomySequence = Items([group])
        if "Laterality" in made:  # 2C of General Series: not beside Frame Laterality
            del made.Laterality


def _of_source(image: SourceImage) -> Dataset | None:
    """Frame Anatomy of all frames, without private parts; None where they differ, or the object says another side."""
    stated: dict[int, Dataset | None] = {}
    for frame in image.frames:
        own = group_item(image.headers[frame.sop_instance_uid], frame.frame_number, "FrameAnatomySequence")
        stated.setdefault(id(own), own)
    group: Dataset | None = None
    for own in stated.values():
        valid = None if own is None else _complete(own)
        if valid is None or (group is not None and valid != group):
            return None
        group = valid
    sides = set()
    for header in image.headers.values():
        of_object = stated_sides(header)
        of_object.pop("FrameLaterality", None)
        sides |= set(of_object.values())
    return group if group is not None and sides <= {group.FrameLaterality} else None


def _complete(group: Dataset) -> Dataset | None:
    made = Dataset()
    copy_valid(made, group, "AnatomicRegionSequence")
    laterality = valid_text(group, "FrameLaterality")
    if "AnatomicRegionSequence" not in made or laterality not in _LATERALITIES:
        return None
    made.FrameLaterality = laterality
    copy_valid(made, group, "PrimaryAnatomicStructureSequence")
    return made


def _of_object(made: Dataset, image: SourceImage) -> Dataset | None:
    regions, body_part = made.get("AnatomicRegionSequence"), str(made.get("BodyPartExamined") or "")
    laterality = side_of(image) or ("U" if is_unpaired(made) else "")
    region = deepcopy(regions[0]) if regions else item(REGIONS[body_part]) if body_part in REGIONS else None
    if not laterality or region is None:
        return None
    group = Dataset()
    group.FrameLaterality, group.AnatomicRegionSequence = laterality, Items([region])
    return group
