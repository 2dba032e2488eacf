"""Native Pixel Data that stays in its file: of an instance of gigabytes a frame at a time is read."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

LEAST = 16 << 20
"""Bytes of Pixel Data from which on it stays in its file: of less, looking for it takes longer than reading it."""

_PIXEL_DATA = (0x7FE0, 0x0010)
_PIXEL_GROUP = 0x7FE0
_UNDEFINED = 0xFFFFFFFF
_HEAD, _LENGTH = struct.Struct("<2H2s2x"), 4
"""Tag, value representation, and the length behind them; in Implicit VR the length in place of the representation
(PS3.5 section 7.1)."""
_REPRESENTATIONS = (b"OB", b"OW")


@dataclass(frozen=True)
class PixelsInFile:
    """The value of Pixel Data (7FE0,0010), `length` bytes from `start` of a file; a slice of it is read when asked for.

    Slices have no step.
    """

    path: Path
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, part: slice) -> bytes:
        first, end, _ = part.indices(self.length)
        with self.path.open("rb") as file:
            file.seek(self.start + first)
            return file.read(max(0, end - first))


def pixels_in_file(path: Path) -> tuple[Dataset, PixelsInFile] | None:
    """The data set before Pixel Data, and where that lies in the file.

    None where it is small, compressed, in words of the other byte order or deflated, where the file ends within it, and
    where other pixels follow it.
    """
    size = path.stat().st_size
    if size < LEAST:
        return None
    with path.open("rb") as file:
        data = pydicom.dcmread(file, stop_before_pixels=True)
        if data.file_meta.get("TransferSyntaxUID") not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
            return None
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        *tag, representation = _HEAD.unpack(head)
        # what is there counts, as for pydicom: some files are in the other of the two. No length is odd, and these are
        if representation in _REPRESENTATIONS:
            length = int.from_bytes(file.read(_LENGTH), "little")
        else:
            length = int.from_bytes(head[-_LENGTH:], "little")
        start = file.tell()
        if tuple(tag) != _PIXEL_DATA or length == _UNDEFINED or not LEAST <= length <= size - start:
            return None
        file.seek(start + length)
        following = file.read(2)
    if len(following) == 2 and struct.unpack("<H", following)[0] == _PIXEL_GROUP:
        return None
    return data, PixelsInFile(path, start, length)
