"""SOP classes that pydicom has no constant for yet, by the name of PS3.6 table A-1; and those that hold no image."""

from __future__ import annotations

from pydicom.uid import UID

LABEL_MAP_SEGMENTATION_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_WITHOUT_IMAGE = tuple(_STORAGE + family for family in ("9.", "11.", "88.", "104."))
"""Waveforms; presentation states; structured reports and key objects; encapsulated documents."""


def holds_no_image(sop_class_uid: str) -> bool:
    """Whether an object is of a family that a reader adds to a study, or a device beside its images: never an image."""
    return sop_class_uid.startswith(_WITHOUT_IMAGE)
