"""Stored values out of Pixel Data, in any transfer syntax that a permissively licensed decoder reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import UID, ImplicitVRLittleEndian, RLELossless

from whyray.base.errors import DecodeError, ResourceExhausted, WhyRayError
from whyray.imaging.attributes import attribute_name, written_value
from whyray.imaging.codestream import (
    JPEG_2000,
    JPEG_DCT,
    JPEG_LOSSLESS,
    JPEG_LS,
    CodestreamError,
    check_rle_header,
    further_codestream,
    further_rle_frame,
    is_whole_jpeg,
    read_codestream_header,
)
from whyray.imaging.encapsulation import encapsulated_frames
from whyray.imaging.instance import PIXEL_KEYWORDS
from whyray.imaging.isolated import IsolatedGdcm
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.pixel_description import PixelDescription, pixel_description
from whyray.imaging.pixels_in_file import PixelsInFile
from whyray.imaging.stored_values import values_of_cells, values_of_codestream

DECODABLE = JPEG_DCT | JPEG_LOSSLESS | JPEG_LS | JPEG_2000 | {RLELossless}

LARGEST_FRAME = 1 << 30
"""Samples of a compressed frame: sixteen times as many as the largest detectors have."""
PLAUSIBLE_FRAME = 1 << 26
"""Samples that a frame may unfold to however small it is: a few bytes of JPEG 2000 hold an image of one grey."""
MOST_FROM_A_BYTE = 4096
"""Samples that a larger frame may unfold to for each of its bytes."""

RUST_PANIC = "PanicException"
"""What pylibjpeg-rle raises on damaged data: no Exception, and of a class that can't be imported."""

ADVICE = "Ask the sender to send the instance again, or uncompressed; a viewer shows whether it is whole there."


@dataclass(frozen=True)
class StoredFrame:
    """Stored values of one frame, and what was wrong with the pixel data but could be resolved."""

    values: NDArray[Any]
    notes: tuple[Note, ...] = ()


def stored_frames(
    data: Dataset, uid: str, wanted: Sequence[int], isolated: IsolatedGdcm, in_file: PixelsInFile | None = None
) -> Iterator[StoredFrame]:
    """Yield stored values of the wanted frames (1-based, rising): (rows, columns), or (rows, columns, 3) for colour.

    Colour is RGB, whatever the photometric interpretation; PALETTE COLOR gives its indices. Bits that are not stored
    (overlays) are dropped and the sign is right. The pixel data are compared with the data set's description before
    anything is decoded. `uid` names the instance in errors, `isolated` is the process for what only GDCM decodes;
    native pixels may be `in_file`, and then not in `data`.
    Raises DecodeError: no pixel data, truncated, other than the data set describes, or a transfer syntax that can't be
    decoded; ImageError for a description that can't be right; ResourceExhausted.
    """
    keywords = ["PixelData"] if in_file is not None else [keyword for keyword in PIXEL_KEYWORDS if data.get(keyword)]
    if len(keywords) != 1:
        given = " and ".join(keywords) or "none"
        raise DecodeError(f"instance {uid}: expected pixel data, found {given}", advice=ADVICE)
    syntax = transfer_syntax(data)
    frame: int | None = None
    try:
        pixels = pixel_description(data)
        if not syntax.is_transfer_syntax:  # of pydicom's list: a newer one, or one of a manufacturer
            raise CodestreamError("no decoder for this transfer syntax")
        if syntax.is_encapsulated:
            source = _encapsulated(data, keywords[0], syntax, pixels, isolated)
        else:
            source = _native(data, keywords[0], syntax, pixels, in_file)
        for frame in wanted:
            stored = source(frame)
            yield StoredFrame(stored.values, pixels.notes + stored.notes)
    except WhyRayError:
        raise
    except MemoryError as error:
        raise ResourceExhausted(f"instance {uid}: not enough memory to decode it") from error
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != RUST_PANIC:
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        number = "pixel data" if frame is None else f"frame {frame}"
        raise DecodeError(
            f"instance {uid}: {number} in {syntax.name} can't be decoded: {reason}", advice=ADVICE
        ) from error


