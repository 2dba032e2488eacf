"""Encapsulated Pixel Data (PS3.5 section A.4): which fragments are which frame, whatever the offset tables say."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pydicom.uid import UID

from whyray.imaging.codestream import CodestreamError, begins_codestream
from whyray.imaging.notes import Note, NoteKind

ITEM, DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


def fragments_of(value: bytes) -> tuple[bytes, list[tuple[int, memoryview]]]:
    """Split the value of Pixel Data into the Basic Offset Table and (offset, content) of each fragment.

    Offsets count from the first byte after the table, as in the table. Raises CodestreamError where the value is not
    made of whole items.
    """
    view, place = memoryview(value), 0
    items: list[tuple[int, memoryview]] = []
    while place + 8 <= len(view):
        group, element, length = struct.unpack_from("<2HL", view, place)
        if (group, element) == DELIMITER:
            break
        if (group, element) != ITEM:
            raise CodestreamError(f"expected an item of encapsulated Pixel Data at byte {place}, found none")
        if place + 8 + length > len(view):
            raise CodestreamError(f"a fragment of {length} bytes ends after {len(view) - place - 8}")
        items.append((place, view[place + 8 : place + 8 + length]))
        place += 8 + length
    if not items:
        raise CodestreamError("expected items of encapsulated Pixel Data, found none")
    table = bytes(items[0][1])
    start = len(table) + 8
    return table, [(offset - start, content) for offset, content in items[1:]]


def encapsulated_frames(
    value: bytes, syntax: UID, count: int, extended: tuple[bytes, bytes] | None
) -> tuple[list[list[memoryview]], tuple[Note, ...]]:
    """Fragments of each frame, and what was wrong with the offset tables.

    A frame begins with the fragment in which a codestream begins; the tables are compared with that, not believed.
    `extended` are the values of Extended Offset Table (7FE0,0001) and its lengths (7FE0,0002), where given.
    Raises CodestreamError where there are more or fewer frames than `count`.
    """
    table, fragments = fragments_of(value)
    starts = [index for index, (_, content) in enumerate(fragments) if begins_codestream(syntax, bytes(content[:64]))]
    if not starts or starts[0] != 0:
        begin = bytes(fragments[0][1][:4]).hex().upper() if fragments else "nothing"
        raise CodestreamError(f"the first fragment begins no {syntax.name} frame (it begins with {begin})")
    if len(starts) != count:
        raise CodestreamError(
            f"Number of Frames (0028,0008) stands for {count} {'frame' if count == 1 else 'frames'}, "
            f"Pixel Data holds {len(starts)} compressed frames"
        )
    ends = [*starts[1:], len(fragments)]
    frames = [[content for _, content in fragments[start:end]] for start, end in zip(starts, ends, strict=True)]
    offsets = [fragments[start][0] for start in starts]
    notes = []
    if table and not _agrees(table, "<L", offsets):
        notes.append(_repaired("the Basic Offset Table"))
    if extended is not None and not _agrees(extended[0], "<Q", offsets):
        notes.append(_repaired("Extended Offset Table (7FE0,0001)"))
    elif extended is not None and not _lengths_agree(extended[1], frames):
        notes.append(_repaired("Extended Offset Table Lengths (7FE0,0002)"))
    return frames, tuple(notes)


def _agrees(table: bytes, form: str, offsets: Sequence[int]) -> bool:
    size = struct.calcsize(form)
    if len(table) != size * len(offsets):
        return False
    return [number for (number,) in struct.iter_unpack(form, table)] == list(offsets)


def _lengths_agree(table: bytes, frames: Sequence[Sequence[memoryview]]) -> bool:
    if len(table) != 8 * len(frames):
        return False
    lengths = [number for (number,) in struct.iter_unpack("<Q", table)]
    whole = [sum(map(len, fragments)) for fragments in frames]
    # A length is that of the frame without the byte that makes the fragment even: PS3.3 section C.7.6.3.1.9.
    return all(own - 1 <= length <= own for length, own in zip(lengths, whole, strict=True))


def _repaired(table: str) -> Note:
    return Note(
        NoteKind.PIXEL_DATA_REPAIRED,
        f"{table} does not point to the frames in Pixel Data; they were taken by where each compressed frame begins",
    )
