"""How alike two maps are is what SciPy says, without the second that loading its statistics takes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity as ssim

from whyray.quality.similarity import rank_correlation, structural_similarity

MAPS = arrays(np.float32, (4, 5), elements=st.integers(-6, 6).map(float))


@settings(max_examples=100, deadline=None)
@given(first=MAPS, second=MAPS)
def test_rank_correlation_is_scipys_with_ties_and_without(first: np.ndarray, second: np.ndarray) -> None:
    correlation = rank_correlation(first, second)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        assert correlation == 0.0
    else:
        assert correlation == pytest.approx(spearmanr(first.ravel(), second.ravel()).statistic, abs=1e-12)


@pytest.mark.parametrize("shape", [(1, 8), (2, 2), (8, 2), (1, 8, 8), (2, 9, 8), (8, 2, 9), (2, 1, 8), (1, 2, 1)])
def test_maps_with_axes_of_a_place_or_two_are_compared_too(shape: tuple[int, ...]) -> None:
    """A volume of two slices: no window of three fits into it."""
    first, second = np.random.default_rng(0).random((2, *shape), np.float32)
    assert structural_similarity(first, first) == pytest.approx(1)
    assert structural_similarity(first, second) < 0.9
    assert np.isnan(structural_similarity(first, np.where(first == first.max(), np.nan, first)))


def test_the_similarity_of_a_thin_volume_is_the_mean_of_its_slices() -> None:
    first, second = np.random.default_rng(1).random((2, 2, 12, 12), np.float32)
    first[:, 0, :2] = [[0, 1], [0, 1]]  # so that slices and volume have the same range
    slices = [structural_similarity(first[number], second[number]) for number in range(2)]
    assert structural_similarity(first, second) == pytest.approx(np.mean(slices))


def test_the_similarity_of_maps_is_scikit_images() -> None:
    first, second = np.random.default_rng(2).random((2, 20, 24))
    low, spread = first.min(), first.max() - first.min()
    expected = ssim((first - low) / spread, (second - low) / spread, data_range=1.0, win_size=7)
    assert structural_similarity(first.astype(np.float32), second.astype(np.float32)) == pytest.approx(expected)


def test_rank_correlation_of_a_volume_needs_no_scipy_stats() -> None:
    code = """
import sys
import numpy as np
from whyray.quality.similarity import rank_correlation, structural_similarity
values = np.random.default_rng(0).random((3, 20, 20), np.float32)
assert rank_correlation(values, values**3) > 0.999999
assert rank_correlation(values, -values) < -0.999999
print("scipy.stats" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
