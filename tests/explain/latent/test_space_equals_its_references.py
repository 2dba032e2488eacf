"""The numbers of a space of embeddings equal those of papers, written out, and scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from whyray.base.arrays import FloatArray
from whyray.explain.latent import fit_space, local_trustworthiness, percentile, trustworthiness
from whyray.explain.latent.plane import Placing
from whyray.explain.latent.space import neighbour_distance, unit


def cloud(count: int, width: int, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    spread = np.geomspace(5, 0.1, width)
    mixed = rng.normal(size=(count, width)) * spread @ np.linalg.qr(rng.normal(size=(width, width)))[0]
    return (mixed + rng.normal(size=width)).astype(np.float32)


@pytest.mark.parametrize(("count", "width"), [(200, 12), (40, 90), (13, 12)])
def test_mahalanobis_distances_are_those_of_scikit_learns_ledoit_wolf(count: int, width: int) -> None:
    fitting, others = cloud(count, width), cloud(25, width, seed=1)
    space = fit_space(fitting)
    reference = LedoitWolf().fit(fitting.astype(np.float64))
    assert space.shrinkage == pytest.approx(reference.shrinkage_, abs=1e-6)
    expected = np.sqrt(reference.mahalanobis(others.astype(np.float64)))
    np.testing.assert_allclose(space.mahalanobis(others), expected, rtol=2e-3)


def test_the_shrinkage_is_that_of_the_definition_in_ledoit_and_wolf() -> None:
    """Lemmas 3.2 to 3.4 of the paper of 2004, written out: squared norms of matrices are divided by their width."""
    x = cloud(7, 3).astype(np.float64)
    x -= x.mean(axis=0)
    count, width = x.shape
    sample = x.T @ x / count
    away = ((sample - np.trace(sample) / width * np.eye(width)) ** 2).sum() / width
    error = sum(((np.outer(row, row) - sample) ** 2).sum() / width for row in x) / count**2
    assert fit_space(cloud(7, 3)).shrinkage == pytest.approx(min(error, away) / away, abs=1e-6)
    assert 0.01 < min(error, away) / away < 0.99


@pytest.mark.parametrize(("count", "width"), [(200, 12), (40, 90)])
def test_principal_components_are_exact(count: int, width: int) -> None:
    fitting, others = cloud(count, width), cloud(25, width, seed=1)
    space = fit_space(fitting)
    reference = PCA(2, svd_solver="full").fit(fitting)
    expected = reference.transform(others)
    coordinates = space.coordinates(others)
    signs = np.sign((coordinates * expected).sum(axis=0))
    np.testing.assert_allclose(coordinates, expected * signs, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(space.explained[:2], reference.explained_variance_ratio_, rtol=1e-4)


def test_variances_beyond_the_basis_that_is_kept_are_replaced_by_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    fitting, others = cloud(400, 30), cloud(50, 30, seed=1)
    whole = fit_space(fitting).mahalanobis(others)
    monkeypatch.setattr("whyray.explain.latent.space.LARGEST_BASIS", 20)
    cut = fit_space(fitting)
    assert cut.basis.shape == (20, 30)
    assert np.corrcoef(whole, cut.mahalanobis(others))[0, 1] > 0.95


def test_the_axes_of_the_same_references_point_the_same_way_whatever_their_order() -> None:
    fitting = cloud(80, 20)
    first, second = fit_space(fitting), fit_space(fitting[::-1].copy())
    np.testing.assert_allclose(first.basis[:2], second.basis[:2], atol=1e-3)


def test_the_distance_to_the_tenth_neighbour_is_scikit_learns() -> None:
    fitting, others = cloud(80, 20), cloud(25, 20, seed=1)
    reference = NearestNeighbors(n_neighbors=10).fit(unit(fitting))
    expected = reference.kneighbors(unit(others))[0][:, -1]
    np.testing.assert_allclose(neighbour_distance(others, fitting), expected, atol=1e-4)


def written_out(space: FloatArray, plane: FloatArray, k: int) -> float:
    """Equation 1 of Venna and Kaski 2001, point by point."""
    count, sum_of_ranks = len(space), 0
    for i in range(count):
        others = [j for j in range(count) if j != i]
        near = sorted(others, key=lambda j: math.dist(space[i], space[j]))
        shown = sorted(others, key=lambda j: math.dist(plane[i], plane[j]))[:k]
        sum_of_ranks += sum(near.index(j) + 1 - k for j in shown if j not in near[:k])
    return 1 - 2 / (count * k * (2 * count - 3 * k - 1)) * sum_of_ranks


@settings(max_examples=10, deadline=None)
@given(count=st.integers(22, 40), width=st.integers(3, 12), seed=st.integers(0, 1000))
def test_trustworthiness_is_that_of_the_definition_in_venna_and_kaski(count: int, width: int, seed: int) -> None:
    points = cloud(count, width, seed)
    plane = points[:, :2]
    expected = written_out(points, plane, 10)
    assert trustworthiness(points, plane) == pytest.approx(expected, abs=1e-6)
    alone = np.arange(count)
    local = [local_trustworthiness(points[i], plane[i], points[alone != i], plane[alone != i]) for i in range(count)]
    assert np.mean(local) == pytest.approx(expected, abs=1e-6)
    assert max(local) <= 1


def test_of_fewer_than_three_points_nothing_is_known_of_a_plane() -> None:
    """No neighbourhood was compared: that it keeps all of them is nothing that was measured."""
    points = cloud(2, 5)
    assert trustworthiness(points, points[:, :2]) == 0
    assert local_trustworthiness(points[0], points[0, :2], points[1:], points[1:, :2]) == 0


def test_a_plane_that_mixes_points_up_is_not_trustworthy_and_the_space_itself_is() -> None:
    points = cloud(100, 10)
    assert trustworthiness(points, points) == 1
    mixed = np.random.default_rng(2).permutation(points)[:, :2]
    assert trustworthiness(points, mixed) < 0.6


def test_a_percentile_is_the_share_of_what_is_nearer() -> None:
    usual = np.arange(10, dtype=np.float32)
    assert percentile(-1, usual) == 0
    assert percentile(4.5, usual) == 50
    assert percentile(99, usual) == 100


def test_a_distance_that_is_no_number_is_not_nearer_than_all_others() -> None:
    usual = np.arange(10, dtype=np.float32)
    assert math.isnan(percentile(math.nan, usual))
    assert math.isnan(percentile(4.5, np.append(usual, np.float32("nan"))))
    assert math.isnan(percentile(4.5, usual[:0]))
    assert percentile(math.inf, usual) == 100


def test_a_place_that_is_none_has_no_trustworthy_neighbourhood() -> None:
    two = np.ones((2, 3), np.float32)
    nowhere = np.full(2, np.nan, np.float32)
    assert math.isnan(local_trustworthiness(two[0], nowhere, np.ones((9, 3)), np.ones((9, 2))))


def test_a_new_case_is_placed_among_its_neighbours_and_the_error_of_that_is_told() -> None:
    rng = np.random.default_rng(0)
    places = rng.normal(size=(300, 2)).astype(np.float32)
    lifted = unit(np.concatenate([places, np.ones((300, 1), np.float32)], axis=1))
    placing = Placing(lifted, places)
    inner = np.abs(places).max(axis=1) < 1
    assert np.median(np.linalg.norm(placing(lifted[inner]) - places[inner], axis=1)) < 0.15
    assert placing.error() < 0.25
    shuffled = Placing(lifted, rng.permutation(places))
    assert shuffled.error() > 0.6
