"""Parts of the body as DICOM names and codes them, and which of them are not one of a pair (PS3.16 annex L)."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.sr.coding import Code

from whyray.base.coded_concept import CodedConcept
from whyray.results.carried import is_coded_entry, valid_element, valid_text

UNPAIRED = frozenset(
    {"ABDOMEN", "ABDOMENPELVIS", "AORTA", "BLADDER", "BRAIN", "CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "COCCYX"}
    | {"COLON", "CSPINE", "CTSPINE", "DUODENUM", "ESOPHAGUS", "GALLBLADDER", "HEAD", "HEADNECK", "HEART", "JAW"}
    | {"LARYNX", "LIVER", "LSPINE", "LSSPINE", "MEDIASTINUM", "NECK", "NECKCHEST", "NECKCHESTABDOMEN"}
    | {"NECKCHESTABDPELV", "PANCREAS", "PELVIS", "PROSTATE", "RECTUM", "SKULL", "SPINE", "SPLEEN", "SSPINE"}
    | {"STERNUM", "STOMACH", "THYMUS", "THYROID", "TLSPINE", "TRACHEA", "TSPINE", "UTERUS", "WHOLEBODY"}
)
"""Body parts that are not one of a pair, as Body Part Examined names them (PS3.16 annex L)."""
REGIONS = {
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


_UNPAIRED_REGIONS = [
    *(Code(region.value, region.scheme, region.meaning) for part, region in REGIONS.items() if part in UNPAIRED),
    Code("113345001", "SCT", "Abdomen"),
    Code("51185008", "SCT", "Chest"),
    Code("12921003", "SCT", "Pelvis"),
]
"""With those by which three were coded before, to which SNOMED RT's (SRT) are equal."""


def is_unpaired(source: Dataset) -> bool:
    """Whether Body Part Examined, or without it Anatomic Region without modifiers, is known not to be one of a pair."""
    part = valid_text(source, "BodyPartExamined")
    if part:
        return part in UNPAIRED
    element = valid_element(source, "AnatomicRegionSequence")
    items = [] if element is None else list(element.value or [])
    return bool(items) and all(_is_unpaired_region(item) for item in items)


def _is_unpaired_region(item: Dataset) -> bool:
    if item.get("AnatomicRegionModifierSequence") or not is_coded_entry(item) or "CodeValue" not in item:
        return False
    return Code(item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning) in _UNPAIRED_REGIONS
