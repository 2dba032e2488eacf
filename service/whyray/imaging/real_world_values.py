"""What stored values mean by the Real World Value Mapping Sequence (0040,9096): PS3.3 section C.7.6.16.2.11.

Each item maps a range of stored values, not of modality values, to a quantity in a unit, by a line or by a table. A
frame may have several: in different units, or of parts of the range in one unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.errors import ImageError
from whyray.imaging.attributes import attribute_name, decimal_numbers, written_texts, written_value
from whyray.imaging.functional_groups import group_items
from whyray.imaging.photometry import items_of

_SEQUENCE = "RealWorldValueMappingSequence"
_ENDS = (
    ("RealWorldValueFirstValueMapped", "DoubleFloatRealWorldValueFirstValueMapped"),
    ("RealWorldValueLastValueMapped", "DoubleFloatRealWorldValueLastValueMapped"),
)
"""Of integer pixels, and of floating point ones."""
_ROUNDING = 1e-6
"""Share of the larger end's value by which two mappings of one stored value may differ: a table of 32-bit numbers."""
_STORED, _LARGEST = 2.0**32, float(np.finfo(np.float32).max)
"""Beyond all stored values of integer pixels, and the largest value that a model can be given."""
_ADVICE = "Give the image with one usable mapping to this unit, or without any."


