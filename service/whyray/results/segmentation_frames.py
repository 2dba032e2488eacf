"""Frames of Segmentations: which there are, where they lie (PS3.3 C.7.6.16), and how pixels are written (C.8.20)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from whyray.imaging import SourceImage
from whyray.results.carried import valid_text
from whyray.results.coding import dcm
from whyray.results.multi_frame import (
    FRAME_LABEL,
    IMAGE_POSITION_PATIENT,
    REFERENCED_SEGMENT_NUMBER,
    add_dimensions,
    add_pixel_measures,
    derivation_item,
    frame_content_item,
    frame_label,
    is_frame_stack,
    plane_of,
    plane_orientation_item,
    plane_position_item,
)
from whyray.results.uids import UidSource

Form = Literal["BINARY", "FRACTIONAL", "LABELMAP"]
"""Segmentation Type (0062,0001)."""
SEGMENTATION_DERIVATION = dcm("113076", "Segmentation")


@dataclass(frozen=True)
class Layer:
    """What frames show: a segment, or with number None all of them as their numbers.

    `pixels` is (frames, rows, columns) of the source: 0 and 1, 0 to 255 for fractional ones, or numbers of segments.
    """

    number: int | None
    pixels: NDArray[np.uint8]
    frames: tuple[int, ...] | None = None
    """Indices of the frames of which the segment says something, empty or not; None for all."""


def add_frames(
    made: Dataset, image: SourceImage, uids: UidSource, layers: Sequence[Layer], form: Form, *, omit_empty_frames: bool
) -> None:
    """Functional groups, dimensions and pixels, in the source's geometry.

    An object in which nothing is set keeps one frame, since none would be invalid.
    """
    planes = [plane_of(image, frame) for frame in image.frames]
    placed = all(plane is not None for plane in planes)
    kept = [
        (layer, index)
        for layer in layers
        for index in (range(len(image.frames)) if layer.frames is None else layer.frames)
        if not omit_empty_frames or layer.pixels[index].any()
    ] or [(layers[0], 0)]

    shared = Dataset()
    orientations = {plane.orientation for plane in planes if plane is not None}
    if placed:
        made.FrameOfReferenceUID = image.header.get("FrameOfReferenceUID") or uids.uid("frame-of-reference")
        made.PositionReferenceIndicator = valid_text(image.header, "PositionReferenceIndicator")
        if len(orientations) == 1:
            shared.PlaneOrientationSequence = [plane_orientation_item(planes[0])]  # type: ignore[arg-type]
    made.SharedFunctionalGroupsSequence = [shared]

    by_segment, by_label = form != "LABELMAP", is_frame_stack(image)
    place = [FRAME_LABEL] if by_label else [IMAGE_POSITION_PATIENT] if placed else []
    pointers = [*([REFERENCED_SEGMENT_NUMBER] if by_segment else []), *place]
    if pointers:
        add_dimensions(made, uids.uid("dimensions", "seg" if by_segment else "labelmap"), pointers)
    groups = []
    for layer, index in kept:
        frame, plane = image.frames[index], planes[index]
        group = Dataset()
        indices = [*([layer.number] if layer.number is not None else []), *([index + 1] if place else [])]
        label = frame_label(frame) if by_label else None
        group.FrameContentSequence = [frame_content_item(indices, label) if indices else Dataset()]
        if placed and plane is not None:
            group.PlanePositionSequence = [plane_position_item(plane)]
            if len(orientations) > 1:
                group.PlaneOrientationSequence = [plane_orientation_item(plane)]
        group.DerivationImageSequence = [derivation_item(image, frame, SEGMENTATION_DERIVATION)]
        if layer.number is not None:
            identification = Dataset()
            identification.ReferencedSegmentNumber = layer.number
            group.SegmentIdentificationSequence = [identification]
        groups.append(group)
    add_pixel_measures(shared, groups, image, [index for _, index in kept])
    made.PerFrameFunctionalGroupsSequence = groups

    _, rows, columns = image.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.NumberOfFrames, made.Rows, made.Columns = len(kept), rows, columns
    _add_pixels(made, np.stack([layer.pixels[index] for layer, index in kept]), bits=1 if form == "BINARY" else 8)


def _add_pixels(made: Dataset, pixels: NDArray[np.uint8], *, bits: int) -> None:
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits, bits - 1, 0
    packed = np.packbits(pixels.ravel(), bitorder="little").tobytes() if bits == 1 else pixels.tobytes()
    made.PixelData = packed + b"\0" * (len(packed) % 2)
    made["PixelData"].VR = "OB"
