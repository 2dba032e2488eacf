"""Whether an encoded data set is whole: its elements are walked to the end, none of their values is read.

PS3.5 sections 7.1 (elements), 7.5 (sequences) and A.4 (fragments).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Protocol

_UNDEFINED = 0xFFFFFFFF
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_DEEPEST = 64


class Buffer(Protocol):
    """Bytes, or a file mapped to memory."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: slice, /) -> bytes: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...


class NotWhole(ValueError):  # noqa: N818
    """The data set ends too early, or is no sequence of DICOM elements. The message names no value."""


def check_whole(data: Buffer, start: int, *, implicit: bool, little: bool) -> None:
    """Walk all elements from `start` to the end.

    Up to 7 zero bytes after the last element are borne: some devices pad.

    Raises
    ------
    NotWhole
        If an element, item or fragment reaches beyond the end, or a delimiter is missing.
    """
    walk = _Walk(data, implicit=implicit, little=little)
    position, end = start, len(data)
    while end - position >= 8:
        position = walk.element(position, implicit, 0)
    rest = data[position:end]
    if rest.strip(b"\x00"):
        raise NotWhole(f"truncated: {len(rest)} bytes are left after the last whole element")


class _Walk:
    def __init__(self, data: Buffer, *, implicit: bool, little: bool) -> None:
        order = "<" if little else ">"
        self._data, self._end, self._implicit = data, len(data), implicit
        self._tag = struct.Struct(order + "HH")
        self._explicit = struct.Struct(order + "HH2sH")
        self._length = struct.Struct(order + "I")

    def element(self, position: int, implicit: bool, depth: int) -> int:
        """The position after the element at `position`."""
        if position + 8 > self._end:
            raise NotWhole(f"truncated within an element's header at byte {position}")
        group, number, vr, short = self._explicit.unpack_from(self._data, position)
        if implicit or group == 0xFFFE or not (vr.isalpha() and vr.isupper()):
            vr, value = b"", position + 8
            (length,) = self._length.unpack_from(self._data, position + 4)
        elif vr in _LONG:
            value = position + 12
            if value > self._end:
                raise NotWhole(f"truncated within an element's header at byte {position}")
            (length,) = self._length.unpack_from(self._data, position + 8)
        else:
            value, length = position + 8, short
        if length == _UNDEFINED:
            return self._items(value, implicit or vr == b"UN", depth + 1)
        if value + length > self._end:
            raise NotWhole(f"truncated: ({group:04X},{number:04X}) has {length} bytes, {self._end - value} are there")
        return int(value + length)

    def _items(self, position: int, implicit: bool, depth: int) -> int:
        if depth > _DEEPEST:
            raise NotWhole(f"sequences are nested deeper than {_DEEPEST}")
        while True:
            if position + 8 > self._end:
                raise NotWhole("truncated within a sequence or the fragments of its pixels")
            tag = self._tag.unpack_from(self._data, position)
            (length,) = self._length.unpack_from(self._data, position + 4)
            position += 8
            if tag == _SEQUENCE_END:
                return position
            if tag != _ITEM:
                raise NotWhole(f"({tag[0]:04X},{tag[1]:04X}) stands where an item is expected, at byte {position - 8}")
            if length == _UNDEFINED:
                position = self._until_item_end(position, implicit, depth)
            elif position + length > self._end:
                raise NotWhole(f"truncated: an item has {length} bytes, {self._end - position} are there")
            else:
                position += length

    def _until_item_end(self, position: int, implicit: bool, depth: int) -> int:
        while position + 8 <= self._end:
            if self._tag.unpack_from(self._data, position) == _ITEM_END:
                return position + 8
            position = self.element(position, implicit, depth)
        raise NotWhole("truncated within an item")


def inflate(data: Buffer, start: int, *, keep: int) -> bytes:
    """Return the first `keep` bytes of a deflated data set (PS3.5 section A.5), having read it to its end.

    Raises
    ------
    NotWhole
        If the deflated stream is damaged or ends too early.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    kept = bytearray()
    try:
        for piece in _slices(data, start):
            while piece:
                inflated = inflater.decompress(piece, 1 << 20)
                kept += inflated[: keep - len(kept)]
                piece = inflater.unconsumed_tail
            if inflater.eof:
                break
        kept += inflater.flush()[: keep - len(kept)]
    except zlib.error as error:
        raise NotWhole("the deflated data set is damaged") from error
    if not inflater.eof:
        raise NotWhole("truncated: the deflated data set ends too early")
    return bytes(kept)


def _slices(data: Buffer, start: int) -> Iterator[bytes]:
    for position in range(start, len(data), 1 << 20):
        yield data[position : position + (1 << 20)]