@dataclass(frozen=True)
class RealWorldMap:
    """One item: stored values from `first` to `last`, both mapped, to a quantity.

    `table`: real world values of first, first + 1, …, in place of slope and intercept.
    """

    first: float
    last: float
    slope: float = 1.0
    intercept: float = 0.0
    table: tuple[float, ...] | None = None

    def maps(self, stored: NDArray[Any]) -> BoolArray:
        """Which stored values it says something of."""
        return np.asarray((stored >= self.first) & (stored <= self.last), dtype=np.bool_)

    def apply(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Real world values; without meaning beyond `first` and `last`."""
        if self.table is None:
            return np.asarray(stored.astype(np.float64) * self.slope + self.intercept)
        index = np.clip(stored.astype(np.int64) - int(self.first), 0, len(self.table) - 1)
        return np.asarray(self.table, np.float64)[index]


def real_world_maps(header: Dataset, frame_number: int, units: Sequence[str]) -> list[RealWorldMap]:
    """How a frame's stored values become one of `units` (UCUM codes of one unit); empty where nothing says it.

    Raises ImageError, naming the attribute, for an item that can't be applied, and for two that say different things of
    one stored value.
    """
    maps: list[RealWorldMap] = []
    for item in _items(header, frame_number):
        if _unit_of(item) in units and (one := _map_of(header, item)) not in maps:
            maps.append(one)
    for index, one in enumerate(maps):
        if any(_differ(one, other) for other in maps[:index]):
            raise _refused(header, f"one mapping to {units[0]} of each stored value, found several")
    return maps


def mapped_pixels(maps: Sequence[RealWorldMap], stored: NDArray[Any], padding: BoolArray) -> BoolArray:
    """Where there is an image, and any of a frame's mappings says something of its stored value: (rows, columns)."""
    mapped = np.zeros(stored.shape, np.bool_)
    for one in maps:
        mapped |= one.maps(stored)
    return mapped & ~padding


def real_world_values(maps: Sequence[RealWorldMap], stored: NDArray[Any], padding: BoolArray) -> FloatArray:
    """A frame's real world values, (rows, columns) float32; 0 where nothing is mapped, and where there is no image."""
    values = np.zeros(stored.shape, np.float64)
    for one in maps:
        where = one.maps(stored) & ~padding
        values[where] = one.apply(stored[where])
    return values.astype(np.float32)


def refuse_left_out(header: Dataset, maps: Sequence[RealWorldMap], left_out: NDArray[Any]) -> None:
    """ImageError for stored values, (values), that a frame's mappings leave out; nothing where there are none."""
    if left_out.size:
        ends = " and ".join(f"from {one.first:g} to {one.last:g}" for one in maps)
        raise _refused(header, f"all stored values mapped, found {left_out[0]:g} beside those {ends}")


def _differ(one: RealWorldMap, other: RealWorldMap) -> bool:
    """Whether two mappings say different things of any stored value that both map.

    Two lines do so at the ends of what they share or nowhere; a table says something of whole numbers alone.
    """
    first, last = max(one.first, other.first), min(one.last, other.last)
    if first > last:
        return False
    is_line = one.table is None and other.table is None
    shared = np.array([first, last]) if is_line else np.arange(first, last + 1)
    largest = max(float(np.abs(each.apply(np.array([each.first, each.last]))).max()) for each in (one, other))
    return bool(np.abs(one.apply(shared) - other.apply(shared)).max() > _ROUNDING * largest)


def _items(header: Dataset, frame_number: int) -> list[Dataset]:
    """The frame's own items, else those that all frames share, else those at the top (General Image, C.7.6.1)."""
    items = group_items(header, frame_number, _SEQUENCE) or items_of(header, _SEQUENCE)
    return [item for item in items if isinstance(item, Dataset)]


def _unit_of(item: Dataset) -> str:
    """The unit's UCUM code; empty where it has none."""
    codes = items_of(item, "MeasurementUnitsCodeSequence")
    if len(codes) != 1 or written_texts(codes[0], "CodingSchemeDesignator")[0] not in ("UCUM", ""):
        return ""
    return written_texts(codes[0], "CodeValue")[0] or written_texts(codes[0], "LongCodeValue")[0]


def _map_of(header: Dataset, item: Dataset) -> RealWorldMap:
    first, last = (_end(header, item, *keywords) for keywords in _ENDS)
    if first > last:
        raise _refused(header, f"a range of stored values, found {first:g} to {last:g}")
    table = decimal_numbers(item, "RealWorldValueLUTData")
    if not table:
        slope, intercept = (
            _one(header, item, keyword) for keyword in ("RealWorldValueSlope", "RealWorldValueIntercept")
        )
        if slope == 0:
            raise _refused(header, f"{attribute_name('RealWorldValueSlope')} other than 0, found 0")
        return _representable(header, RealWorldMap(first, last, slope, intercept))
    if not (first.is_integer() and last.is_integer()):
        raise _refused(header, f"whole numbers as ends of a table, found {first:g} and {last:g}")
    entries = tuple(entry for entry in table if entry is not None)
    if len(entries) != len(table) or len(entries) != last - first + 1:
        name = attribute_name("RealWorldValueLUTData")
        raise _refused(header, f"{last - first + 1:g} numbers in {name}, found {len(entries)} of {len(table)}")
    if any(keyword in item for keyword in ("RealWorldValueSlope", "RealWorldValueIntercept")):
        raise _refused(header, "a table or a line, found both")
    return _representable(header, RealWorldMap(first, last, table=entries))


def _representable(header: Dataset, made: RealWorldMap) -> RealWorldMap:
    """ImageError where stored values that integer pixels may have become more than a 32-bit number holds."""
    ends = np.clip(np.array([made.first, made.last]), -_STORED, _STORED)
    values = made.apply(ends) if made.table is None else np.asarray(made.table)
    if np.abs(values).max() > _LARGEST:
        raise _refused(header, f"values of up to {_LARGEST:.2g}, found {np.abs(values).max():.2g}")
    return made


def _end(header: Dataset, item: Dataset, whole: str, floating: str) -> float:
    given = [keyword for keyword in (whole, floating) if decimal_numbers(item, keyword)]
    if len(given) != 1:
        raise _refused(header, f"one {attribute_name(whole)} or {attribute_name(floating)}, found {len(given)}")
    return _one(header, item, given[0])


def _one(header: Dataset, item: Dataset, keyword: str) -> float:
    values = decimal_numbers(item, keyword)
    if len(values) != 1 or values[0] is None:
        raise _refused(header, f"a number in {attribute_name(keyword)}, found {written_value(item, keyword)}")
    return values[0]


def _refused(header: Dataset, expected: str) -> ImageError:
    return ImageError(
        f"instance {header.get('SOPInstanceUID')}: expected in {attribute_name(_SEQUENCE)} {expected}", advice=_ADVICE
    )
