"""The header of a compressed frame, read before any decoder asks for memory: what the frame says of itself."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

JPEG_DCT = {JPEGBaseline8Bit, JPEGExtended12Bit}
JPEG_LOSSLESS = {JPEGLossless, JPEGLosslessSV1}
JPEG_LS = {JPEGLSLossless, JPEGLSNearLossless}
JPEG_2000 = {JPEG2000, JPEG2000Lossless, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL}
JPEG_FAMILY = JPEG_DCT | JPEG_LOSSLESS | JPEG_LS

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
"""Start and end of an image in ITU-T T.81 and T.87; the latter is also JPEG 2000's end of codestream."""
SOC_SIZ = b"\xff\x4f\xff\x51"
"""Start of a JPEG 2000 codestream: ITU-T T.800 section A.4.1, A.5.1."""
JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
"""Signature box of a JP2 file, in which some writers leave the codestream (ITU-T T.800 section I.5.1)."""

_SOF_OF = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive", 0xC3: "lossless", 0xF7: "JPEG-LS"}
_NO_LENGTH = {0x01, *range(0xD0, 0xD8)}
_SOS = 0xDA
_MOST_PADDING = 64
_RLE_SEGMENTS = 15


class CodestreamError(ValueError):
    """A compressed frame whose own header can't be read, or contradicts the data set."""


@dataclass(frozen=True)
class CodestreamHeader:
    """What a frame of the JPEG family or JPEG 2000 says of itself; `signed` is None where its format can't say."""

    coding: str
    rows: int
    columns: int
    samples: int
    bits: int
    signed: bool | None

    def __str__(self) -> str:
        sign = "" if self.signed is None else " signed" if self.signed else " unsigned"
        return f"{self.rows} rows, {self.columns} columns, {self.samples} samples a pixel of {self.bits}{sign} bits"


def begins_codestream(syntax: UID, fragment: bytes) -> bool:
    """Whether a fragment is the first of a frame.

    None of the formats lets the bytes of its start occur inside compressed data, except RLE, whose header of 64 bytes
    begins with a count of segments and the offset 64 (PS3.5 section G.5).
    """
    if syntax in JPEG_FAMILY:
        return fragment.startswith(SOI)
    if syntax in JPEG_2000:
        return fragment.startswith((SOC_SIZ, JP2_SIGNATURE))
    if syntax == RLELossless:
        if len(fragment) < 64:
            return False
        segments, first = struct.unpack_from("<2L", fragment)
        return bool(1 <= segments <= _RLE_SEGMENTS and first == 64)
    return True


def read_codestream_header(syntax: UID, codestream: bytes) -> CodestreamHeader:
    """Read the header of a frame in the JPEG family or JPEG 2000.

    Raises CodestreamError where it is damaged, or of another coding than the transfer syntax names.
    """
    try:
        if syntax in JPEG_2000:
            return _jpeg_2000(codestream)
        header = _jpeg(codestream)
    except (struct.error, IndexError) as error:
        raise CodestreamError("its header ends early") from error
    allowed = (
        ("JPEG-LS",)
        if syntax in JPEG_LS
        else ("lossless",)
        if syntax in JPEG_LOSSLESS
        else ("baseline", "extended", "progressive")
    )
    if header.coding not in allowed:
        raise CodestreamError(f"its coding is {header.coding}, Transfer Syntax UID (0002,0010) says {syntax.name}")
    return header


def check_rle_header(codestream: bytes, segments: int) -> None:
    """Check the header of an RLE frame (PS3.5 section G.5): as many segments as bytes a pixel, in rising order.

    Raises CodestreamError.
    """
    if len(codestream) < 64:
        raise CodestreamError(f"expected an RLE header of 64 bytes, found {len(codestream)} bytes")
    count, *offsets = struct.unpack_from("<16L", codestream)
    if count != segments:
        raise CodestreamError(
            f"expected {segments} RLE segments (Samples per Pixel times bytes of Bits Allocated), found {count}"
        )
    used = offsets[:count]
    if used[0] != 64 or used != sorted(set(used)) or used[-1] >= len(codestream):
        raise CodestreamError(f"expected rising offsets of RLE segments from 64 on, found {used}")


def further_rle_frame(codestream: bytes, segments: int) -> bool:
    """Whether a second RLE header, of as many segments, follows the first inside one frame's fragments."""
    start = struct.pack("<2L", segments, 64)
    place = codestream.find(start, 64)
    while place >= 0:
        try:
            check_rle_header(codestream[place:], segments)
            if not any(codestream[place + 4 + 4 * segments : place + 64]):
                return True
        except CodestreamError:
            pass  # the bytes of compressed pixels
        place = codestream.find(start, place + 1)
    return False


def is_whole_jpeg(codestream: bytes) -> bool:
    """Whether a frame of the JPEG family ends with the marker that ends an image, padding apart."""
    # The marker can't occur in compressed data; some writers pad a frame by more than the one byte that is allowed.
    return EOI in codestream[-_MOST_PADDING:]


def further_codestream(syntax: UID, codestream: bytes) -> bool:
    """Whether a second image follows the first inside one frame's fragments."""
    start = SOC_SIZ if syntax in JPEG_2000 else SOI + b"\xff"
    return EOI + start in codestream or EOI + b"\0" + start in codestream


def _jpeg(codestream: bytes) -> CodestreamHeader:
    if not codestream.startswith(SOI):
        raise CodestreamError(f"expected the start of an image (FFD8), found {codestream[:4].hex().upper()}")
    place = 2
    while True:
        if codestream[place] != 0xFF:
            raise CodestreamError(f"expected a marker at byte {place}, found {codestream[place]:02X}")
        while codestream[place] == 0xFF:
            place += 1
        marker = codestream[place]
        place += 1
        if marker in _NO_LENGTH:
            continue
        (length,) = struct.unpack_from(">H", codestream, place)
        if marker in _SOF_OF:
            bits, rows, columns, samples = struct.unpack_from(">B2HB", codestream, place + 2)
            return CodestreamHeader(_SOF_OF[marker], rows, columns, samples, bits, None)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            raise CodestreamError(f"its JPEG process (FF{marker:02X}) is none of DICOM's")
        if marker == _SOS or marker == 0xD9:
            raise CodestreamError("no frame header before its scan")
        place += length


def _jpeg_2000(codestream: bytes) -> CodestreamHeader:
    start = _codestream_of_jp2(codestream) if codestream.startswith(JP2_SIGNATURE) else 0
    if codestream[start : start + 4] != SOC_SIZ:
        raise CodestreamError(f"expected a JPEG 2000 codestream (FF4FFF51), found {codestream[:4].hex().upper()}")
    _, _, right, bottom, left, top = struct.unpack_from(">2H4L", codestream, start + 4)
    (samples,) = struct.unpack_from(">H", codestream, start + 40)
    parts = [struct.unpack_from(">3B", codestream, start + 42 + 3 * index) for index in range(min(samples, 4))]
    if not parts or len(set(parts)) != 1 or parts[0][1:] != (1, 1):
        raise CodestreamError(f"expected components alike and not subsampled, found {parts} for {samples} components")
    depth = parts[0][0]
    return CodestreamHeader("JPEG 2000", bottom - top, right - left, samples, (depth & 0x7F) + 1, bool(depth & 0x80))


def _codestream_of_jp2(file: bytes) -> int:
    place = 0
    while place + 8 <= len(file):
        length, kind = struct.unpack_from(">L4s", file, place)
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", file, place + 8)
            header = 16
        if kind == b"jp2c":
            return place + header
        if length < header:
            break
        place += length
    raise CodestreamError("its JP2 file holds no codestream")
