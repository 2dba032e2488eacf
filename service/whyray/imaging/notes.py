"""What a reader must know of how an image was read: the facts that travel into reports, pages and the admin page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class NoteKind(StrEnum):
    """What a note is about. Each kind has one short phrase in every wording template, which pages show."""

    GAP = "gap"
    """Slices are missing between others."""
    LEFT_OUT = "left-out"
    """Slices or frames of the same series could not be used."""
    REPEATED = "repeated"
    """A slice came more than once, with the same content, and was used once."""
    SPLIT_SERIES = "split-series"
    """The series held several acquisitions, reconstructions or matrices; this image is one of them."""
    UNEVEN_SLICES = "uneven-slices"
    """Spacing or thickness of slices, or of their pixels, varies along the image."""
    WINDOW_REPLACED = "window-replaced"
    """The source's window or VOI LUT is absent or unusable; another one is shown."""
    PIXEL_DATA_REPAIRED = "pixel-data-repaired"
    """The pixel data contradict their description in a way that could be resolved."""
    POSITION_UNKNOWN = "position-unknown"
    """The place or orientation in the patient is unusable and was not used."""
    ATTRIBUTE_IGNORED = "attribute-ignored"
    """Another attribute of the source is unusable and was passed over."""


@dataclass(frozen=True)
class Note:
    """One fact of how an image was read.

    `detail` names attribute, value and place in plain English; it holds UIDs and numbers, never who the patient is.
    """

    kind: NoteKind
    detail: str

    def __str__(self) -> str:
        return self.detail


def without_repeats(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Each note once, in the order of their first place."""
    return tuple(dict.fromkeys(notes))
