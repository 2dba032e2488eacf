"""From stored values to modality units and to what a viewer shows: PS3.3 C.7.5.1.1.2, C.7.6.3, C.11.1, C.11.2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import XRayAngiographicImageStorage, XRayRadiofluoroscopicImageStorage

from whyray.base.arrays import FloatArray
from whyray.base.errors import ImageError
from whyray.imaging.attributes import (
    attribute_name,
    decimal_number,
    decimal_numbers,
    whole_number,
    written_texts,
    written_value,
)
from whyray.imaging.functional_groups import group_item, holder_of
from whyray.imaging.instance import text
from whyray.imaging.lookup_tables import (
    LookupTableError,
    Table,
    byte_order,
    palette_colours,
    read_table,
    refused_table,
)

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""ITU-R BT.601 weights of red, green and blue."""

PERCENTILES = (0.5, 99.5)
"""Range of the window that is taken when the source's own shows nothing, or there is none."""

EMPTY = ("none", "nothing", "'[]'")
"""What `written_value` says of an attribute that is absent or empty."""

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
FUNCTIONS: dict[str, Function] = {"LINEAR": "LINEAR", "LINEAR_EXACT": "LINEAR_EXACT", "SIGMOID": "SIGMOID"}
"""VOI LUT Function (0028,1056): PS3.3 section C.11.2.1.3."""

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")

_BIPLANE = "1.2.840.10008.5.1.4.1.1.12.3"
_SHOWN_AS_STORED = frozenset({XRayAngiographicImageStorage, XRayRadiofluoroscopicImageStorage, _BIPLANE})


@dataclass(frozen=True)
class Window:
    """Centre and width in modality units, and the function of PS3.3 section C.11.2.1.2 that applies them."""

    centre: float
    width: float
    function: Function = "LINEAR"

    def limits(self) -> tuple[float, float]:
        """Modality values below which all is black and above which all is white (5 % and 95 % for SIGMOID)."""
        if self.function == "LINEAR":
            return self.centre - 0.5 - (self.width - 1) / 2, self.centre - 0.5 + (self.width - 1) / 2
        reach = 0.736 if self.function == "SIGMOID" else 0.5
        return self.centre - reach * self.width, self.centre + reach * self.width

    def apply(self, values: FloatArray) -> FloatArray:
        """Map modality values to 0..1."""
        if self.function == "SIGMOID":
            exponent = np.clip(-4 * (values - self.centre) / self.width, -80, 80)
            return np.asarray(1 / (1 + np.exp(exponent)), dtype=np.float32)
        low, high = self.limits()
        if high <= low:
            return (values > low).astype(np.float32)
        shown = values - np.float32(low)
        shown *= np.float32(1 / (high - low))
        np.clip(shown, 0, 1, out=shown)
        return shown


