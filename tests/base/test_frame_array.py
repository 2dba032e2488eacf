"""Frames that are made when they are asked for are those of an array that holds them all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from whyray.base.frame_array import FrameArray, PackedMask, Room, any_along_frames, counts_of

VALUES = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)


def of(whole: np.ndarray, room: Room | None = None) -> tuple[FrameArray[np.float32], list[int]]:
    made: list[int] = []

    def frame(index: int) -> np.ndarray:
        made.append(index)
        return whole[index].copy()

    return FrameArray(whole.shape, whole.dtype, frame, room=room), made


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        np.int64(2),
        (1, 2),
        (1, slice(None), 3),
        slice(1, 4),
        slice(None, None, -2),
        (slice(None), 0, 0),
        [0, 3],
        np.array([True, False, True, False, False]),
        VALUES > 0,
        ...,
    ],
)
def test_an_index_gives_what_it_gives_of_an_array(key: object) -> None:
    frames, _ = of(VALUES)
    np.testing.assert_array_equal(frames[key], VALUES[key])  # type: ignore[index]


def test_an_index_beyond_the_last_frame_is_refused() -> None:
    with pytest.raises(IndexError):
        of(VALUES)[0][5]


def test_numbers_and_operators_are_those_of_an_array() -> None:
    frames, _ = of(VALUES)
    assert (frames.max(), frames.min()) == (VALUES.max(), VALUES.min())
    assert (frames.shape, frames.ndim, frames.size, len(frames)) == (VALUES.shape, 3, VALUES.size, 5)
    np.testing.assert_array_equal(frames > 0.5, VALUES > 0.5)
    np.testing.assert_array_equal(np.abs(frames), np.abs(VALUES))
    np.testing.assert_array_equal(np.stack(list(frames)), VALUES)
    assert np.asarray(frames, np.float64).dtype == np.float64
    assert frames.is_finite()
    assert not of(np.full((1, 1, 1), np.nan, np.float32))[0].is_finite()


def test_a_frame_is_made_once_while_there_is_room_and_none_can_be_written_to() -> None:
    room = Room(2 * VALUES[0].nbytes)
    frames, made = of(VALUES, room)
    for _ in range(2):
        list(frames)
    assert [made.count(index) for index in range(5)] == [1, 1, 2, 2, 2]
    assert room.left == 0
    with pytest.raises(ValueError, match="read-only"):
        frames[0][0] = 1


def test_frames_without_anything_take_no_room() -> None:
    room = Room(0)
    frames, made = of(np.zeros((3, 2, 2), np.float32), room)
    for _ in range(2):
        assert not frames.any()
    assert made == [0, 1, 2]


@given(arrays(np.bool_, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))))
def test_a_packed_mask_is_the_mask_that_was_packed(mask: np.ndarray) -> None:
    packed = PackedMask.of(mask, mask.shape)
    np.testing.assert_array_equal(np.asarray(packed), mask)
    np.testing.assert_array_equal(packed.counts(), mask.sum(axis=(1, 2)))
    np.testing.assert_array_equal(counts_of(mask), packed.counts())
    np.testing.assert_array_equal(any_along_frames(packed), mask.any(axis=0))
    assert (packed.any(), packed.all(), packed.sum()) == (mask.any(), mask.all(), mask.sum())


def test_a_frame_of_a_packed_mask_can_be_set_again() -> None:
    packed = PackedMask((2, 2, 2), lambda index: np.full((2, 2), index == 1))
    assert packed[1].all()
    packed.put(1, np.array([[True, False], [False, False]]))
    assert packed[1].sum() == 1
    assert not packed[0].any()


def test_a_mask_is_not_known_before_it_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread that asks meanwhile makes the frame itself: half known, it would be taken for all that is set."""
    frame = np.zeros((3, 4), bool)
    frame[1, 2] = True
    mask, packbits = PackedMask((1, 3, 4), lambda _: frame), np.packbits
    known: list[bool] = []

    def packed(*arguments: Any, **options: Any) -> Any:
        known.append(mask.is_known(0))
        return packbits(*arguments, **options)

    monkeypatch.setattr(np, "packbits", packed)
    np.testing.assert_array_equal(mask[0], frame)
    assert known == [False]
