"""Which characters a font file can write, read from its table `cmap` (OpenType specification 1.9.1, "cmap").

FreeType knows it as well, but Pillow does not hand it on, and to load what does, matplotlib, takes longer than to draw
a page.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

_COLLECTION = b"ttcf"
_UNICODE = ((3, 10), (0, 4), (3, 1), (0, 3), (0, 2), (0, 1), (0, 0))
"""Platform and encoding of subtables, as FreeType prefers them: all of Unicode, then its first plane alone."""
_ONE_GLYPH_FOR_MANY = (0, 6)
"""Fonts of last resort, which tell of a character that it can't be written."""


def characters_of(path: Path) -> frozenset[str] | None:
    """The characters that the file's first font has a glyph for; None where its form is none that is read here.

    Raises
    ------
    OSError
        If the file can't be read.
    """
    try:
        return _characters(path.read_bytes())
    except (struct.error, ValueError, IndexError):  # another form, or damaged: FreeType may know better
        return None


def _characters(font: bytes) -> frozenset[str] | None:
    table = _table(font, b"cmap")
    if table is None:
        return None
    count = struct.unpack_from(">H", font, table + 2)[0]
    places = {}
    for index in range(count):
        platform, encoding, offset = struct.unpack_from(">HHI", font, table + 4 + 8 * index)
        places[platform, encoding] = table + offset
    place = next((places[kind] for kind in _UNICODE if kind in places), None)
    if place is None or _ONE_GLYPH_FOR_MANY in places:
        return None
    read = {12: _segmented_coverage, 4: _segment_mapping}.get(struct.unpack_from(">H", font, place)[0])
    return None if read is None else frozenset(map(chr, read(font, place)))


def _table(font: bytes, tag: bytes) -> int | None:
    """Where a table of the first font begins."""
    start = struct.unpack_from(">I", font, 12)[0] if font[:4] == _COLLECTION else 0
    count = struct.unpack_from(">H", font, start + 4)[0]
    for index in range(count):
        name, _, offset, _ = struct.unpack_from(">4sIII", font, start + 12 + 16 * index)
        if name == tag:
            return int(offset)
    return None


def _segmented_coverage(font: bytes, place: int) -> Iterator[int]:
    """Format 12: groups of first and last character and the first one's glyph; glyph 0 is that of what is missing."""
    (groups,) = struct.unpack_from(">I", font, place + 12)
    for index in range(groups):
        first, last, glyph = struct.unpack_from(">III", font, place + 16 + 12 * index)
        yield from range(first + (glyph == 0), last + 1)


def _segment_mapping(font: bytes, place: int) -> Iterator[int]:
    """Format 4: segments of 16-bit characters, whose glyphs lie at a distance, or in a list behind the segments."""
    segments = struct.unpack_from(">H", font, place + 6)[0] // 2
    ends, starts = place + 14, place + 16 + 2 * segments
    shifts, offsets = starts + 2 * segments, starts + 4 * segments
    for index in range(segments):
        at = 2 * index
        (last,), (first,) = struct.unpack_from(">H", font, ends + at), struct.unpack_from(">H", font, starts + at)
        (shift,), (offset,) = struct.unpack_from(">H", font, shifts + at), struct.unpack_from(">H", font, offsets + at)
        for character in range(first, min(last, 0xFFFE) + 1):
            glyph = character
            if offset:
                (glyph,) = struct.unpack_from(">H", font, offsets + at + offset + 2 * (character - first))
                if glyph == 0:
                    continue
            if (glyph + shift) & 0xFFFF:
                yield character