@dataclass(frozen=True)
class LookupTable:
    """A VOI LUT: `outputs` in 0..1 for modality values first, first + 1, …; the ends hold beyond."""

    first: int
    outputs: FloatArray

    def limits(self) -> tuple[float, float]:
        """Modality values that the table covers."""
        return float(self.first), float(self.first + len(self.outputs) - 1)

    def apply(self, values: FloatArray) -> FloatArray:
        """Map modality values to 0..1."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.outputs) - 1).astype(np.intp)
        return np.asarray(self.outputs[index], dtype=np.float32)


@dataclass(frozen=True)
class Rescale:
    """The linear transform of a monochrome frame: Rescale Slope (0028,1053) and Intercept (0028,1052)."""

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, stored: NDArray[Any]) -> FloatArray:
        """Stored values → modality units, float32."""
        values: FloatArray = stored.astype(np.float32)
        if self.slope != 1:
            values *= np.float32(self.slope)
        if self.intercept != 0:
            values += np.float32(self.intercept)
        return values


@dataclass(frozen=True)
class ModalityTable:
    """A Modality LUT (PS3.3 section C.11.1.1)."""

    table: Table

    def apply(self, stored: NDArray[Any]) -> FloatArray:
        """Stored values → modality units, float32."""
        return np.asarray(self.table.at(stored), dtype=np.float32)


def is_shown_as_stored(header: Dataset) -> bool:
    """Whether stored values go to the window without a modality transform: angiography and fluoroscopy.

    Their Modality LUT leads to the intensity of the beam, and not to what is looked at (PS3.3 C.8.7.1.1.2); dcmtk,
    cornerstone and Weasis leave it out too.
    """
    return header.get("SOPClassUID") in _SHOWN_AS_STORED


def modality_transform(header: Dataset, frame_number: int) -> Rescale | ModalityTable:
    """The Modality LUT or the rescale of one monochrome frame.

    Raises ImageError, naming the attribute, where they can't be applied: without them the values mean nothing.
    """
    if is_shown_as_stored(header):
        return Rescale()
    if "ModalityLUTSequence" in header and written_value(header, "ModalityLUTSequence") not in EMPTY:
        try:
            items = items_of(header, "ModalityLUTSequence")
            if len(items) != 1:
                raise LookupTableError(f"it has {len(items)} items, and one is needed")
            return ModalityTable(read_table(items[0], byte_order(header), signed=_is_signed(header)))
        except LookupTableError as error:
            raise refused_table(header, "ModalityLUTSequence", error) from error
    holder = holder_of(header, frame_number, "PixelValueTransformationSequence", "RescaleSlope")
    _refuse_half_a_rescale(header, frame_number)
    if holder is None:
        return Rescale()
    slope, intercept = decimal_number(holder, "RescaleSlope"), decimal_number(holder, "RescaleIntercept") or 0.0
    if not slope:
        raise ImageError(
            f"instance {header.get('SOPInstanceUID')}: expected a Rescale Slope other than 0, found {slope}"
        )
    return Rescale(slope, intercept)


def _refuse_half_a_rescale(header: Dataset, frame_number: int) -> None:
    """Slope and intercept are given both or not at all: one says nothing without the other."""
    sequence, pair = "PixelValueTransformationSequence", ("RescaleSlope", "RescaleIntercept")
    holders = [holder_of(header, frame_number, sequence, keyword) for keyword in pair]
    if (holders[0] is None) == (holders[1] is None):
        return
    given, missing = pair if holders[1] is None else pair[::-1]
    holder = holders[0] or holders[1]
    identity = decimal_number(holder, given) == (1 if given == "RescaleSlope" else 0)
    if identity and text(header, "Modality") not in ("CT", "PT"):
        return
    raise ImageError(
        f"instance {header.get('SOPInstanceUID')}: expected {attribute_name(missing)} beside {attribute_name(given)} "
        f"{written_value(holder, given)}, found none"
    )


def as_rgb(header: Dataset, stored: NDArray[Any]) -> FloatArray:
    """Colour of one frame in 0..1, (rows, columns, 3)."""
    if text(header, "PhotometricInterpretation") == "PALETTE COLOR":
        try:
            return palette_colours(header, stored)
        except LookupTableError as error:
            raise refused_table(header, "RedPaletteColorLookupTableDescriptor", error) from error
    if stored.ndim != 3 or stored.shape[2] != 3:
        raise ImageError(
            f"instance {header.get('SOPInstanceUID')}: expected 3 samples a pixel, found shape {stored.shape}"
        )
    return np.asarray(stored / np.float32(2.0 ** int(header.BitsStored) - 1), dtype=np.float32)


def padding_range(header: Dataset, stored: NDArray[Any]) -> tuple[int, int] | None:
    """The stored values, from and to, that mark where there is no image: Pixel Padding Value (to Range Limit).

    None where none are named, and of colour and floating point values.
    """
    value = None
    if stored.ndim == 2 and stored.dtype.kind != "f":
        value = _padding_value(header, "PixelPaddingValue")
    if value is None:
        return None
    limit = _padding_value(header, "PixelPaddingRangeLimit")
    ends = (value, value if limit is None else limit)
    return min(ends), max(ends)


@dataclass(frozen=True)
class SourceVoi:
    """What a source says of how a frame is shown.

    Attributes
    ----------
    chosen
        First VOI LUT, else first window, that can be applied; None where there is none.
    windows
        (centres, widths) of the chosen window and of all usable ones after it, as written; empty where a VOI LUT or
        nothing was chosen.
    unusable
        Names and values of the attributes that were passed over.
    table
        The chosen VOI LUT as the source has it.
    """

    chosen: Window | LookupTable | None
    windows: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    unusable: tuple[str, ...] = ()
    table: Table | None = None


def voi_of(header: Dataset, frame_number: int) -> SourceVoi:
    """Choose how to show a frame: first usable VOI LUT, else first usable window.

    What the frame's own functional group says comes before what the instance says of all.
    """
    unusable: list[str] = []
    chosen = SourceVoi(None)
    for holder in _voi_holders(header, frame_number):
        signed = _signed_after_rescale(header, frame_number)
        chosen = _table_of(holder, byte_order(header), unusable, signed=signed) or _window_of(holder, unusable)
        if chosen.chosen is not None:
            break
    return replace(chosen, unusable=tuple(unusable))


def _voi_holders(header: Dataset, frame_number: int) -> list[Dataset]:
    """The data sets that may say how a frame is shown: its Frame VOI LUT group (PS3.3 C.7.6.16.2.10), the instance."""
    group = group_item(header, frame_number, "FrameVOILUTSequence")
    return [header] if group is None else [group, header]


def _table_of(holder: Dataset, order: str, unusable: list[str], *, signed: bool) -> SourceVoi | None:
    """The first VOI LUT that can be applied; what can't goes to `unusable`."""
    items = items_of(holder, "VOILUTSequence")
    for item in items:
        try:
            table = read_table(item, order, signed=signed)
        except LookupTableError as error:
            unusable.append(f"{attribute_name('VOILUTSequence')}: {error}")
            continue
        shown = (table.entries / np.float32(2.0**table.bits - 1)).astype(np.float32)
        return SourceVoi(LookupTable(table.first, shown), table=table)
    if not items and written_value(holder, "VOILUTSequence") not in EMPTY:
        unusable.append(f"{attribute_name('VOILUTSequence')}: it is no sequence")
    return None


