"""Pictures on their way to another package's input are resampled as skimage would, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.explain.companion_grid import resampled


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1, 37, 41), (16, 16)),
        ((2, 64, 64), (224, 224)),
        ((3, 128, 128), (448, 448)),
        ((1, 224, 224), (128, 128)),
        ((1, 50, 20), (20, 50)),
        ((2, 1, 5), (4, 7)),
        ((1, 9, 11, 13), (17, 11, 29)),
    ],
)
def test_pictures_are_resampled_to_the_bit_as_skimage_does(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    from skimage.transform import resize

    pictures = np.random.default_rng(0).normal(3, 50, before).astype(np.float32)
    wanted = resize(
        pictures, (before[0], *after), order=1, mode="edge", anti_aliasing=True, preserve_range=True
    ).astype(np.float32)
    made = resampled(pictures, after)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, wanted)