def transfer_syntax(data: Dataset) -> UID:
    """Transfer Syntax UID (0002,0010); Implicit VR Little Endian, DICOM's default, where a data set names none."""
    meta = getattr(data, "file_meta", None)
    given = None if meta is None else meta.get("TransferSyntaxUID")
    return UID(given) if given else ImplicitVRLittleEndian


def _value(data: Dataset, keyword: str) -> bytes:
    value = data[keyword].value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    value.seek(0)
    return bytes(value.read())


def _native(
    data: Dataset, keyword: str, syntax: UID, pixels: PixelDescription, in_file: PixelsInFile | None
) -> Callable[[int], StoredFrame]:
    """Read frames that lie one after the other, uncompressed and without padding (PS3.5 section 8.1.1)."""
    _refuse_what_is_not_native(data, keyword, pixels)
    value = _value(data, keyword) if in_file is None else in_file
    if not syntax.is_little_endian and pixels.bits_allocated <= 8 and data[keyword].VR == "OW":
        value = _bytes_of_words(value[:])
    notes = _check_length(value, pixels, keyword)
    options = _options(pixels, pixels.bits_allocated, pixels.bits_allocated, signed=False)
    options |= {"pixel_keyword": keyword, "correct_unused_bits": False, "allow_excess_frames": False}
    # of 8 bits pydicom would swap big endian words itself, those of its frame alone
    options["pixel_vr"] = "OB" if pixels.bits_allocated <= 8 else "OW"
    decoder = get_decoder(syntax)

    def frame(number: int) -> StoredFrame:
        if number > pixels.frames:
            raise CodestreamError(f"there are {pixels.frames} frames")
        cells, _ = decoder.as_array(_bytes_of_frame(value, number, pixels), index=0, **options)
        values, own = values_of_cells(cells, pixels)
        return StoredFrame(values, notes + own)

    return frame


def _bytes_of_words(words: bytes) -> bytes:
    """The bytes of big endian words in the order of their pixels: the first lie in the low byte (PS3.5 annex D)."""
    if len(words) % 2:
        raise CodestreamError(f"expected words of 2 bytes, found {len(words)} bytes")
    return np.frombuffer(words, np.uint16).byteswap().tobytes()


