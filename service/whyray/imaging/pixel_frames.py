"""Frames of an image as they are stored, and the values that are made of them when somebody asks.

A CT of thousands of slices has its 16 bits a pixel in memory and no more: modality units and what a viewer shows are
float32 of one slice at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.errors import ImageError
from whyray.base.frame_array import FrameArray, LastFrame
from whyray.imaging.display_shutter import DisplayShutter, display_shutter
from whyray.imaging.instance import Instance, text
from whyray.imaging.notes import Note
from whyray.imaging.photometry import (
    LUMA,
    MONOCHROME,
    LookupTable,
    ModalityTable,
    Rescale,
    Window,
    as_rgb,
    modality_transform,
    padding_range,
    shows_something,
    surely_shows_something,
)

SAMPLE = 2_000_000
"""Values that are enough for percentiles."""
_FEW = 16
"""Of so many values of the sample one is looked at first."""


@dataclass(frozen=True)
class PixelFrame:
    """One frame.

    Attributes
    ----------
    header
        Of its instance.
    stored
        Stored values: (rows, columns), or (rows, columns, 3) for colour.
    transform
        What makes modality units of them; None for colour.
    padding
        Stored values, from and to, that mark where there is no image.
    shutter
        What hides a part of it from who looks at it; None where all is shown.
    notes
        What the reader must know of how it is shown.
    """

    header: Dataset
    stored: NDArray[Any]
    transform: Rescale | ModalityTable | None
    padding: tuple[int, int] | None
    shutter: DisplayShutter | None = None
    notes: tuple[Note, ...] = ()

    @classmethod
    def of(cls, instance: Instance, number: int, stored: NDArray[Any]) -> PixelFrame:
        """A decoded frame of an instance, by its number from 1.

        Raises ImageError where it has another size than the instance says, its values can't be brought to modality
        units or to colours, or are not finite then.
        """
        header = instance.header
        if stored.shape[:2] != instance.shape:
            raise ImageError(f"instance {instance.uid}: expected frames of {instance.shape}, found {stored.shape[:2]}")
        # decoders give views into all that they read
        stored = np.array(stored) if stored.base is not None or not stored.flags.c_contiguous else stored
        shutter, notes = display_shutter(header, number)
        if is_colour(header):
            as_rgb(header, stored)  # refuses what has no colours
            return cls(header, stored, None, None, shutter, notes)
        transform = modality_transform(header, number)
        if not np.isfinite(transform.apply(_extremes(stored))).all():
            raise ImageError(f"instance {instance.uid}: expected finite modality values, found NaN or infinity")
        return cls(header, stored, transform, padding_range(header, stored), shutter, notes)

    def modality(self) -> FloatArray:
        """In modality units, (rows, columns); of colour the luma (ITU-R BT.601) in 0..255."""
        if self.transform is None:
            luma: FloatArray = as_rgb(self.header, self.stored) @ (LUMA * np.float32(255))
            return luma
        return self.transform.apply(self.stored)

    def is_padding(self) -> BoolArray:
        """Where there is no image, (rows, columns)."""
        shape = self.stored.shape[:2]
        return np.zeros(shape, np.bool_) if self.padding is None else _within(self.stored, self.padding)

    def shown(self, voi: Window | LookupTable | None) -> FloatArray:
        """What a viewer shows, in 0..1: (rows, columns) by a window or VOI LUT, or the colours (rows, columns, 3)."""
        shown = as_rgb(self.header, self.stored) if voi is None else self._grey(voi)
        if self.shutter is not None:
            shown[self.shutter.hidden] = self.shutter.shown
        return shown

    def _grey(self, voi: Window | LookupTable) -> FloatArray:
        shown = voi.apply(self.modality())
        if text(self.header, "PhotometricInterpretation") == "MONOCHROME1":
            np.subtract(1, shown, out=shown)
        if self.padding is not None:
            shown[_within(self.stored, self.padding)] = 0
        return shown


def is_colour(header: Dataset) -> bool:
    """Whether its pixels have colours of their own, or from a palette."""
    return text(header, "PhotometricInterpretation") not in MONOCHROME


@dataclass(frozen=True)
class LastFrames:
    """The frames that were asked for last of images which are decoded together: all frames of a cine keep one."""

    modality: LastFrame = field(default_factory=LastFrame)
    padding: LastFrame = field(default_factory=LastFrame)
    display: LastFrame = field(default_factory=LastFrame)


def modality_of(frames: Sequence[PixelFrame], last: LastFrames) -> FrameArray[np.float32]:
    """(frames, rows, columns) in modality units."""
    return FrameArray(_shape(frames), np.float32, lambda index: frames[index].modality(), remember=last.modality)


def stored_of(frames: Sequence[PixelFrame]) -> FrameArray[Any] | None:
    """(frames, rows, columns) as stored; None of colours."""
    if frames[0].transform is None:
        return None
    return FrameArray(_shape(frames), frames[0].stored.dtype, lambda index: frames[index].stored, remember=False)


def padding_of(frames: Sequence[PixelFrame], last: LastFrames) -> FrameArray[np.bool_]:
    """(frames, rows, columns): where there is no image."""
    return FrameArray(_shape(frames), np.bool_, lambda index: frames[index].is_padding(), remember=last.padding)


def display_of(
    frames: Sequence[PixelFrame], voi: Sequence[Window | LookupTable | None], last: LastFrames
) -> FrameArray[np.float32]:
    """(frames, rows, columns) or (frames, rows, columns, 3) in 0..1, each frame by its own window or VOI LUT."""
    shape = _shape(frames) if frames[0].transform is not None else (*_shape(frames), 3)
    return FrameArray(shape, np.float32, lambda index: frames[index].shown(voi[index]), remember=last.display)


def sample_of(frames: Sequence[PixelFrame], *, one_of: int = 1) -> FloatArray:
    """Up to two million modality values that are no padding, spread over monochrome frames; `one_of` so many of them,
    before padding is left out."""
    area, step = int(np.prod(frames[0].stored.shape)), _step(frames)
    parts = []
    for index, frame in enumerate(frames):
        assert frame.transform is not None, "colours have no window"
        some = frame.stored.reshape(-1)[-index * area % step :: step * one_of]
        values = frame.transform.apply(some)
        parts.append(values if frame.padding is None else values[~_within(some, frame.padding)])
    return np.concatenate(parts)


def any_shows_something(windows: Sequence[Window | LookupTable], frames: Sequence[PixelFrame]) -> bool:
    """`shows_something` of the sample, by any of them; told by a part of it where that is beyond doubt, for making all
    of it takes longer than to look."""
    few = sample_of(frames, one_of=_FEW)
    at_most = len(frames) * (int(np.prod(frames[0].stored.shape)) // _step(frames) + 1)
    if any(surely_shows_something(voi, few, at_most) for voi in windows):
        return True
    sample = sample_of(frames)
    return any(shows_something(voi, sample) for voi in windows)


def _step(frames: Sequence[PixelFrame]) -> int:
    return max(1, len(frames) * int(np.prod(frames[0].stored.shape)) // SAMPLE) | 1


def _shape(frames: Sequence[PixelFrame]) -> tuple[int, ...]:
    return (len(frames), *frames[0].stored.shape[:2])


def _within(stored: NDArray[Any], ends: tuple[int, int]) -> BoolArray:
    return np.asarray((stored >= ends[0]) & (stored <= ends[1]), dtype=np.bool_)


def _extremes(stored: NDArray[Any]) -> NDArray[Any]:
    """Values that are finite after a transform only if all are: the least and the largest, of floats every one."""
    if stored.dtype.kind == "f" or not stored.size:
        return stored
    return np.array([stored.min(), stored.max()], dtype=stored.dtype)
