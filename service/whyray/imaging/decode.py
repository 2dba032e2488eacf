"""Stored values out of Pixel Data, in any transfer syntax that a permissively licensed decoder reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gdcm
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import UID, ImplicitVRLittleEndian, JPEGExtended12Bit

from whyray.errors import DecodeError, ResourceExhausted
from whyray.imaging.instance import PIXEL_KEYWORDS

ADVICE = "Ask the sender to send the instance again, or uncompressed; a viewer shows whether it is whole there."


def stored_frames(data: Dataset) -> Iterator[NDArray[Any]]:
    """Yield each frame's stored values: (rows, columns), or (rows, columns, 3) in RGB for YBR and RGB images.

    PALETTE COLOR gives its indices. Unused high bits (overlays) are cleared and the sign is right.
    Raises DecodeError: no pixel data, truncated, or a transfer syntax that can't be decoded; ResourceExhausted.
    """
    uid = data.get("SOPInstanceUID")
    if not any(keyword in data for keyword in PIXEL_KEYWORDS):
        raise DecodeError(f"instance {uid}: expected pixel data, found none", advice=ADVICE)
    syntax = _transfer_syntax(data)
    expected = int(data.get("NumberOfFrames") or 1)
    count = 0
    try:
        for frame in _frames(data, syntax):
            count += 1
            if count > expected:
                return
            yield frame
    except MemoryError as error:
        raise ResourceExhausted(f"instance {uid}: not enough memory to decode it") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise DecodeError(
            f"instance {uid}: expected {expected} frames in {syntax.name}, "
            f"frame {count + 1} can't be decoded: {reason}",
            advice=ADVICE,
        ) from error
    if count < expected:
        raise DecodeError(f"instance {uid}: expected {expected} frames, found {count}", advice=ADVICE)


def _transfer_syntax(data: Dataset) -> UID:
    meta = getattr(data, "file_meta", None)
    given = None if meta is None else meta.get("TransferSyntaxUID")
    return UID(given) if given else ImplicitVRLittleEndian


def _frames(data: Dataset, syntax: UID) -> Iterator[NDArray[Any]]:
    if syntax == JPEGExtended12Bit and int(data.BitsStored) > 8:
        yield from _twelve_bit_jpeg(data)
        return
    for frame, _ in get_decoder(syntax).iter_array(data, raw=False):
        yield frame


def _twelve_bit_jpeg(data: Dataset) -> Iterator[NDArray[Any]]:
    """JPEG Process 4 with 12-bit samples by GDCM itself: pydicom's plugin declines it, its own decoder is GPL.

    The result equals libjpeg-turbo's, bit for bit, on pydicom's JPEG-lossy.dcm and JPGExtended.dcm.
    """
    rows, columns, samples = int(data.Rows), int(data.Columns), int(data.SamplesPerPixel)
    if samples != 1:
        raise ValueError(f"12-bit JPEG with {samples} samples a pixel")
    for encoded in generate_frames(data.PixelData, number_of_frames=int(data.get("NumberOfFrames") or 1)):
        fragment = gdcm.Fragment()
        fragment.SetByteStringValue(encoded)
        fragments = gdcm.SequenceOfFragments.New()
        fragments.AddFragment(fragment)
        element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
        element.SetValue(fragments.__ref__())
        image = gdcm.Image()
        image.SetNumberOfDimensions(2)
        image.SetDimensions((columns, rows, 1))
        image.SetDataElement(element)
        kind = gdcm.PhotometricInterpretation.GetPIType(str(data.PhotometricInterpretation))
        image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
        image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(JPEGExtended12Bit))))
        image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
        # GDCM hands bytes over as text with surrogates.
        buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
        if len(buffer) != rows * columns * 2:
            raise ValueError(f"expected {rows * columns * 2} bytes, the decoder gave {len(buffer)}")
        yield np.frombuffer(buffer, dtype="<u2").reshape(rows, columns)