def _bytes_of_frame(value: bytes | PixelsInFile, number: int, pixels: PixelDescription) -> bytes:
    """One frame's own bytes; of 1 bit a pixel it may begin within a byte, which pydicom 3.0.2 takes for the next."""
    bits = _bits_of_frame(pixels)
    first = (number - 1) * bits
    content = value[first // 8 : math.ceil((first + bits) / 8)]
    if len(content) * 8 < first % 8 + bits:
        raise CodestreamError("the file became shorter while it was read")
    if first % 8:
        unpacked = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")[first % 8 :][:bits]
        content = np.packbits(unpacked, bitorder="little").tobytes()
    return content


def _refuse_what_is_not_native(data: Dataset, keyword: str, pixels: PixelDescription) -> None:
    if pixels.photometric in ("YBR_ICT", "YBR_RCT"):
        raise CodestreamError(
            f"Photometric Interpretation (0028,0004) is {pixels.photometric}, which only JPEG 2000 frames can have"
        )
    if pixels.samples > 1 and pixels.planar is None:
        raise CodestreamError(
            f"expected 0 or 1 in {attribute_name('PlanarConfiguration')}, found "
            f"{written_value(data, 'PlanarConfiguration')}"
        )
    if pixels.floating != (keyword != "PixelData"):
        raise CodestreamError(f"the data set describes other values than those of {attribute_name(keyword)}")


def _samples(pixels: PixelDescription) -> int:
    """Samples of a pixel that native pixel data holds: of YBR_FULL_422 two pixels share their colour."""
    return 2 if pixels.photometric == "YBR_FULL_422" else pixels.samples


def _bits_of_frame(pixels: PixelDescription) -> int:
    return pixels.rows * pixels.columns * _samples(pixels) * pixels.bits_allocated


def _check_length(value: bytes | PixelsInFile, pixels: PixelDescription, keyword: str) -> tuple[Note, ...]:
    """Compare the bytes that native pixel data has with those that the description asks for.

    A few bytes too many are padding. More of them, unless all are zero, may as well come of a wrong Rows, Columns,
    Samples per Pixel, Bits Allocated or Number of Frames, and then every row that follows would be sheared.
    """
    length, bits, samples = len(value), _bits_of_frame(pixels), _samples(pixels)
    expected, frame = math.ceil(bits * pixels.frames / 8), math.ceil(bits / 8)
    said = (
        f"{expected} bytes for {pixels.frames} {'frame' if pixels.frames == 1 else 'frames'} of {pixels.rows} rows, "
        f"{pixels.columns} columns, {samples} samples a pixel and {pixels.bits_allocated} bits a sample"
    )
    excess = length - expected
    if excess < 0:
        raise CodestreamError(f"expected {said}, found {length}")
    if excess <= expected % 2:
        return ()
    a_line = min(pixels.rows, pixels.columns) * samples * pixels.bits_allocated / 8
    if excess >= frame or (excess >= a_line and any(value[expected:])):
        whole = f", which is {length // frame} frames of that size" if excess >= frame else ""
        raise CodestreamError(f"expected {said} (Number of Frames (0028,0008) included), found {length}{whole}")
    words = f"{attribute_name(keyword)} has {excess} bytes after the last frame ({said}); they were passed over"
    return (Note(NoteKind.PIXEL_DATA_REPAIRED, words),)


def _encapsulated(
    data: Dataset, keyword: str, syntax: UID, pixels: PixelDescription, isolated: IsolatedGdcm
) -> Callable[[int], StoredFrame]:
    """Read compressed frames."""
    if syntax not in DECODABLE:
        raise CodestreamError("no decoder for this transfer syntax")
    if keyword != "PixelData" or pixels.floating:
        raise CodestreamError("floating point values can't be compressed")
    tables = [data.get(name) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
    extended = (tables[0] or b"", tables[1] or b"") if any(tables) else None
    frames, notes = encapsulated_frames(_value(data, keyword), syntax, pixels.frames, extended)
    if pixels.planar == 1 and syntax != RLELossless:
        words = f"{attribute_name('PlanarConfiguration')} is 1: passed over, since compressed frames say it themselves"
        notes += (Note(NoteKind.ATTRIBUTE_IGNORED, words),)

    def frame(number: int) -> StoredFrame:
        if number > len(frames):
            raise CodestreamError(f"there are {len(frames)} frames")
        codestream = b"".join(frames[number - 1])
        _refuse_implausible(len(codestream), pixels)
        if syntax == RLELossless:
            values, own = _run_lengths(codestream, pixels)
        else:
            values, own = _codestream(codestream, syntax, pixels, isolated)
        return StoredFrame(values, notes + own)

    return frame


def _refuse_implausible(length: int, pixels: PixelDescription) -> None:
    """Refuse a large frame of next to nothing before a decoder asks for the memory that it claims."""
    samples = pixels.rows * pixels.columns * pixels.samples
    if samples > LARGEST_FRAME or samples > PLAUSIBLE_FRAME + MOST_FROM_A_BYTE * length:
        raise CodestreamError(
            f"the data set claims {samples} samples of a compressed frame of {length} bytes: at most {LARGEST_FRAME} "
            f"are decoded, and {PLAUSIBLE_FRAME} and {MOST_FROM_A_BYTE} for each byte"
        )


def _run_lengths(codestream: bytes, pixels: PixelDescription) -> tuple[NDArray[Any], tuple[Note, ...]]:
    if pixels.bits_allocated < 8:
        raise CodestreamError(f"Bits Allocated (0028,0100) {pixels.bits_allocated} can't be run-length encoded")
    segments = pixels.samples * pixels.bits_allocated // 8
    check_rle_header(codestream, segments)
    if further_rle_frame(codestream, segments):
        raise CodestreamError("a second compressed frame follows in the same fragments")
    options = _options(pixels, pixels.bits_allocated, pixels.bits_allocated, signed=False)
    try:
        cells = _by_pydicom(codestream, RLELossless, "pylibjpeg", options | {"correct_unused_bits": False})
    except MemoryError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != RUST_PANIC:
            raise
        raise CodestreamError(
            f"its RLE segments do not unfold to the {pixels.rows * pixels.columns} pixels of Rows (0028,0010) "
            f"{pixels.rows} and Columns (0028,0011) {pixels.columns}"
        ) from error
    return values_of_cells(cells, pixels)


def _codestream(
    codestream: bytes, syntax: UID, pixels: PixelDescription, isolated: IsolatedGdcm
) -> tuple[NDArray[Any], tuple[Note, ...]]:
    header = read_codestream_header(syntax, codestream)
    if (header.rows, header.columns, header.samples) != (pixels.rows, pixels.columns, pixels.samples):
        raise CodestreamError(
            f"the compressed frame has {header.rows} rows, {header.columns} columns and {header.samples} samples a "
            f"pixel, the data set Rows (0028,0010) {pixels.rows}, Columns (0028,0011) {pixels.columns} and Samples "
            f"per Pixel (0028,0002) {pixels.samples}"
        )
    if header.bits > pixels.bits_allocated:
        raise CodestreamError(
            f"the compressed frame has {header.bits} bits a sample, the data set Bits Allocated (0028,0100) "
            f"{pixels.bits_allocated}"
        )
    if further_codestream(syntax, codestream):
        raise CodestreamError("a second compressed frame follows in the same fragments")
    cell = 8 if header.bits <= 8 else 16 if header.bits <= 16 else 32
    options = _options(pixels, cell, header.bits, signed=bool(header.signed))
    if pixels.samples > 1:
        # The frame says itself how its samples lie; decoders give them pixel by pixel.
        options["planar_configuration"] = 0
    if syntax in JPEG_LOSSLESS or (syntax in JPEG_DCT and header.bits > 8):
        decoded = _by_gdcm(codestream, syntax, isolated, options)
    elif syntax in JPEG_LS:
        try:
            decoded = _by_pydicom(codestream, syntax, "pyjpegls", options)
        except (RuntimeError, ValueError):
            # pyjpegls ends at codestreams of some older writers that the reference decoder takes.
            decoded = _by_gdcm(codestream, syntax, isolated, options)
    else:
        decoded = _by_pydicom(codestream, syntax, "pillow" if syntax in JPEG_DCT else "pylibjpeg", options)
    return values_of_codestream(decoded, header, pixels)


def _by_gdcm(codestream: bytes, syntax: UID, isolated: IsolatedGdcm, options: dict[str, Any]) -> NDArray[Any]:
    if not is_whole_jpeg(codestream):
        # GDCM fills up what is missing in grey, without a word.
        raise CodestreamError("the compressed frame ends early, without its last marker (FFD9)")
    return isolated.frame(codestream, syntax, options)


def _by_pydicom(codestream: bytes, syntax: UID, plugin: str, options: dict[str, Any]) -> NDArray[Any]:
    values, _ = get_decoder(syntax).as_array(encapsulate([codestream]), index=0, decoding_plugin=plugin, **options)
    return np.asarray(values)


def _options(pixels: PixelDescription, cell: int, bits: int, *, signed: bool) -> dict[str, Any]:
    """How pydicom is to read one frame: as whole cells, or as its own codestream says."""
    options: dict[str, Any] = {
        "rows": pixels.rows,
        "columns": pixels.columns,
        "number_of_frames": 1,
        "samples_per_pixel": pixels.samples,
        "photometric_interpretation": pixels.photometric,
        "pixel_keyword": "PixelData",
        "bits_allocated": cell,
        "bits_stored": bits,
        "pixel_representation": int(signed),
    }
    if pixels.samples > 1:
        options["planar_configuration"] = pixels.planar or 0
    return options