def _window_of(holder: Dataset, unusable: list[str]) -> SourceVoi:
    """The first window that can be applied; what can't goes to `unusable`."""
    if all(written_value(holder, keyword) in EMPTY for keyword in ("WindowCenter", "WindowWidth")):
        return SourceVoi(None)
    function = FUNCTIONS.get(text(holder, "VOILUTFunction").upper() or "LINEAR")
    if function is None:
        unusable.append(f"{attribute_name('VOILUTFunction')} {written_value(holder, 'VOILUTFunction')}")
        function = "LINEAR"
    centres, widths = decimal_numbers(holder, "WindowCenter"), decimal_numbers(holder, "WindowWidth")
    least = 1.0 if function == "LINEAR" else 0.0
    usable = [
        number
        for number, (centre, width) in enumerate(zip(centres, widths, strict=False))
        if centre is not None and width is not None and width >= least and width > 0
    ]
    if len(usable) < max(len(centres), len(widths)):
        unusable.append(_written_window(holder))
    if not usable:
        return SourceVoi(None)
    window = Window(cast(float, centres[usable[0]]), cast(float, widths[usable[0]]), function)
    texts = [written_texts(holder, keyword) for keyword in ("WindowCenter", "WindowWidth")]
    windows = tuple(tuple(written[number] for number in usable) for written in texts)
    return SourceVoi(window, (windows[0], windows[1]))


def items_of(header: Dataset, keyword: str) -> list[Dataset]:
    """Items of a sequence; empty where it is absent, empty or can't be read as one."""
    try:
        value = header[keyword].value if keyword in header else None
    except Exception:  # whatever a value makes pydicom raise; `pass_over_unreadable` notes it
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []


def _written_window(holder: Dataset) -> str:
    return " with ".join(
        f"{attribute_name(keyword)} {written_value(holder, keyword)}" for keyword in ("WindowCenter", "WindowWidth")
    )


def shows_something(voi: Window | LookupTable, values: FloatArray) -> bool:
    """Whether at least one value in a thousand lies inside the window, so that a viewer shows more than one flat tone.

    An image of one value shows one tone under any window, and counts as shown.
    """
    if values.size == 0:
        return True
    low, high = voi.limits()
    # to order millions of values takes longer than to read the image
    if surely_shows_something(voi, values, values.size):
        return True
    lowest, highest = np.percentile(values, (0.1, 99.9))
    return bool(lowest == highest or (highest > low and lowest < high))


def surely_shows_something(voi: Window | LookupTable, some: FloatArray, of: int) -> bool:
    """Whether some of at most `of` values are enough to say, beyond doubt, that all of them show something."""
    low, high = voi.limits()
    enough = of // 500 + 2
    return bool(high > low and np.count_nonzero(some > low) >= enough and np.count_nonzero(some < high) >= enough)


def percentile_window(values: FloatArray) -> Window:
    """Window from the 0.5th to the 99.5th percentile of the values, or over all where these coincide."""
    if values.size == 0:
        return Window(0.5, 1.0, "LINEAR_EXACT")
    low, high = np.percentile(values, PERCENTILES)
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if high <= low:
        high = low + 1
    return Window(float(low + high) / 2, float(high - low), "LINEAR_EXACT")


def _is_signed(header: Dataset) -> bool:
    return int(header.get("PixelRepresentation") or 0) == 1


def _signed_after_rescale(header: Dataset, frame_number: int) -> bool:
    """Whether the input of the VOI LUT can be negative: signed pixels, or a rescale with a negative intercept."""
    if _is_signed(header) or is_shown_as_stored(header):
        return _is_signed(header)
    holder = holder_of(header, frame_number, "PixelValueTransformationSequence", "RescaleIntercept")
    return holder is not None and (decimal_number(holder, "RescaleIntercept") or 0) < 0


def _padding_value(header: Dataset, keyword: str) -> int | None:
    """A padding value in the representation of the pixels; its VR (US or SS) is often written wrongly."""
    value = header[keyword].value if keyword in header else None
    if isinstance(value, bytes):
        # Two bytes of an unknown type, in the file's order.
        number = int.from_bytes(value[:2], "big" if byte_order(header) == ">" else "little") if value else None
    else:
        number = whole_number(header, keyword)
    if number is None:
        return None
    bits = int(header.BitsAllocated)
    if _is_signed(header):
        return number - 2**bits if number >= 2 ** (bits - 1) else number
    return number + 2**bits if number < 0 else number
