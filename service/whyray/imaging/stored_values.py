"""From the bits of a cell, or of a codestream, to the stored values that the data set describes (PS3.5 section 8)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.imaging.attributes import attribute_name
from whyray.imaging.codestream import CodestreamError, CodestreamHeader
from whyray.imaging.notes import Note, NoteKind
from whyray.imaging.pixel_description import PixelDescription


def values_of_cells(cells: NDArray[Any], pixels: PixelDescription) -> tuple[NDArray[Any], tuple[Note, ...]]:
    """Take the stored bits out of whole cells of Bits Allocated, as native and RLE frames hold them.

    What lies in the other bits (overlays, rubbish) is dropped; the sign is the highest stored bit's.
    Raises CodestreamError where High Bit can't be right.
    """
    if pixels.floating or cells.dtype.kind == "f":
        return cells, ()
    cells = cells.astype(cells.dtype.newbyteorder("="), copy=False)
    notes: tuple[Note, ...] = ()
    if not pixels.usual_high_bit:
        notes = _shifted(cells, pixels)
    width = cells.dtype.itemsize * 8
    above, below = width - 1 - pixels.high_bit, width - pixels.bits_stored
    if above == below == 0 or pixels.bits_allocated == 1:
        return _signed(cells, pixels.signed), notes
    values = _signed(np.left_shift(cells, above), pixels.signed)
    return np.right_shift(values, below), notes


def values_of_codestream(
    decoded: NDArray[Any], header: CodestreamHeader, pixels: PixelDescription
) -> tuple[NDArray[Any], tuple[Note, ...]]:
    """Bring what a codestream holds to the data set's description.

    Raises CodestreamError where the two differ in a way that leaves more than one reading of these values.
    """
    bits, stored = header.bits, pixels.bits_stored
    if bits == pixels.bits_allocated != stored and not pixels.usual_high_bit and not header.signed:
        return values_of_cells(decoded, pixels)
    if pixels.samples > 1:
        if bits != stored or pixels.signed or header.signed:
            raise CodestreamError(_differs(header, pixels))
        return decoded, _high_bit_ignored(pixels)
    notes = list(_high_bit_ignored(pixels))
    lowest, highest = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if pixels.signed else (0, 2**stored - 1)
    is_within = not decoded.size or (lowest <= decoded.min() and decoded.max() <= highest)
    if is_within and _says_the_same(decoded, header, pixels):
        return decoded.astype(_type(pixels), copy=False), tuple(notes)
    wide = decoded.astype(np.int64)
    values, sign_differs = _with_sign(wide, header, pixels)
    differs = bits != stored and not (bits == pixels.bits_allocated and header.coding == "lossless")
    if values.size and (values.min() < lowest or values.max() > highest):
        outside = int(np.bitwise_or.reduce((wide & (2**bits - 1)).ravel())) >> stored << stored
        if not pixels.overlay_bits or outside & ~pixels.overlay_bits:
            raise CodestreamError(f"{_differs(header, pixels)}, and values from {values.min()} to {values.max()}")
        values = wide & (2**stored - 1)
        values = np.where(pixels.signed & (values >= 2 ** (stored - 1)), values - 2**stored, values)
    if differs or sign_differs:
        words = f"{_differs(header, pixels)}; its values fit both, and were taken as the data set describes them"
        notes.append(Note(NoteKind.PIXEL_DATA_REPAIRED, words))
    return values.astype(_type(pixels)), tuple(notes)


def _says_the_same(decoded: NDArray[Any], header: CodestreamHeader, pixels: PixelDescription) -> bool:
    """Whether codestream and data set name the same bits and sign: its values need not be brought to anything.

    Of a mammogram of 28 million pixels, 64-bit integers take 224 MB, and a minus several times that.
    """
    same = header.bits == pixels.bits_stored and bool(header.signed) == pixels.signed
    return same and decoded.dtype.kind == ("i" if pixels.signed else "u")


def _type(pixels: PixelDescription) -> str:
    return f"{'i' if pixels.signed else 'u'}{max(pixels.bits_allocated, 8) // 8}"


def _with_sign(
    wide: NDArray[np.int64], header: CodestreamHeader, pixels: PixelDescription
) -> tuple[NDArray[np.int64], bool]:
    """The values with their sign, and whether codestream and data set name different signs."""
    if header.signed is True and not pixels.signed:
        if wide.size and wide.min() < 0:
            raise CodestreamError(f"{_differs(header, pixels)}, and values down to {wide.min()}")
        return wide, True
    if header.signed is True or not pixels.signed:
        return wide, False
    # JPEG and JPEG-LS know no sign: signed pixels travel as two's complement (PS3.5 sections 8.2.1 and 8.2.3). The same
    # in an unsigned JPEG 2000 codestream is a widespread writer's mistake, of one meaning only.
    negative = wide >= 2 ** (header.bits - 1)
    lossy = header.coding in ("baseline", "extended", "progressive")
    if (lossy or header.bits < pixels.bits_stored) and negative.any():
        raise CodestreamError(f"{_differs(header, pixels)}, and values whose sign is open")
    return np.where(negative, wide - 2**header.bits, wide), header.signed is False


def _shifted(cells: NDArray[Any], pixels: PixelDescription) -> tuple[Note, ...]:
    lowest = pixels.high_bit + 1 - pixels.bits_stored
    used = int(np.bitwise_or.reduce(cells.ravel())) if cells.size else 0
    name = attribute_name("HighBit")
    if used & (2**lowest - 1) & ~pixels.overlay_bits and not used >> pixels.bits_stored:
        raise CodestreamError(
            f"{name} is {pixels.high_bit} with Bits Stored {pixels.bits_stored}, but no pixel has a bit above "
            f"{pixels.bits_stored - 1}"
        )
    words = (
        f"{name} is {pixels.high_bit} with Bits Stored {pixels.bits_stored}: the values were taken from bits "
        f"{lowest} to {pixels.high_bit}"
    )
    return (Note(NoteKind.PIXEL_DATA_REPAIRED, words),)


def _high_bit_ignored(pixels: PixelDescription) -> tuple[Note, ...]:
    if pixels.usual_high_bit:
        return ()
    words = (
        f"{attribute_name('HighBit')} is {pixels.high_bit} with Bits Stored {pixels.bits_stored}: passed over, since "
        "the compressed frame holds the stored bits alone"
    )
    return (Note(NoteKind.PIXEL_DATA_REPAIRED, words),)


def _differs(header: CodestreamHeader, pixels: PixelDescription) -> str:
    sign = "" if header.signed is None else "signed " if header.signed else "unsigned "
    return (
        f"the compressed frame has {sign}samples of {header.bits} bits, the data set Bits Stored (0028,0101) "
        f"{pixels.bits_stored} of Bits Allocated (0028,0100) {pixels.bits_allocated} and Pixel Representation "
        f"(0028,0103) {int(pixels.signed)}"
    )


def _signed(cells: NDArray[Any], signed: bool) -> NDArray[Any]:
    return cells.view(f"{'i' if signed else 'u'}{cells.dtype.itemsize}")
