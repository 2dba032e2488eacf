"""Lookup tables as files hold them: PS3.3 sections C.11.1.1 (Modality), C.11.2.1.1 (VOI) and C.7.6.3.1.5 (palettes)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import apply_color_lut
from pydicom.uid import ExplicitVRBigEndian

from whyray.base.arrays import FloatArray
from whyray.base.errors import ImageError
from whyray.imaging.attributes import attribute_name, written_value

COLOURS = ("Red", "Green", "Blue")


class LookupTableError(ValueError):
    """A lookup table that can't be applied; the message names attribute and value."""


@dataclass(frozen=True)
class Table:
    """`entries` for the input values first, first + 1, …, each of `bits` bits; the ends hold beyond."""

    first: int
    entries: NDArray[np.int64]
    bits: int

    def at(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Entries for whole input values."""
        index = np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index], dtype=np.int64)


def byte_order(header: Dataset) -> str:
    """'>' for a file in Explicit VR Big Endian, else '<': the order of the words in its OW values."""
    meta = getattr(header, "file_meta", None)
    return ">" if meta is not None and meta.get("TransferSyntaxUID") == ExplicitVRBigEndian else "<"


def read_table(
    holder: Dataset, order: str, *, signed: bool, descriptor: str = "LUTDescriptor", data: str = "LUTData"
) -> Table:
    """Read one table; `order` is the file's `byte_order`, `signed` says whether its first input value can be negative.

    Raises LookupTableError for a descriptor or data that don't belong together.
    """
    count, first, bits = _descriptor(holder, descriptor, order)
    if signed and first > 2**15 - 1:
        first -= 2**16
    entries = _entries(holder, data, order, count)
    if not 1 <= bits <= 16 or len(entries) < count:
        raise LookupTableError(
            f"{attribute_name(descriptor)} {written_value(holder, descriptor)} asks for {count} entries of 1 to 16 "
            f"bits, {attribute_name(data)} has {len(entries)}"
        )
    entries = entries[:count]
    if entries.max() >= 2**bits:
        raise LookupTableError(
            f"{attribute_name(descriptor)} says {bits} bits an entry, {attribute_name(data)} goes up to {entries.max()}"
        )
    return Table(first, entries, bits)


def palette_colours(header: Dataset, stored: NDArray[Any]) -> FloatArray:
    """Colour in 0..1 of the indices of a PALETTE COLOR frame (PS3.3 section C.7.6.3.1.5): (rows, columns, 3).

    Raises LookupTableError.
    """
    if "SegmentedRedPaletteColorLookupTableData" in header and "RedPaletteColorLookupTableData" not in header:
        try:
            colours = np.asarray(apply_color_lut(stored, header)[..., :3], dtype=np.int64)
        except Exception as error:  # pydicom raises what it likes on damaged segments
            raise LookupTableError(
                f"{attribute_name('SegmentedRedPaletteColorLookupTableData')} and its like can't be unfolded"
            ) from error
        return _scaled(colours)
    signed = stored.dtype.kind == "i"
    order = byte_order(header)
    channels = []
    for colour in COLOURS:
        name = f"{colour}PaletteColorLookupTableDescriptor"
        if colour != "Red" and name not in header:
            name = "RedPaletteColorLookupTableDescriptor"
        count, first, _ = _descriptor(header, name, order)
        first = first - 2**16 if signed and first > 2**15 - 1 else first
        data = f"{colour}PaletteColorLookupTableData"
        entries = _entries(header, data, order, count)
        if len(entries) < count:
            raise LookupTableError(
                f"{attribute_name(name)} {written_value(header, name)} asks for {count} entries, "
                f"{attribute_name(data)} has {len(entries)}"
            )
        channels.append(Table(first, entries[:count], 16).at(stored))
    return _scaled(np.stack(channels, axis=-1))


def refused_table(header: Dataset, name: str, error: LookupTableError) -> ImageError:
    """The refusal of an image whose pixels mean nothing without this table."""
    return ImageError(
        f"instance {header.get('SOPInstanceUID')}: expected a usable {attribute_name(name)}, found that {error}"
        if name in header
        else f"instance {header.get('SOPInstanceUID')}: expected a usable lookup table, found that {error}"
    )


def _scaled(colours: NDArray[np.int64]) -> FloatArray:
    # The palette's depth is its own, whatever the depth of the indices; some writers keep 8 bits in 16-bit words.
    bits = 16 if colours.max() > 255 else 8
    return np.asarray(colours / np.float32(2**bits - 1), dtype=np.float32)


def _descriptor(holder: Dataset, keyword: str, order: str) -> tuple[int, int, int]:
    try:
        value = holder[keyword].value if keyword in holder else None
        if isinstance(value, bytes):
            value = np.frombuffer(value, dtype=f"{order}u2").tolist()
        numbers = [int(number) & 0xFFFF for number in value or ()]
    except (TypeError, ValueError):
        numbers = []
    except Exception as error:  # whatever a value makes pydicom raise
        raise LookupTableError(f"{attribute_name(keyword)} can't be read") from error
    if len(numbers) != 3:
        raise LookupTableError(
            f"{attribute_name(keyword)} should be three numbers, and is {written_value(holder, keyword)}"
        )
    return numbers[0] or 2**16, numbers[1], numbers[2]


def _entries(holder: Dataset, keyword: str, order: str, count: int) -> NDArray[np.int64]:
    """LUT Data: words in the file's byte order, or bytes, which are packed two a word, the first in the low half."""
    try:
        if keyword not in holder or holder[keyword].value is None:
            raise LookupTableError(f"{attribute_name(keyword)} is missing")
        element = holder[keyword]
        value = element.value
        if isinstance(value, bytes):
            words = np.frombuffer(value[: len(value) // 2 * 2], dtype=f"{order}u2")
            if len(words) >= count:
                return words.astype(np.int64)
            if element.VR == "OB" or len(value) % 2:
                return np.frombuffer(value, dtype=np.uint8).astype(np.int64)
        else:
            words = np.atleast_1d(np.asarray(value, dtype=np.int64)) & 0xFFFF
            if len(words) >= count:
                return words
    except LookupTableError:
        raise
    except Exception as error:  # whatever a value makes pydicom raise
        raise LookupTableError(f"{attribute_name(keyword)} can't be read") from error
    return np.stack([words & 0xFF, words >> 8], axis=-1).reshape(-1).astype(np.int64)
