"""Stored values out of Pixel Data, in any transfer syntax that a permissively licensed decoder reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from whyray.errors import DecodeError, ResourceExhausted
from whyray.imaging.instance import PIXEL_KEYWORDS
from whyray.imaging.isolated import IsolatedGdcm

PLUGINS = {
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",
    JPEG2000: "pylibjpeg",
    JPEG2000Lossless: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    RLELossless: "pylibjpeg",
}
"""One decoder a syntax, named, since pydicom would fall back on GDCM, which ends the process on some damaged data."""

GDCM_ALONE = {JPEGLossless, JPEGLosslessSV1}
"""Only GDCM decodes these under a permissive licence."""

RUST_PANIC = "PanicException"
"""What pylibjpeg-rle raises on damaged data: no Exception, and of a class that can't be imported."""

ADVICE = "Ask the sender to send the instance again, or uncompressed; a viewer shows whether it is whole there."


def stored_frames(data: Dataset, uid: str, wanted: Sequence[int], isolated: IsolatedGdcm) -> Iterator[NDArray[Any]]:
    """Yield stored values of the wanted frames (1-based, rising): (rows, columns), or (rows, columns, 3) for colour.

    Colour is RGB, whatever the photometric interpretation; PALETTE COLOR gives its indices. Unused high bits (overlays)
    are cleared and the sign is right. `uid` names the instance in errors, `isolated` is the
    process for what only GDCM decodes.
    Raises DecodeError: no pixel data, truncated, or a transfer syntax that can't be decoded; ResourceExhausted.
    """
    if not any(keyword in data for keyword in PIXEL_KEYWORDS):
        raise DecodeError(f"instance {uid}: expected pixel data, found none", advice=ADVICE)
    syntax = _transfer_syntax(data)
    done = 0
    try:
        for frame in _frames(data, syntax, wanted, isolated):
            yield frame
            done += 1
    except MemoryError as error:
        raise ResourceExhausted(f"instance {uid}: not enough memory to decode it") from error
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != RUST_PANIC:
            raise
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


def _frames(data: Dataset, syntax: UID, wanted: Sequence[int], isolated: IsolatedGdcm) -> Iterator[NDArray[Any]]:
    if syntax in GDCM_ALONE or (syntax == JPEGExtended12Bit and int(data.BitsStored) > 8):
        yield from isolated.frames(data, wanted)
        return
    # Naming the indices also avoids a fault of pydicom 3.0: without them, sign correction fails on read-only arrays.
    indices = [number - 1 for number in wanted]
    decoder, plugin = get_decoder(syntax), PLUGINS.get(syntax, "")
    for frame, _ in decoder.iter_array(data, raw=False, indices=indices, decoding_plugin=plugin):
        yield frame
