"""Pages as PNG files (ISO/IEC 15948), quickly: one filter for all lines, and little effort of deflate.

Pillow tries five filters on every line and deflates at level 6, which takes twenty times as long for a file that is a
quarter smaller. Lines of a page are like those above them, so 'Up' does; ISA-L deflates in a fifth of zlib's time.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from whyray.base.stages import stage

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TRUE_COLOUR = 2
_UP = 2
"""Number of the filter, as in PDF, which takes it over."""


@stage("picture encoding")
def png_file(picture: NDArray[np.uint8]) -> bytes:
    """A picture (rows, columns, 3), 8-bit RGB, as the bytes of a PNG file. The same picture gives the same bytes.

    Raises
    ------
    ValueError
        If it is no such array, or empty.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(f"expected (rows, columns, 3) of uint8, found {picture.shape} of {picture.dtype}")
    rows, columns = picture.shape[:2]
    header = struct.pack(">IIBBBBB", columns, rows, 8, _TRUE_COLOUR, 0, 0, 0)
    pixels = isal_zlib.compress(filtered_up(picture).data, 1)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def filtered_up(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lines of bytes (rows, 1 + 3 * columns): the filter's number, then each byte less the one above it (9.2)."""
    rows = picture.reshape(len(picture), -1)
    filtered = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    # unsigned bytes wrap around, as the filter wants it
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
