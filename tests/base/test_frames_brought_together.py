"""Frames of several arrays as one: masks a bit a pixel, values where they are asked for."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from whyray.base.frame_array import (
    FrameArray,
    LastFrame,
    PackedMask,
    chosen_frames,
    one_after_the_other,
    spread_frames,
)

RANDOM = np.random.default_rng(5)
VALUES = RANDOM.random((6, 5, 7)).astype(np.float32)
MASK = VALUES > 0.5


@pytest.mark.parametrize("whole", [VALUES, MASK])
def test_frames_one_after_the_other_are_those_of_the_parts(whole: np.ndarray) -> None:
    lazy = FrameArray((2, 5, 7), whole.dtype, lambda index: whole[4 + index])
    together = one_after_the_other([whole[:1], whole[1:4], lazy])
    np.testing.assert_array_equal(np.asarray(together), whole)
    assert together.dtype == whole.dtype


@pytest.mark.parametrize("whole", [VALUES, MASK])
def test_chosen_frames_come_in_the_order_in_which_they_are_chosen(whole: np.ndarray) -> None:
    np.testing.assert_array_equal(np.asarray(chosen_frames(whole, [4, 0, 4])), whole[[4, 0, 4]])


@pytest.mark.parametrize("whole", [VALUES, MASK])
def test_frames_are_spread_over_more_with_nothing_between(whole: np.ndarray) -> None:
    spread = spread_frames(whole[:2], (5, 1), 7)
    wanted = np.zeros((7, 5, 7), whole.dtype)
    wanted[5], wanted[1] = whole[0], whole[1]
    np.testing.assert_array_equal(np.asarray(spread), wanted)


def test_masks_of_many_frames_take_a_bit_a_pixel_and_values_nothing() -> None:
    masks = [PackedMask.of(iter([RANDOM.random((64, 64)) > 0.5]), (1, 64, 64)) for _ in range(40)]
    maps = [FrameArray((1, 64, 64), np.float32, lambda _: np.ones((64, 64), np.float32)) for _ in range(40)]
    tracemalloc.start()
    try:
        together = one_after_the_other(masks), one_after_the_other(maps)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert isinstance(together[0], PackedMask)
    assert kept < 2 * 40 * 64 * 64 / 8


def test_arrays_that_keep_their_last_frame_together_keep_one() -> None:
    made: list[tuple[str, int]] = []

    def array(name: str, last: LastFrame) -> FrameArray[np.float32]:
        def frame(index: int) -> np.ndarray:
            made.append((name, index))
            return np.full((2, 2), index, np.float32)

        return FrameArray((3, 2, 2), np.float32, frame, remember=last)

    last = LastFrame()
    one, other = array("one", last), array("other", last)
    assert one[1] is one[1]
    assert one[1][0, 0] == other[1][0, 0] == 1
    assert one[2][0, 0] == 2
    assert made == [("one", 1), ("other", 1), ("one", 2)]
