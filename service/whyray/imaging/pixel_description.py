"""What a data set says of its pixels (Image Pixel, PS3.3 section C.7.6.3), checked value by value."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset

from whyray.base.errors import ImageError
from whyray.imaging.attributes import attribute_name, whole_number, written_value
from whyray.imaging.notes import Note, NoteKind

GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
BITS_ALLOCATED = (1, 8, 16, 32, 64)
OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
"""Repeating groups of Overlay Plane: PS3.3 section C.9.2."""


@dataclass(frozen=True)
class PixelDescription:
    """The form of each frame of an instance.

    Attributes
    ----------
    rows, columns, frames, samples
        Numbers, 1 or more.
    photometric
        Photometric Interpretation (0028,0004), one of `GREY` with one sample or of `COLOUR` with three.
    planar
        Planar Configuration (0028,0006); None with one sample, or where it is absent or unusable.
    bits_allocated, bits_stored, high_bit
        Of one sample; for floating point values all of its bits.
    signed
        Pixel Representation (0028,0103).
    floating
        Whether the values are floating point (Float and Double Float Pixel Data), which need no further description.
    overlay_bits
        Bits of the cell that overlays occupy, as they could until 2004.
    notes
        What had to be assumed.
    """

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    planar: int | None
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    floating: bool
    overlay_bits: int
    notes: tuple[Note, ...] = ()

    @property
    def usual_high_bit(self) -> bool:
        """Whether the value fills the low bits of its cell, as PS3.5 section 8.1.1 demands today."""
        return self.high_bit == self.bits_stored - 1


def pixel_description(header: Dataset) -> PixelDescription:
    """Describe the frames of an instance.

    Raises ImageError, naming attribute and value, where one is absent, impossible or contradicts another.
    """
    notes: list[Note] = []
    rows, columns = (_positive(header, keyword) for keyword in ("Rows", "Columns"))
    samples, photometric = _samples(header)
    allocated = _positive(header, "BitsAllocated")
    if allocated not in BITS_ALLOCATED:
        raise _wrong(header, "BitsAllocated", "1, 8, 16, 32 or 64 bits")
    integer = ("BitsStored", "HighBit", "PixelRepresentation")
    # Float and Double Float Pixel Data (C.7.6.24 and C.7.6.25) have none of the three.
    floating = allocated >= 32 and all(whole_number(header, keyword) is None for keyword in integer)
    stored, high, signed = allocated, allocated - 1, False
    if not floating:
        stored = _positive(header, "BitsStored")
        if stored > allocated:
            raise _wrong(header, "BitsStored", f"at most Bits Allocated, {allocated}")
        high = _high_bit(header, allocated, stored, notes)
        representation = whole_number(header, "PixelRepresentation")
        if representation not in (0, 1):
            raise _wrong(header, "PixelRepresentation", "0 or 1")
        signed = representation == 1
    return PixelDescription(
        rows=rows,
        columns=columns,
        frames=whole_number(header, "NumberOfFrames") or 1,
        samples=samples,
        photometric=photometric,
        planar=_planar(header, samples),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high,
        signed=signed,
        floating=floating,
        overlay_bits=_overlay_bits(header, allocated),
        notes=tuple(notes),
    )


def _positive(header: Dataset, keyword: str) -> int:
    value = whole_number(header, keyword)
    if value is None or value < 1:
        raise _wrong(header, keyword, "a number above 0")
    return value


def _samples(header: Dataset) -> tuple[int, str]:
    photometric = header.get("PhotometricInterpretation")
    name = str(photometric or "").strip()
    if name not in GREY + COLOUR:
        raise _wrong(header, "PhotometricInterpretation", f"one of {', '.join(GREY + COLOUR)}")
    own = 1 if name in GREY else 3
    samples = whole_number(header, "SamplesPerPixel")
    if samples != own:
        raise _wrong(header, "SamplesPerPixel", f"{own} with Photometric Interpretation {name}")
    return own, name


def _high_bit(header: Dataset, allocated: int, stored: int, notes: list[Note]) -> int:
    high, name = whole_number(header, "HighBit"), attribute_name("HighBit")
    if high is not None and stored - 1 <= high < allocated:
        return high
    if high is None or stored == allocated:
        written = written_value(header, "HighBit")
        words = f"{name}: found {written} with Bits Stored {stored} of {allocated} allocated; {stored - 1} was taken"
        notes.append(Note(NoteKind.ATTRIBUTE_IGNORED, words))
        return stored - 1
    raise _wrong(header, "HighBit", f"{stored - 1} to {allocated - 1}, with Bits Stored {stored}")


def _planar(header: Dataset, samples: int) -> int | None:
    if samples == 1:
        return None
    try:
        planar = whole_number(header, "PlanarConfiguration")
    except ImageError:
        planar = -1
    return planar if planar in (0, 1) else None


def _overlay_bits(header: Dataset, allocated: int) -> int:
    """Mask of the bits of a pixel's cell that hold overlays: Overlay Bits Allocated is the image's, not 1."""
    mask = 0
    for group in OVERLAY_GROUPS:
        if (group, 0x3000) in header:
            continue
        position = header.get((group, 0x0102))
        value = None if position is None else position.value
        if isinstance(value, int) and 0 <= value < allocated and (group, 0x0100) in header:
            mask |= 1 << value
    return mask


def _wrong(header: Dataset, keyword: str, expected: str) -> ImageError:
    return ImageError(
        f"instance {header.get('SOPInstanceUID')}: expected {attribute_name(keyword)} to be {expected}, "
        f"found {written_value(header, keyword)}"
    )
