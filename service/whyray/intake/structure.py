"""Whether an encoded data set is whole: its elements are walked to the end, none of their values is read.

PS3.5 sections 7.1 (elements), 7.5 (sequences) and A.4 (fragments).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from pydicom.datadict import dictionary_VR

_UNDEFINED = 0xFFFFFFFF
_LETTERS = [bytes([letter]) for letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_FRAGMENTED = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV"})
_PIXEL_DATA = (0x7FE0, 0x0010)
_FIRST_WITH_PIXELS = _PIXEL_DATA[0]
_PIXELS = {(0x7FE0, 0x0008), (0x7FE0, 0x0009), _PIXEL_DATA}
_PLAIN = frozenset(a + b for a in _LETTERS for b in _LETTERS) - _LONG
"""Value representations with a length of 16 bits, and those that nobody knows: they hold no elements."""
_PLAIN_LONG = _LONG - {b"SQ", b"UN"}
_DEEPEST = 64
_AT_ONCE = 64 << 10
"""Bytes in which most data sets have all elements but their pixels."""
_LONGEST_PADDING = 7
"""Bytes after the last element: one more, and they would be one."""
_GZIP_TRAILER = struct.Struct("<II")
"""CRC-32 and number of the bytes that were deflated."""
_MOST_INFLATED, _HIGHEST_RATIO = 512 << 20, 50


class Buffer(Protocol):
    """Bytes, a file mapped to memory, or a window on a file."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: slice, /) -> bytes: ...


class NotWhole(ValueError):  # noqa: N818
    """The data set ends too early, or is no sequence of DICOM elements. The message names no value."""


class Malformed(NotWhole):
    """Something else stands where an element, an item or a fragment is expected."""


class Truncated(Malformed):
    """An element, item or fragment is longer than what holds it."""


class TooDeep(NotWhole):
    """Sequences within sequences beyond what any software can follow."""


@dataclass(frozen=True)
class Outline:
    """Where the elements of a whole data set lie."""

    pixels: int
    """The byte at which the first element with pixels begins, or at which the elements end."""
    wanted: tuple[tuple[int, int], ...]
    """First byte and end of those elements of the data set itself, not of its sequences, that were asked for."""


def check_whole(
    data: Buffer, start: int, *, implicit: bool, little: bool, wanted: Container[tuple[int, int]] = ()
) -> Outline:
    """Walk all elements from `start` to the end; says where those of the tags (group, element) in `wanted` lie.

    Up to 7 zero bytes after the last element are borne: some devices pad.

    Raises
    ------
    NotWhole
        If an element, item or fragment reaches beyond what holds it, a delimiter is missing, or sequences are nested
        deeper than 64, whatever way their lengths are given in and whether they are declared as UN.
    """
    walk = _Walk(data, little=little)
    position, end, pixels = start, len(data), 0
    spans: list[tuple[int, int]] = []
    while end - position >= 8:
        position = walk.simple_elements(position, end, implicit, wanted, spans)
        if end - position < 8:
            break
        tag = walk.tag(position)
        if not pixels and tag in _PIXELS:
            pixels = position
        begin, position = position, walk.element(position, implicit, 0, end)
        if tag in wanted:
            spans.append((begin, position))
    rest = data[position:end]
    if rest.strip(b"\x00"):
        raise Truncated(f"truncated: {len(rest)} bytes are left after the last whole element")
    return Outline(pixels or end, tuple(spans))


