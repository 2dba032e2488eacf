"""Which part of the body the frames of a result show: the Frame Anatomy functional group (PS3.3 C.7.6.16.2.8)."""

from __future__ import annotations

from copy import deepcopy

from pydicom import Dataset
from pydicom.sequence import Sequence as Items

from whyray.base.coded_concept import CodedConcept
from whyray.imaging import SourceImage
from whyray.results.coding import item
from whyray.results.header import UNPAIRED
from whyray.results.side import side_of

_REGIONS = {
    body_part: CodedConcept(value=value, scheme="SCT", meaning=meaning)
    for body_part, value, meaning in (
        ("ABDOMEN", "818981001", "Abdomen"),
        ("ABDOMENPELVIS", "818982008", "Abdomen and Pelvis"),
        ("BRAIN", "12738006", "Brain"),
        ("BREAST", "76752008", "Breast"),
        ("CHEST", "816094009", "Chest"),
        ("CHESTABDOMEN", "416550000", "Chest and Abdomen"),
        ("CHESTABDPELVIS", "416775004", "Chest, Abdomen and Pelvis"),
        ("CSPINE", "122494005", "Cervical spine"),
        ("HEAD", "69536005", "Head"),
        ("HEADNECK", "774007", "Head and Neck"),
        ("HEART", "80891009", "Heart"),
        ("LSPINE", "122496007", "Lumbar spine"),
        ("MEDIASTINUM", "72410000", "Mediastinum"),
        ("NECK", "45048000", "Neck"),
        ("NECKCHEST", "417437006", "Neck and Chest"),
        ("NECKCHESTABDOMEN", "416152001", "Neck, Chest and Abdomen"),
        ("NECKCHESTABDPELV", "416319003", "Neck, Chest, Abdomen and Pelvis"),
        ("PELVIS", "816092008", "Pelvis"),
        ("PROSTATE", "41216001", "Prostate"),
        ("SKULL", "89546000", "Skull"),
        ("TSPINE", "122495006", "Thoracic spine"),
        ("WHOLEBODY", "38266002", "Entire body"),
    )
}
"""Anatomic Region by Body Part Examined: PS3.16 CID 4031."""


def add_frame_anatomy(made: Dataset, shared: Dataset, image: SourceImage) -> None:
    """Say in the groups that all frames share what the object says of its images, where region and side are known.

    Both are needed (type 1): where one is not known, nothing is said. dcmqi, by which 3D Slicer reads Parametric Maps,
    can't open one that says nothing.
    """
    body_part = str(made.get("BodyPartExamined") or "")
    laterality = side_of(image) or ("U" if body_part in UNPAIRED else "")
    regions = made.get("AnatomicRegionSequence")
    region = deepcopy(regions[0]) if regions else item(_REGIONS[body_part]) if body_part in _REGIONS else None
    if laterality and region is not None:
        group = Dataset()
        group.FrameLaterality, group.AnatomicRegionSequence = laterality, Items([region])
        shared.FrameAnatomySequence = Items([group])
        if "Laterality" in made:  # 2C of General Series: not beside Frame Laterality
            del made.Laterality
