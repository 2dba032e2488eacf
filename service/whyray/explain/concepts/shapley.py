"""Shares of a head's answer among its inputs that always add up: exact where the head is affine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray

Head = Callable[[FloatArray], FloatArray]
"""(N, K) concepts to (N, T) logits."""
AFFINE = 1e-4


def contributions(
    head: Head, values: FloatArray, reference: FloatArray, targets: list[int], orders: int, seed: int
) -> tuple[FloatArray, FloatArray, bool]:
    """How each concept's difference from its reference moved each logit: (targets, K), base (targets,), exact or not.

    Affine heads: weight times difference. Others: Shapley values over `orders` random orders and their reverses
    (Castro et al. 2009; antithetic after Mitchell et al. 2022), whose sum is exact in each order.
    """
    count = len(values)
    ends = head(np.stack([reference, values]))[:, targets]
    base = ends[0]
    alone = np.tile(reference, (count, 1))
    np.fill_diagonal(alone, values)
    single = (head(alone)[:, targets] - base).T
    random = np.random.default_rng(seed)
    if _adds_up(head, values, reference, targets, single, base, random):
        return single, base, True
    shares = np.zeros_like(single)
    walks = [order for _ in range(orders) for order in _both_ways(random.permutation(count))]
    for order in walks:
        steps = np.tile(reference, (count + 1, 1))
        for place, concept in enumerate(order):
            steps[place + 1 :, concept] = values[concept]
        shares[:, order] += np.diff(head(steps)[:, targets], axis=0).T / len(walks)
    return shares, base, False


def _both_ways(order: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return order, order[::-1]


def _adds_up(
    head: Head,
    values: FloatArray,
    reference: FloatArray,
    targets: list[int],
    single: FloatArray,
    base: FloatArray,
    random: np.random.Generator,
) -> bool:
    """Whether the head is affine: any subset of changes does what its members do alone, and half a change half."""
    share = random.choice(np.array([0.0, 0.5, 1.0], np.float32), size=(16, len(values)))
    share[0] = 1.0
    mixed = head(reference + share * (values - reference))[:, targets]
    scale = 1 + float(np.abs(mixed).max()) + float(np.abs(single).sum(axis=1).max())
    return bool(np.abs(mixed - (base + share @ single.T)).max() <= AFFINE * scale)