class _Walk:
    """Walks elements, and the items of sequences, whatever the way in which their lengths are given."""

    def __init__(self, data: Buffer, *, little: bool) -> None:
        order = "<" if little else ">"
        self._data = data
        self._tag = struct.Struct(order + "HH")
        self._explicit = struct.Struct(order + "HH2sH")
        self._length = struct.Struct(order + "I")
        self._first = data[:_AT_ONCE]

    def simple_elements(
        self,
        position: int,
        end: int,
        implicit: bool,
        wanted: Container[tuple[int, int]] = (),
        spans: list[tuple[int, int]] | None = None,
    ) -> int:
        """The end of the elements from `position` on in Explicit VR that hold no others and no pixels, among the first.

        What `tag` and `element` would say of each, in one loop without a slice for each part of it: most of a header is
        such elements. Adds to `spans` where those in `wanted` lie.
        """
        first, explicit, long = self._first, self._explicit.unpack_from, self._length.unpack_from
        last = -1 if implicit else min(len(first), end) - 12
        while position <= last:
            group, number, vr, length = explicit(first, position)
            if vr in _PLAIN:
                after = position + 8 + length
            elif vr in _PLAIN_LONG:
                (length,) = long(first, position + 8)
                if length == _UNDEFINED:
                    break
                after = position + 12 + length
            else:
                break
            # items and delimiters have tags above those of pixels
            if after > end or group >= _FIRST_WITH_PIXELS:
                break
            if spans is not None and (group, number) in wanted:
                spans.append((position, after))
            position = after
        return position

    def _unpacked(self, layout: struct.Struct, position: int) -> tuple[Any, ...]:
        """What lies there; of what is in memory no slice is made."""
        if position + layout.size <= len(self._first):
            return layout.unpack_from(self._first, position)
        return layout.unpack(self._data[position : position + layout.size])

    def tag(self, position: int) -> tuple[int, int]:
        """Group and element of what begins here."""
        group, number = self._unpacked(self._tag, position)
        return group, number

    def element(self, position: int, implicit: bool, depth: int, end: int) -> int:
        """The position after the element at `position`, which may reach to `end`."""
        if position + 8 > end:
            raise Truncated(f"truncated within an element's header at byte {position}")
        group, number, vr, short = self._unpacked(self._explicit, position)
        if implicit or group == 0xFFFE or not (vr.isalpha() and vr.isupper()):
            vr, value = b"", position + 8
            (length,) = self._unpacked(self._length, position + 4)
        elif vr in _LONG:
            value = position + 12
            if value > end:
                raise Truncated(f"truncated within an element's header at byte {position}")
            (length,) = self._unpacked(self._length, position + 8)
        else:
            value, length = position + 8, short
        if length == _UNDEFINED:
            if vr in _FRAGMENTED or (group, number) == _PIXEL_DATA:
                return self._fragments(value, end)
            return self._items(value, implicit or vr == b"UN", depth + 1, end, closed=False)
        if value + length > end:
            raise Truncated(f"truncated: ({group:04X},{number:04X}) has {length} bytes, {end - value} are there")
        if length and (vr == b"SQ" or (not vr and _is_sequence(group, number))):
            self._items(value, implicit, depth + 1, value + length, closed=True)
        elif length >= 8 and vr in (b"UN", b"") and self._unpacked(self._tag, value) == _ITEM:
            self._perhaps_items(value, implicit, depth + 1, value + length)
        return int(value + length)

    def _perhaps_items(self, position: int, implicit: bool, depth: int, end: int) -> None:
        """A value of unknown representation that begins as a sequence does: refused if it is one that is too deep.

        Implicit VR is what PS3.5 section 6.2.2 wants within UN, the data set's own is what some devices write. Where it
        can be read in neither way it is no sequence, and may hold what it likes.
        """
        for way in {True, implicit}:
            with suppress(Malformed):
                self._items(position, way, depth, end, closed=True)

    def _items(self, position: int, implicit: bool, depth: int, end: int, *, closed: bool) -> int:
        """The position after the items of a sequence: at `end` if that is its own (`closed`), else after its delimiter.

        A delimiter that some devices write at the end of a sequence of defined length too is borne.
        """
        if depth > _DEEPEST:
            raise TooDeep(f"sequences are nested deeper than {_DEEPEST}")
        while not (closed and end - position < 8 and self._only_padding(position, end)):
            if position + 8 > end:
                raise Truncated("truncated within a sequence")
            tag = self._unpacked(self._tag, position)
            (length,) = self._unpacked(self._length, position + 4)
            position += 8
            if tag == _SEQUENCE_END:
                return position
            if tag != _ITEM:
                raise Malformed(f"({tag[0]:04X},{tag[1]:04X}) stands where an item is expected, at byte {position - 8}")
            if length == _UNDEFINED:
                position = self._until_item_end(position, implicit, depth, end)
            elif position + length > end:
                raise Truncated(f"truncated: an item has {length} bytes, {end - position} are there")
            else:
                self._until(position + length, position, implicit, depth)
                position += length
        return end

    def _until_item_end(self, position: int, implicit: bool, depth: int, end: int) -> int:
        while position + 8 <= end:
            position = self.simple_elements(position, end, implicit)
            if position + 8 > end:
                break
            if self._unpacked(self._tag, position) == _ITEM_END:
                return position + 8
            position = self.element(position, implicit, depth, end)
        raise Truncated("truncated within an item")

    def _until(self, end: int, position: int, implicit: bool, depth: int) -> None:
        """The elements of an item of defined length; a delimiter that some devices write at its end too is borne."""
        while end - position >= 8:
            position = self.simple_elements(position, end, implicit)
            if end - position < 8:
                break
            if self._unpacked(self._tag, position) == _ITEM_END:
                return
            position = self.element(position, implicit, depth, end)
        if not self._only_padding(position, end):
            raise Malformed(f"{end - position} bytes are left after the last whole element of an item")

    def _fragments(self, position: int, end: int) -> int:
        while position + 8 <= end:
            tag = self._unpacked(self._tag, position)
            (length,) = self._unpacked(self._length, position + 4)
            position += 8
            if tag == _SEQUENCE_END:
                return position
            if tag != _ITEM or length == _UNDEFINED:
                raise Malformed(f"({tag[0]:04X},{tag[1]:04X}) stands where a fragment is expected, at {position - 8}")
            if position + length > end:
                raise Truncated(f"truncated: a fragment has {length} bytes, {end - position} are there")
            position += length
        raise Truncated("truncated within the fragments of the pixels")

    def _only_padding(self, position: int, end: int) -> bool:
        return not self._data[position:end].strip(b"\x00")


