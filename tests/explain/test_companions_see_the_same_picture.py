"""Pictures brought from one package's grid to another's."""

from __future__ import annotations

import numpy as np
import torch

from whyray.explain.companion_grid import resampled


def test_a_picture_that_grows_is_interpolated_as_torch_does() -> None:
    pictures = np.random.default_rng(0).normal(size=(2, 9, 12)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(pictures)[:, None], size=(20, 31), mode="bilinear")
    np.testing.assert_allclose(resampled(pictures, (20, 31)), expected[:, 0].numpy(), atol=1e-5)


def test_a_picture_that_shrinks_is_smoothed_first_so_that_no_pattern_arises_that_is_not_there() -> None:
    fine = np.indices((48, 48)).sum(axis=0) % 2
    smaller = resampled(fine[None].astype(np.float32), (12, 12))
    assert smaller.dtype == np.float32
    np.testing.assert_allclose(smaller, 0.5, atol=0.02)


def test_what_lies_in_the_middle_stays_there_whatever_the_size() -> None:
    ramp = np.broadcast_to(np.arange(30, dtype=np.float32), (1, 30, 30))
    for size in (10, 15, 60):
        values = resampled(ramp, (30, size))[0, 15]
        assert abs(float(values.mean()) - 14.5) < 0.02, size
        np.testing.assert_allclose(values, 29 - values[::-1], atol=1e-4)


def test_pictures_of_that_size_are_given_back_as_they_are() -> None:
    pictures = np.ones((1, 4, 5), np.float32)
    assert resampled(pictures, (4, 5)) is pictures
