"""Whether a map stays with other weights: one that never changes does, and two that share nothing but zeros do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from whyray.packages.randomisation_report import CHANGED, SAME
from whyray.quality import order_kept, silent_places

SHAPE = (64, 64)
SPARSE = arrays(np.float32, (6, 7), elements=st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0, -1.0]))
SEEDS = st.integers(0, 2**32 - 1)


def square(inside: np.ndarray | float) -> np.ndarray:
    drawn = np.zeros(SHAPE, np.float32)
    drawn[8:24, 8:24] = inside
    return drawn


def smooth(rng: np.random.Generator) -> np.ndarray:
    return ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2).astype(np.float32)


@given(values=SPARSE, scale=st.floats(0.1, 100))
def test_a_map_that_never_changes_stays_whatever_it_looks_like(values: np.ndarray, scale: float) -> None:
    assert order_kept(values, values) == pytest.approx(1)
    assert order_kept(values, np.float32(scale) * values) == pytest.approx(1)


def test_a_square_that_is_drawn_whatever_the_model_stays() -> None:
    """It is constant where it says anything, and a constant has no order there."""
    assert order_kept(square(1), square(1)) == 1
    assert order_kept(square(1), square(0.3)) == pytest.approx(1)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_so_does_one_that_differs_only_in_what_fills_its_square(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (square(inside) for inside in rng.uniform(0.5, 1, (2, 16, 16)))
    assert order_kept(first, second) > SAME


def test_places_of_equal_rank_are_not_ordered_by_what_nobody_sees() -> None:
    noise = np.random.default_rng(0).random((2, *SHAPE)).astype(np.float32)
    first, second = (square(1) + np.float32(1e-6) * part for part in noise)
    assert order_kept(first, second) > SAME


def test_one_place_that_outshines_all_others_makes_no_maps_alike() -> None:
    first, second = (np.float32(1e-4) * part for part in np.random.default_rng(0).random((2, *SHAPE), np.float32))
    first[5, 5] = second[5, 5] = 1
    assert abs(order_kept(first, second)) < 0.1


@given(seed=SEEDS, density=st.sampled_from([0.005, 0.02, 0.1, 0.3, 0.5]), other=st.sampled_from([0.02, 0.1, 0.5]))
@settings(max_examples=50)
def test_sparse_maps_of_different_places_share_no_more_than_zeros(seed: int, density: float, other: float) -> None:
    rng = np.random.default_rng(seed)
    first, second = (
        np.where(rng.random(SHAPE) < share, rng.random(SHAPE), 0).astype(np.float32) for share in (density, other)
    )
    assert abs(order_kept(first, second)) < 0.2


@given(seed=SEEDS)
@settings(max_examples=50)
def test_the_positive_parts_of_unrelated_maps_are_neither_alike_nor_opposite(seed: int) -> None:
    """Where both are 0 they agree: without those places they would look opposite."""
    rng = np.random.default_rng(seed)
    first, second = (np.maximum(smooth(rng), 0) for _ in range(2))
    assert abs(order_kept(first, second)) < CHANGED / 2 + 0.1


@given(seed=SEEDS)
@settings(max_examples=20)
def test_maps_that_can_only_lie_in_one_place_are_compared_inside_it(seed: int) -> None:
    """A map that is kept to the lungs is 0 elsewhere with any weights, and so is one of a blank background."""
    rng = np.random.default_rng(seed)
    first, second = (square(inside) for inside in rng.random((2, 16, 16)))
    silent = square(1) == 0
    assert abs(order_kept(first, second, silent)) < 0.25
    assert order_kept(first, first, silent) == pytest.approx(1)
    assert order_kept(first, square(0), silent) == 0


@pytest.mark.parametrize("noise", [0, 0.0003, 0.003, 0.02])
@pytest.mark.parametrize("inverted", [False, True])
def test_a_background_that_is_never_quite_black_makes_no_maps_alike(noise: float, inverted: bool) -> None:
    """Air in MR, black after lossy compression, noise behind a collimator: maps are faint there with any weights."""
    rng = np.random.default_rng(0)
    x = np.float32(noise) * rng.standard_normal(SHAPE)
    x[16:48, 16:48] = rng.uniform(0.5, 0.7, (32, 32))
    image = (1 - x if inverted else x).astype(np.float32)[None, None]
    first, second = (np.abs(rng.standard_normal(SHAPE)) * x for _ in range(2))
    assert abs(order_kept(first, second, silent_places(image))) < CHANGED
    fixed = (square(inside) for inside in rng.uniform(0.5, 1, (2, 16, 16)))
    assert order_kept(*fixed, silent_places(np.roll(image, 24, axis=-1))) > SAME


def test_an_image_without_a_background_is_silent_hardly_anywhere() -> None:
    x = np.random.default_rng(0).random((1, 1, *SHAPE), np.float32)
    assert silent_places(x).mean() < 0.05


def test_what_is_drawn_where_nothing_can_be_counts_all_the_same() -> None:
    assert order_kept(square(1), square(1), np.ones(SHAPE, bool)) == 1
    drawn = square(1)
    elsewhere = np.roll(drawn, 32, axis=1)
    assert order_kept(drawn, elsewhere, np.ones(SHAPE, bool)) < 0


@given(first=SPARSE, second=SPARSE)
def test_it_does_not_matter_which_map_is_the_models(first: np.ndarray, second: np.ndarray) -> None:
    assert order_kept(first, second) == pytest.approx(order_kept(second, first))
    assert -1 - 1e-9 <= order_kept(first, second) <= 1 + 1e-9


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (1, 3, 32, 32), (1, 1, 4, 32, 32)])
def test_an_image_is_silent_where_it_is_the_same_all_around(shape: tuple[int, ...]) -> None:
    x = np.zeros(shape, np.float32)
    x[..., 8:24, 8:24] = np.random.default_rng(0).random((*shape[:-2], 16, 16))
    silent = silent_places(x)
    assert silent.shape == shape[2:]
    assert silent[..., :7, :].all()
    assert not silent[..., 8:24, 8:24].any()
