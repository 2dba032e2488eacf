"""What a reader must know of how an image was read: the facts that travel with it into `report.json`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class NoteKind(StrEnum):
    """What a note is about."""

    GAP = "gap"
    """Slices are missing between others."""
    NO_WINDOW = "no-window"
    """The source has no window and no VOI LUT; it is shown by its values."""
    WINDOW_REPLACED = "window-replaced"
    """The source's window or VOI LUT is unusable; another one is shown."""
    SHUTTER = "shutter"
    """The source's display shutter hides a part of the image."""
    CAPTURED = "captured"
    """A secondary capture: a picture of an image, a digitised film, a screenshot; marks and text may be part of it."""
    COMPUTED = "computed"
    """The image was computed from others: a projection through slices, a difference."""
    PIXEL_DATA_REPAIRED = "pixel-data-repaired"
    """The pixel data contradict their description in a way that could be resolved."""
    ATTRIBUTE_IGNORED = "attribute-ignored"
    """An attribute of the source is unusable and was passed over."""
    NO_PIXEL_SIZE = "no-pixel-size"
    """What the source says of the size of a pixel is unusable, and nothing else says it: nothing is told in mm."""
    SPLIT_SERIES = "split-series"
    """The slices of one series were acquired or reconstructed differently: this image is one part of them."""
    UNEVEN_SLICES = "uneven-slices"
    """Slices of one volume differ in distance, thickness, orientation or how they were acquired."""
    LEFT_OUT = "left-out"
    """Instances or frames of the same series could not be used and are missing here."""
    REPEATED = "repeated"
    """The same slice or instance came more than once and was used once."""
    POSITION_UNKNOWN = "position-unknown"
    """What the source says of the image's place in the patient is unusable; the image has none."""


@dataclass(frozen=True)
class Note:
    """One fact of how an image was read.

    `detail` names attribute, value and place in plain English; it holds UIDs and numbers, never who the patient is.
    """

    kind: NoteKind
    detail: str

    def __str__(self) -> str:
        return self.detail
