"""Arrays of frames of which a few are in memory at a time: a CT of thousands of slices does not fit whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, SupportsIndex, TypeVar, cast, overload

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

from whyray.base.arrays import BoolArray

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass
class Room:
    """Bytes that arrays of one image may share for frames that stay in memory."""

    left: int

    def take(self, wanted: int) -> bool:
        """Take so many bytes; False where they are not left."""
        if wanted > self.left:
            return False
        self.left -= wanted
        return True


class LastFrame:
    """The frame that was asked for last: of one array, or of several of which one is looked at at a time."""

    def __init__(self) -> None:
        self._kept: tuple[object, int, NDArray[Any]] | None = None

    def of(self, array: object, index: int) -> NDArray[Any] | None:
        """The frame, (rows, columns, ...), that was kept as number `index` (from 0) of this very array; else None."""
        kept = self._kept  # another thread may ask for another frame meanwhile
        return kept[2] if kept is not None and kept[0] is array and kept[1] == index else None

    def keep(self, array: object, index: int, frame: NDArray[Any]) -> None:
        """Keep this frame, and no other any more."""
        self._kept = array, index, frame


class FrameArray(NDArrayOperatorsMixin, Generic[Scalar]):
    """Read-only values (frames, rows, columns, ...) whose frames are made when they are asked for.

    `array[index]` is a frame; `np.asarray(array)`, operators and any other index make all of it. The frame that was
    asked for last is kept, and as many others as there is `room` for; frames that are all zero cost nothing.

    Parameters
    ----------
    shape, dtype
        Of the whole.
    make
        From the number of a frame, from 0, to the frame.
    room
        For frames that stay in memory; without one, none but the last does.
    remember
        Whether the last frame stays, or where arrays that lie beside each other keep theirs: of 300 frames of a cine,
        each an array of its own, all would stay.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        make: Callable[[int], NDArray[Scalar]],
        *,
        room: Room | None = None,
        remember: bool | LastFrame = True,
    ) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._make, self._room = make, room
        self._kept: dict[int, NDArray[Scalar]] = {}
        self._last = remember if isinstance(remember, LastFrame) else LastFrame() if remember else None
        self._name = object()  # what keeps the last frame shall not keep the array
        self._empty: NDArray[Scalar] | None = None

    @property
    def remember(self) -> bool | LastFrame:
        """Where the last frame stays: for arrays that are made of this one, and shall keep no frame beside it."""
        return False if self._last is None else self._last

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Scalar]]:
        return (self._frame(index) for index in range(len(self)))

    @overload
    def __getitem__(self, key: int) -> NDArray[Scalar]: ...
    @overload
    def __getitem__(self, key: Any) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        """A frame, or of one frame what is asked for; by any other index, part of the whole."""
        first, *rest = key if isinstance(key, tuple) and key else (key,)
        if isinstance(first, SupportsIndex) and not isinstance(first, (bool, np.ndarray)):
            frame = self._frame(range(len(self))[first])
            return frame[tuple(rest)] if rest else frame
        if isinstance(first, slice):
            frames = range(len(self))[first]
            made = np.empty((len(frames), *self.shape[1:]), self.dtype)
            for place, index in enumerate(frames):
                made[place] = self._frame(index)
            return made[(slice(None), *rest)]
        return np.asarray(self)[np.asarray(key) if isinstance(key, FrameArray) else key]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """All of it in memory."""
        if copy is False:
            raise ValueError("frames are made when they are asked for: there is nothing that could be had uncopied")
        whole = self[:]
        return cast(NDArray[Any], whole if dtype is None else whole.astype(dtype, copy=False))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Element by element, on the whole in memory."""
        arrays = [np.asarray(array) if isinstance(array, FrameArray) else array for array in inputs]
        return getattr(ufunc, method)(*arrays, **options)

    def any(self) -> bool:
        """Whether any value is other than zero."""
        return any(bool(frame.any()) for frame in self)

    def all(self) -> bool:
        """Whether no value is zero."""
        return all(bool(frame.all()) for frame in self)

    def is_finite(self) -> bool:
        """Whether no value is infinite or NaN."""
        return all(bool(np.isfinite(frame).all()) for frame in self)

    def max(self) -> Any:
        """The largest value; NaN where there is one."""
        return np.max([frame.max() for frame in self])

    def min(self) -> Any:
        """The least value; NaN where there is one."""
        return np.min([frame.min() for frame in self])

    def _frame(self, index: int) -> NDArray[Scalar]:
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        last = None if self._last is None else self._last.of(self._name, index)
        if last is not None:
            return last
        made = self._make(index)
        made = made.view()
        made.flags.writeable = False  # whoever asks next gets the same
        if self._room is not None:
            if not made.any():
                made = self._nothing()
                self._kept[index] = made
            elif self._room.take(made.nbytes):
                self._kept[index] = made
        if self._last is not None:
            self._last.keep(self._name, index, made)
        return made

    def _nothing(self) -> NDArray[Scalar]:
        if self._empty is None:
            self._empty = cast(NDArray[Scalar], np.zeros(self.shape[1:], self.dtype))
            self._empty.flags.writeable = False
        return self._empty


Frames = NDArray[Scalar] | FrameArray[Scalar]
"""(frames, rows, columns, ...), in memory or made frame by frame."""


class PackedMask(FrameArray[np.bool_]):
    """A mask (frames, rows, columns) kept as one bit a pixel, and frames that are all one as nothing.

    Parameters
    ----------
    shape
        Of the whole.
    make
        From the number of a frame to the frame, (rows, columns) bool; asked once for each.
    """

    def __init__(self, shape: tuple[int, ...], make: Callable[[int], BoolArray]) -> None:
        super().__init__(shape, np.bool_, make)
        self._packed: list[NDArray[np.uint8] | None] = [None] * shape[0]
        self._counts: list[int | None] = [None] * shape[0]
        self._area = int(np.prod(shape[1:]))

    @classmethod
    def of(cls, frames: Iterable[BoolArray], shape: tuple[int, ...]) -> PackedMask:
        """The mask of these frames, (rows, columns) each."""
        made = cls(shape, lambda _: np.zeros(shape[1:], np.bool_))
        for index, frame in enumerate(frames):
            made.put(index, frame)
        return made

    def put(self, index: int, frame: BoolArray) -> None:
        """Set a frame."""
        count = int(np.count_nonzero(frame))
        self._packed[index] = np.packbits(frame, bitorder="little") if 0 < count < self._area else None
        self._counts[index] = count  # last: what has a count is known, to other threads too

    def is_known(self, index: int) -> bool:
        """Whether a frame was made already."""
        return self._counts[index] is not None

    def count(self, index: int) -> int:
        """How many pixels of a frame are set."""
        if self._counts[index] is None:
            self._frame(index)
        return cast(int, self._counts[index])

    def counts(self) -> NDArray[np.int64]:
        """How many pixels of each frame are set."""
        return np.array([self.count(index) for index in range(len(self))], dtype=np.int64)

    def packed(self, index: int) -> bytes:
        """A frame by its content, a bit a pixel: frames of one shape give the same where they are the same."""
        count, packed = self.count(index), self._packed[index]
        return count.to_bytes(8, "little") + (b"" if packed is None else packed.tobytes())

    def any(self) -> bool:
        """Whether any pixel is set."""
        return any(self.count(index) > 0 for index in range(len(self)))

    def all(self) -> bool:
        """Whether all pixels are set."""
        return all(self.count(index) == self._area for index in range(len(self)))

    def sum(self) -> int:
        """How many pixels are set."""
        return int(self.counts().sum())

    def _frame(self, index: int) -> BoolArray:
        if self._counts[index] is None:
            self.put(index, self._make(index))
        packed, shape = self._packed[index], self.shape[1:]
        if packed is None:
            return np.broadcast_to(np.bool_(self._counts[index] != 0), shape)
        made = np.unpackbits(packed, count=self._area, bitorder="little").view(np.bool_).reshape(shape)
        made.flags.writeable = False
        return made


def counts_of(mask: Frames[np.bool_]) -> NDArray[np.int64]:
    """How many pixels of each frame of a mask (frames, rows, columns) are set."""
    if isinstance(mask, PackedMask):
        return mask.counts()
    return np.array([np.count_nonzero(frame) for frame in mask], dtype=np.int64)


def any_along_frames(mask: Frames[np.bool_]) -> BoolArray:
    """Where a mask (frames, rows, columns) is set in any of its frames: (rows, columns)."""
    union = np.zeros(mask.shape[1:], np.bool_)
    for frame in mask:
        union |= frame
    return union


def one_after_the_other(parts: Sequence[Frames[Scalar]]) -> FrameArray[Scalar]:
    """The frames of several arrays, one after the other: of masks a bit a pixel, of others made when asked for."""
    every = [(part, index) for part in parts for index in range(len(part))]
    return _made_of((len(every), *parts[0].shape[1:]), parts[0].dtype, dict(enumerate(every)))


def chosen_frames(values: Frames[Scalar], indices: Sequence[int]) -> FrameArray[Scalar]:
    """These frames of an array, in this order; as `one_after_the_other` has them."""
    every = {place: (values, index) for place, index in enumerate(indices)}
    return _made_of((len(indices), *values.shape[1:]), values.dtype, every)


def spread_frames(values: Frames[Scalar], places: Sequence[int], count: int) -> FrameArray[Scalar]:
    """The frames of an array at their places among `count` frames, zero elsewhere; as `one_after_the_other`."""
    every = {place: (values, index) for index, place in enumerate(places)}
    return _made_of((count, *values.shape[1:]), values.dtype, every)


def _made_of(
    shape: tuple[int, ...], dtype: np.dtype[Any], every: Mapping[int, tuple[Frames[Scalar], int]]
) -> FrameArray[Scalar]:
    def frame(place: int) -> NDArray[Scalar]:
        if place not in every:
            return cast("NDArray[Scalar]", np.zeros(shape[1:], dtype))
        values, index = every[place]
        return cast("NDArray[Scalar]", values[index])

    if dtype == np.bool_:
        mask = PackedMask.of((cast(BoolArray, frame(place)) for place in range(shape[0])), shape)
        return cast("FrameArray[Scalar]", mask)
    return FrameArray(shape, dtype, frame)
