"""From stored values to modality units and to what a viewer shows: PS3.3 C.7.5.1.1.2, C.7.6.3, C.11.1, C.11.2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import apply_color_lut

from whyray.errors import ImageError
from whyray.imaging.functional_groups import holder_of
from whyray.imaging.instance import text
from whyray.imaging.source import BoolArray, FloatArray

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""ITU-R BT.601 weights of red, green and blue."""

PERCENTILES = (0.5, 99.5)
"""Range of the window that is taken when the source's own shows nothing, or there is none."""

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")


@dataclass(frozen=True)
class Window:
    """Centre and width in modality units, and the function of PS3.3 section C.11.2.1.2 that applies them."""

    centre: float
    width: float
    function: Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"] = "LINEAR"

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


def modality_values(header: Dataset, frame_number: int, stored: NDArray[Any]) -> FloatArray:
    """Apply the Modality LUT or the rescale of one monochrome frame."""
    table = header.get("ModalityLUTSequence")
    if table:
        first, outputs, _ = _table(table[0], signed=_is_signed(header))
        index = np.clip(stored.astype(np.int64) - first, 0, len(outputs) - 1)
        return np.asarray(outputs[index], dtype=np.float32)
    holder = holder_of(header, frame_number, "PixelValueTransformationSequence", "RescaleSlope")
    values: FloatArray = stored.astype(np.float32)
    if holder is not None:
        slope, intercept = float(holder.RescaleSlope), float(holder.get("RescaleIntercept") or 0)
        if slope == 0 or not np.isfinite([slope, intercept]).all():
            raise ImageError(
                f"instance {header.get('SOPInstanceUID')}: expected a Rescale Slope other than 0, found {slope}"
            )
        if slope != 1:
            values *= np.float32(slope)
        if intercept != 0:
            values += np.float32(intercept)
    return values


def as_rgb(header: Dataset, stored: NDArray[Any]) -> FloatArray:
    """Colour of one frame in 0..1, (rows, columns, 3)."""
    if text(header, "PhotometricInterpretation") == "PALETTE COLOR":
        colours = apply_color_lut(stored, header)[..., :3]
        # The palette's depth is its own, whatever the depth of the indices; some writers keep 8 bits in 16-bit words.
        bits = 16 if colours.dtype.itemsize == 2 and colours.max() > 255 else 8
        return np.asarray(colours / np.float32(2**bits - 1), dtype=np.float32)
    if stored.ndim != 3 or stored.shape[2] != 3:
        raise ImageError(
            f"instance {header.get('SOPInstanceUID')}: expected 3 samples a pixel, found shape {stored.shape}"
        )
    return np.asarray(stored / np.float32(2.0 ** int(header.BitsStored) - 1), dtype=np.float32)


def padding_mask(header: Dataset, stored: NDArray[Any]) -> BoolArray:
    """Where Pixel Padding Value (to Pixel Padding Range Limit) marks that there is no image."""
    value = header.get("PixelPaddingValue")
    if value in (None, "") or stored.ndim != 2 or stored.dtype.kind == "f":
        return np.zeros(stored.shape[:2], dtype=np.bool_)
    limit = header.get("PixelPaddingRangeLimit")
    ends = [_as_stored(header, value), _as_stored(header, value if limit in (None, "") else limit)]
    return (stored >= min(ends)) & (stored <= max(ends))


def voi_of(header: Dataset, frame_number: int) -> Window | LookupTable | None:
    """First VOI LUT, else first window, of a frame; None where there is none that can be applied."""
    tables = header.get("VOILUTSequence")
    if tables:
        first, outputs, bits = _table(tables[0], signed=_signed_after_rescale(header, frame_number))
        return LookupTable(first, (outputs / np.float32(2.0**bits - 1)).clip(0, 1).astype(np.float32))
    holder = holder_of(header, frame_number, "FrameVOILUTSequence", "WindowCenter")
    if holder is None or holder.get("WindowWidth") in (None, ""):
        return None
    centre, width = _first(holder.WindowCenter), _first(holder.WindowWidth)
    function = text(holder, "VOILUTFunction").upper() or "LINEAR"
    least = 1.0 if function == "LINEAR" else 0.0
    if not np.isfinite([centre, width]).all() or width < least or width <= 0:
        return None
    if function == "LINEAR_EXACT":
        return Window(centre, width, "LINEAR_EXACT")
    return Window(centre, width, "SIGMOID" if function == "SIGMOID" else "LINEAR")


def shows_something(voi: Window | LookupTable, values: FloatArray) -> bool:
    """Whether at least one value in a thousand lies inside the window, so that a viewer shows more than one flat tone.

    An image of one value shows one tone under any window, and counts as shown.
    """
    if values.size == 0:
        return True
    lowest, highest = np.percentile(values, (0.1, 99.9))
    low, high = voi.limits()
    return bool(lowest == highest or (highest > low and lowest < high))


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


def _table(item: Dataset, *, signed: bool) -> tuple[int, FloatArray, int]:
    """First mapped value, entries, bits of an entry: LUT Descriptor and LUT Data of PS3.3 section C.11.1.1."""
    descriptor = [int(value) for value in item.LUTDescriptor]
    count = descriptor[0] or 2**16
    first, bits = descriptor[1], descriptor[2]
    if signed and first > 2**15 - 1:
        first -= 2**16
    elif not signed and first < 0:
        first += 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        width = np.uint8 if len(data) < 2 * count else np.dtype("<u2")
        entries = np.frombuffer(data, dtype=width)
    else:
        entries = np.atleast_1d(np.asarray(data, dtype=np.int64)) & 0xFFFF
    if len(entries) < count or not 1 <= bits <= 16:
        raise ImageError(f"lookup table: expected {count} entries of 1 to 16 bits, found {len(entries)} of {bits}")
    return first, entries[:count].astype(np.float32), bits


def _first(values: object) -> float:
    if isinstance(values, Sequence) and not isinstance(values, str):
        return float(values[0])
    return float(values)  # type: ignore[arg-type]


def _is_signed(header: Dataset) -> bool:
    return int(header.get("PixelRepresentation") or 0) == 1


def _signed_after_rescale(header: Dataset, frame_number: int) -> bool:
    """Whether the input of the VOI LUT can be negative: signed pixels, or a rescale with a negative intercept."""
    holder = holder_of(header, frame_number, "PixelValueTransformationSequence", "RescaleIntercept")
    return _is_signed(header) or (holder is not None and float(holder.RescaleIntercept) < 0)


def _as_stored(header: Dataset, value: object) -> int:
    """A padding value in the representation of the pixels; its VR (US or SS) is often written wrongly."""
    bits = int(header.BitsAllocated)
    number = int.from_bytes(value[:2], "little") if isinstance(value, bytes) else int(_first(value))
    if _is_signed(header):
        return number - 2**bits if number >= 2 ** (bits - 1) else number
    return number + 2**bits if number < 0 else number
