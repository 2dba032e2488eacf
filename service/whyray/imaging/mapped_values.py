"""An image's values in one unit as far as its Real World Value Mappings go, which need not be all of them.

They may leave stored values out (PS3.3 section C.7.6.16.2.11): whether that matters depends on what else states the
unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.errors import ImageError
from whyray.base.frame_array import FrameArray, Frames, LastFrame, PackedMask
from whyray.imaging.attributes import attribute_name
from whyray.imaging.real_world_values import (
    RealWorldMap,
    mapped_pixels,
    real_world_maps,
    real_world_values,
    refuse_left_out,
)
from whyray.imaging.source import SourceImage

SAME_LINE = 1e-3
"""Share of a frame's largest value by which two statements of one unit may differ by rounding."""
_CONTRADICTS = "Ask who made the image which of the two holds."
_SEQUENCE = "RealWorldValueMappingSequence"


@dataclass(frozen=True)
class MappedValues:
    """What an image's mappings to one unit say.

    Attributes
    ----------
    values
        (frames, rows, columns) in the unit; 0 where nothing is mapped, and where there is no image.
    mapped
        (frames, rows, columns): where there is an image, and a mapping of its stored value.
    maps
        Of each frame.
    """

    values: FrameArray[np.float32]
    mapped: PackedMask
    maps: tuple[tuple[RealWorldMap, ...], ...]

    def leaves_out(self, image: SourceImage) -> bool:
        """Whether any pixel of the image that is no padding is not mapped."""
        return not all((self.mapped[index] | image.padding[index]).all() for index in range(len(self.maps)))

    def refuse_left_out(self, image: SourceImage, unit: str) -> None:
        """ImageError where any pixel of the image that is no padding is not mapped: where nothing else states it."""
        for index in range(len(self.maps)):
            left_out = ~(self.mapped[index] | image.padding[index])
            if not left_out.any():
                continue
            if not self.maps[index]:
                raise ImageError(
                    f"series {image.header.get('SeriesInstanceUID')}: expected a {attribute_name(_SEQUENCE)} to {unit} "
                    f"of all frames, found one of {sum(map(bool, self.maps))} of {len(self.maps)}"
                )
            assert image.stored is not None, "what is mapped was stored"
            header = image.headers[image.frames[index].sop_instance_uid]
            refuse_left_out(header, self.maps[index], image.stored[index][left_out])


def mapped_values(image: SourceImage, unit: str, codes: Mapping[str, float]) -> MappedValues | None:
    """The image's values by its mappings to a unit; None where it has none.

    `codes`: the UCUM codes that a mapping may have for the unit, and how many of the unit one of each is. ImageError
    where a mapping is unusable, and where two say different things of one value.
    """
    made: MappedValues | None = None
    for code, factor in codes.items():
        one = _mapped_by(image, code, factor)
        if made is not None and one is not None:
            refuse_disagreement(image, one, made.values, unit, SAME_LINE, within=made.mapped)
            one = _together(image, made, one)
        made = one or made
    return made


def refuse_disagreement(
    image: SourceImage,
    mapped: MappedValues,
    other: Frames[np.float32],
    unit: str,
    share: float,
    *,
    within: Frames[np.bool_] | None = None,
) -> None:
    """ImageError where mapped values differ from another statement of them, (frames, rows, columns).

    By more than this share of a frame's largest value. Compared are pixels that are mapped and no padding, `within`
    what the other states if that is not all.
    """
    for index, frame in enumerate(image.frames):
        shown = ~image.padding[index]
        if within is not None:
            shown &= within[index]
        both = shown & mapped.mapped[index]
        if not both.any():
            continue
        stated = other[index]
        one, two = mapped.values[index][both], stated[both]
        apart = np.abs(one - two)
        if apart.max() > share * max(np.abs(one).max(), np.abs(stated[shown]).max()):
            at = int(apart.argmax())
            raise ImageError(
                f"series {image.header.get('SeriesInstanceUID')}: expected one value in {unit} of each pixel, found "
                f"{one[at]:g} by {attribute_name(_SEQUENCE)} and {two[at]:g} by what else frame {frame.frame_number} "
                f"of instance {frame.sop_instance_uid} says of it",
                advice=_CONTRADICTS,
            )


def kept_beside(image: SourceImage) -> bool | LastFrame:
    """Where values that are made of the image's keep their last frame: those of a cine keep one together."""
    return image.modality.remember if isinstance(image.modality, FrameArray) else True


def _mapped_by(image: SourceImage, code: str, factor: float) -> MappedValues | None:
    stored, padding = image.stored, image.padding
    if stored is None:
        return None
    maps = tuple(
        tuple(real_world_maps(image.headers[frame.sop_instance_uid], frame.frame_number, (code,)))
        for frame in image.frames
    )
    if not any(maps):
        return None

    def of_frame(index: int) -> FloatArray:
        values = real_world_values(maps[index], stored[index], padding[index])
        return values if factor == 1 else values * np.float32(factor)

    mapped = PackedMask.of(
        (mapped_pixels(maps[index], stored[index], padding[index]) for index in range(len(maps))), image.shape
    )
    return MappedValues(FrameArray(image.shape, np.float32, of_frame, remember=kept_beside(image)), mapped, maps)


def _together(image: SourceImage, first: MappedValues, second: MappedValues) -> MappedValues:
    """What two mappings say that agree where both say something."""

    def of_frame(index: int) -> FloatArray:
        return np.where(first.mapped[index], first.values[index], second.values[index])

    either: Iterable[BoolArray] = (one | two for one, two in zip(first.mapped, second.mapped, strict=True))
    return MappedValues(
        FrameArray(image.shape, np.float32, of_frame, remember=kept_beside(image)),
        PackedMask.of(either, image.shape),
        tuple(one + two for one, two in zip(first.maps, second.maps, strict=True)),
    )