@cache
def _is_sequence(group: int, number: int) -> bool:
    """Whether PS3.6 says so: in Implicit VR the element itself does not."""
    try:
        return bool(dictionary_VR(group << 16 | number) == "SQ")
    except KeyError:
        return False


def inflate(data: Buffer, start: int, *, keep: int) -> bytes:
    """Return the first `keep` bytes of a deflated data set (PS3.5 section A.5), having read it to its end.

    Raises
    ------
    NotWhole
        If the deflated stream is damaged, ends too early, has more after it than the padding that `check_whole` bears
        (PS3.5 has one zero byte, where the length would be odd), or inflates to more than 512 MB and more than 50 times
        its own size: whoever reads pixels later has all of it in memory.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    kept, size, checksum = bytearray(), 0, 0
    most = max(_MOST_INFLATED, _HIGHEST_RATIO * (len(data) - start))
    end = start
    try:
        for piece in _slices(data, start):
            end += len(piece)
            # at the end of the stream, what is left of a piece stays the unconsumed tail, whatever is asked
            while piece and not inflater.eof:
                inflated = inflater.decompress(piece, 1 << 20)
                kept += inflated[: keep - len(kept)]
                size, checksum = size + len(inflated), zlib.crc32(inflated, checksum)
                if size > most:
                    raise NotWhole(f"deflated: it inflates to more than {most >> 20} MB")
                piece = inflater.unconsumed_tail
            if inflater.eof:
                end -= len(inflater.unused_data)
                break
        kept += inflater.flush()[: keep - len(kept)]
    except zlib.error as error:
        raise NotWhole("the deflated data set is damaged") from error
    if not inflater.eof:
        raise NotWhole("truncated: the deflated data set ends too early")
    more, rest = len(data) - end, data[end : end + _GZIP_TRAILER.size]
    is_padding = more <= _LONGEST_PADDING and not rest.strip(b"\x00")
    # some write what gzip has there (RFC 1952 section 2.3.1)
    if not is_padding and (more != len(rest) or rest != _GZIP_TRAILER.pack(checksum, size & 0xFFFFFFFF)):
        raise NotWhole(f"{more} bytes follow after the end of the deflated data set")
    return bytes(kept)


def _slices(data: Buffer, start: int) -> Iterator[bytes]:
    for position in range(start, len(data), 1 << 20):
        yield data[position : position + (1 << 20)]
