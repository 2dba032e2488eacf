"""Frames of Segmentations: which there are, where they lie (PS3.3 C.7.6.16), and how pixels are written (C.8.20)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from highdicom import PixelMeasuresSequence
from pydicom import Dataset

from whyray.base.errors import ImageError
from whyray.base.frame_array import Frames, PackedMask
from whyray.imaging import SourceImage
from whyray.results.carried import valid_text
from whyray.results.coding import dcm
from whyray.results.multi_frame import Plane, add_functional_groups, plane_of
from whyray.results.uids import UidSource

Form = Literal["BINARY", "FRACTIONAL", "LABELMAP"]
"""Segmentation Type (0062,0001)."""
_DERIVATION = dcm("113076", "Segmentation")
# OHIF 3.12 asks each Segmentation for an orientation, whatever it is of, and stops with an exception and an empty
# viewport where there is none; images without position lie for it (and for cornerstone) in this plane.
_PLANE_OF_PIXELS = Plane(("0", "0", "0"), ("1", "0", "0", "0", "1", "0"))
"""A plane for images without position: columns along x, rows along y, in a frame of reference of its own."""


LARGEST_WITH_EMPTY = 1 << 30
"""Bytes of pixels that an object may have with frames in which nothing is set: of more, these are left out. A hundred
organs on 1,000 slices of CT would be 3 GiB, nearly all of it empty; Pixel Data of 4 GiB can't be written at all."""
LARGEST = 0xFFFFFFFE
"""Bytes of Pixel Data whose length can be written (PS3.5 section 7.1.1)."""


@dataclass(frozen=True)
class Layer:
    """What frames show: a segment, or with number None all of them as their numbers.

    `pixels` is (frames, rows, columns) of the source: a mask, 0 to 255 for fractional ones, or numbers of segments.
    """

    number: int | None
    pixels: Frames[np.bool_] | Frames[np.uint8]
    frames: tuple[int, ...] | None = None
    """Indices of the frames of which the segment says something, empty or not; None for all."""


def add_frames(
    made: Dataset, image: SourceImage, uids: UidSource, layers: Sequence[Layer], form: Form, *, omit_empty_frames: bool
) -> None:
    """Functional groups, dimensions and pixels, in the source's geometry.

    An object in which nothing is set keeps one frame, since none would be invalid. Frames of images without position in
    the patient lie in the plane of their pixels, in a frame of reference that nothing else shares.

    Raises
    ------
    ImageError
        If the pixels are more than Pixel Data may have.
    """
    planes = [plane for frame in image.frames if (plane := plane_of(image, frame)) is not None]
    placed = len(planes) == len(image.frames)
    kept = [
        (layer, index)
        for layer in layers
        for index in (range(len(image.frames)) if layer.frames is None else layer.frames)
        if not omit_empty_frames or _is_any(layer.pixels, index)
    ] or [(layers[0], 0)]
    if (size := _size_of(image, len(kept), form)) > LARGEST:
        raise ImageError(
            f"series {image.header.get('SeriesInstanceUID')}: expected a Segmentation of at most {LARGEST >> 20} MiB, "
            f"found {size >> 20} MiB: {len(kept)} frames in which segments are",
            advice="Ask for fewer targets, or set segmentation.label_maps in the layout, where segments don't overlap.",
        )
    if placed:
        made.FrameOfReferenceUID = image.header.get("FrameOfReferenceUID") or uids.uid("frame-of-reference")
        made.PositionReferenceIndicator = valid_text(image.header, "PositionReferenceIndicator")
    else:
        made.FrameOfReferenceUID = uids.uid("frame-of-reference", "pixels")
        made.PositionReferenceIndicator = None
        planes = [_PLANE_OF_PIXELS] * len(image.frames)
    add_functional_groups(
        made,
        image,
        [(index, layer.number) for layer, index in kept],
        planes,
        derivation=_DERIVATION,
        organization_uid=uids.uid("dimensions", "labelmap" if form == "LABELMAP" else "seg"),
    )
    (shared,) = made.SharedFunctionalGroupsSequence
    if not any("PixelMeasuresSequence" in groups for groups in (shared, *made.PerFrameFunctionalGroupsSequence)):
        # the plane of the pixels counts in pixels; OHIF 3.12 is taken down by a Segmentation without measures
        shared.PixelMeasuresSequence = PixelMeasuresSequence(("1", "1"), slice_thickness="1")
    _, rows, columns = image.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.NumberOfFrames, made.Rows, made.Columns = len(kept), rows, columns
    bits = 1 if form == "BINARY" else 8
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits, bits - 1, 0
    parts = list(_packed(kept) if bits == 1 else (layer.pixels[index].tobytes() for layer, index in kept))
    if sum(map(len, parts)) % 2:
        parts.append(b"\0")
    made.PixelData = b"".join(parts)
    made["PixelData"].VR = "OB"


def may_keep_empty(image: SourceImage, layers: int, form: Form) -> bool:
    """Whether an object with so many layers is not too large with every frame of the image in each."""
    return _size_of(image, layers * len(image.frames), form) <= LARGEST_WITH_EMPTY


def _size_of(image: SourceImage, frames: int, form: Form) -> int:
    """Bytes of so many frames of a Segmentation of this image."""
    _, rows, columns = image.shape
    return -(-frames * rows * columns * (1 if form == "BINARY" else 8) // 8)


def _is_any(pixels: Frames[np.bool_] | Frames[np.uint8], index: int) -> bool:
    return pixels.count(index) > 0 if isinstance(pixels, PackedMask) else bool(pixels[index].any())


def _packed(frames: Sequence[tuple[Layer, int]]) -> Iterator[bytes]:
    """One bit a pixel, frame after frame without padding (PS3.5 section 8.1.1), eight frames at a time.

    pydicom's `pack_bits` wants all frames in bytes, and copies them twice to see that they are 0 and 1.
    """
    for start in range(0, len(frames), 8):
        pixels = [layer.pixels[index].ravel() for layer, index in frames[start : start + 8]]
        yield np.packbits(np.concatenate(pixels), bitorder="little").tobytes()
