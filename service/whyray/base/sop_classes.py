"""SOP classes that pydicom has no constant for yet, by the name of PS3.6 table A-1."""

from __future__ import annotations

from pydicom.uid import UID

LABEL_MAP_SEGMENTATION_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")
