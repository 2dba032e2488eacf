"""Stored values out of Pixel Data, in any transfer syntax that a permissively licensed decoder reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def stored_frames(data: Dataset, uid: str, wanted: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Yield stored values of the wanted frames (1-based, rising): (rows, columns), or (rows, columns, 3) for colour.

    Colour is RGB, whatever the photometric interpretation; PALETTE COLOR gives its indices. Unused high bits (overlays)
    are cleared and the sign is right. `uid` names the instance in errors.
    Raises DecodeError: no pixel data, truncated, or a transfer syntax that can't be decoded; ResourceExhausted.
    """
    if not any(keyword in data for keyword in PIXEL_KEYWORDS):
        raise DecodeError(f"instance {uid}: expected pixel data, found none", advice=ADVICE)
    syntax = _transfer_syntax(data)
    done = 0
    try:
        for frame in _frames(data, syntax, wanted):
            yield frame
            done += 1
    except MemoryError as error:
        raise ResourceExhausted(f"instance {uid}: not enough memory to decode it") from error
    except Exception as error:
        number = wanted[done] if done < len(wanted) else wanted[-1]
        reason = " ".join(str(error).split())[:200]
        raise DecodeError(
            f"instance {uid}: frame {number} in {syntax.name} can't be decoded: {reason}", advice=ADVICE
        ) from error
    if done < len(wanted):
        raise DecodeError(f"instance {uid}: expected frame {wanted[done]}, found no data for it", advice=ADVICE)


def _transfer_syntax(data: Dataset) -> UID:
    meta = getattr(data, "file_meta", None)
    given = None if meta is None else meta.get("TransferSyntaxUID")
    return UID(given) if given else ImplicitVRLittleEndian


def _frames(data: Dataset, syntax: UID, wanted: Sequence[int]) -> Iterator[NDArray[Any]]:
    if syntax == JPEGExtended12Bit and int(data.BitsStored) > 8:
        chosen = set(wanted)
        yield from (frame for number, frame in enumerate(_twelve_bit_jpeg(data), start=1) if number in chosen)
        return
    # Naming the indices also avoids a fault of pydicom 3.0: without them, sign correction fails on read-only arrays.
    for frame, _ in get_decoder(syntax).iter_array(data, raw=False, indices=[number - 1 for number in wanted]):
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
