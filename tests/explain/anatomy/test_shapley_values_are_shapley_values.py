"""Exact values equal brute force over orders and the shap package's; sampled ones sum exactly and come near."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explain.anatomy.planted_anatomy import IN_HEART, IN_RIGHT_LUNG, OUTSIDE, anatomy_package, detector, lit
from planted import BRIGHT
from whyray.explain import Context, RegionShares, Structure, explain
from whyray.explain.anatomy import exact_shapley, sampled_shapley


def game(players: int, seed: int, targets: int = 2):
    """A value function with all interactions there can be."""
    table = np.random.default_rng(seed).normal(size=(2**players, targets))

    def value(present: np.ndarray) -> np.ndarray:
        return table[present @ (1 << np.arange(players))]

    return value


def by_brute_force(value, players: int) -> np.ndarray:
    total = 0.0
    orders = list(permutations(range(players)))
    for order in orders:
        gains, present = np.zeros((players, 2)), np.zeros((1, players), bool)
        for player in order:
            before = value(present)[0]
            present[0, player] = True
            gains[player] = value(present)[0] - before
        total = total + gains
    return total / len(orders)


@settings(max_examples=25, deadline=None)
@given(players=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_exact_values_equal_brute_force_and_sum_to_what_all_bring(players: int, seed: int) -> None:
    value = game(players, seed)
    effects, error, empty, whole = exact_shapley(value, players)
    np.testing.assert_allclose(effects, by_brute_force(value, players), atol=1e-10)
    np.testing.assert_allclose(effects.sum(axis=0), whole - empty, atol=1e-10)
    assert not error.any()


def test_exact_values_equal_those_of_the_shap_package() -> None:
    shap = pytest.importorskip("shap")
    players = 6
    value = game(players, 3)

    def asked(rows: np.ndarray) -> np.ndarray:
        return value(rows > 0.5)[:, 0]

    theirs = shap.explainers.Exact(asked, np.zeros((1, players)))(np.ones((1, players))).values[0]
    np.testing.assert_allclose(exact_shapley(value, players)[0][:, 0], theirs, atol=1e-8)


@settings(max_examples=10, deadline=None)
@given(players=st.integers(2, 12), seed=st.integers(0, 1000))
def test_sampled_values_sum_exactly_and_the_same_seed_gives_the_same(players: int, seed: int) -> None:
    value = game(players, seed)
    first, second = (sampled_shapley(value, players, 3, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_allclose(first[0].sum(axis=0), first[3] - first[2], atol=1e-9)
    np.testing.assert_array_equal(first[0], second[0])


def test_sampled_values_come_near_the_exact_ones_within_their_standard_error() -> None:
    value = game(7, 1)
    exact = exact_shapley(value, 7)[0]
    sampled, error, _, _ = sampled_shapley(value, 7, 400, np.random.default_rng(0))
    assert (np.abs(sampled - exact) <= 4 * error).all()
    assert error.max() < 0.15


def test_structures_that_only_count_together_share_what_they_bring(tmp_path: Path) -> None:
    """The detector's score is a sum over places, so each structure brings just its own part: a check by hand."""
    anatomy_package(tmp_path)
    model = detector(tmp_path)
    explanation = explain(model, lit(IN_RIGHT_LUNG, IN_HEART), target=BRIGHT, method="region-shapley", fill="zero")
    assert isinstance(explanation, RegionShares)
    effects = {region.structure.name: region.effect for region in explanation.regions}
    per_voxel = 4000 * (0.95 - 0.7) / 64**2
    assert effects["right lung"] == pytest.approx(36 * per_voxel, rel=1e-4)
    assert effects["heart"] == pytest.approx(48 * per_voxel, rel=1e-4)
    assert effects["left lung"] == pytest.approx(0, abs=1e-5)
    assert explanation.base is not None
    assert explanation.total is not None
    gained = sum(effect for effect in effects.values() if effect is not None) + explanation.evidence["rest_effect"]
    assert gained == pytest.approx(explanation.total - explanation.base, rel=1e-5)
    assert explanation.evidence["efficiency_gap"] <= 1e-3


def test_above_eight_structures_random_orders_are_followed_and_still_sum(tmp_path: Path) -> None:
    model = detector(tmp_path, companion="study")
    rows = np.arange(64)[:, None]
    strips = tuple(Structure(f"strip {n}", (rows // 4 == n) & np.ones((64, 64), bool)) for n in range(12))
    image = lit(IN_RIGHT_LUNG, IN_HEART, OUTSIDE)
    before = model.session.forwards
    explanation = explain(
        model, image, target=BRIGHT, method="region-shapley", context=Context(structures=strips), permutations=2
    )
    assert isinstance(explanation, RegionShares)
    assert model.session.forwards - before < 100
    assert explanation.evidence["efficiency_gap"] <= 1e-3
    assert sum(region.share for region in explanation.regions) + explanation.outside == pytest.approx(1, abs=1e-6)
