"""Whether a network has learned anything, by its weights alone: learning makes filters alike.

Weights that were drawn, or shuffled, have rows that are no more correlated than chance has it; a layer that learned
has rows that are, or that avoid each other. It needs no image and no label, and tells a network that lost its weights
(a checkpoint that was not loaded, tensors in a wrong order) from one that did not, whatever its answers look like, and
whether or not somebody onboarded it so: known answers tell that a network is the one that was onboarded, not that it
had learned anything by then.
It can't tell a layer that lost what it learned from one that hardly moved from what was drawn.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.inference import Model
from whyray.quality.card import Grade, Measurement
from whyray.quality.weight_matrices import weight_matrices

NAME = "weights that learned nothing"
LEAST_WEIGHTS = 1 << 15
"""Weights of a layer from which on it can be told: smaller layers of networks that learned for minutes were not."""
NOT_TOLD = f"whether the weights learned anything can't be told: no layer has {LEAST_WEIGHTS:,} weights or more"
"""What is said where `learned_weights_entry` gives None."""
CHANCE = 5.0
"""Standard deviations. Layers of networks that learned in earnest lay 8 or more from chance, and shuffled ones within
5; of networks that learned for a hundred steps some, or all, lie within 3 (docs/trust.md)."""
SHUFFLES = 8
MOST_RANDOM = 0.5
"""Share of the weights. Some layers of a right network may be as they were drawn, frozen or hardly moved; one of which
most is so holds too little that it learned to be shown."""
MOST_ROWS, MOST_COLUMNS = 512, 4096
"""Of larger layers so many are looked at, drawn by chance: a layer of 100 million weights takes as long as one of 1."""
_SOURCE = "after Martin, Peng and Mahoney 2021 (against the same, shuffled); laws of Schott 2005 and Johnstone 2001"


def weights_that_learned(model: Model) -> list[Measurement]:
    """The share of weights that lie in layers which are as random as if they had been drawn or shuffled.

    Red above MOST_RANDOM, amber above 0. Nothing where no layer is large enough to be told. No forward pass; made once
    for a loaded model.
    """
    measured: list[Measurement] = model.once((NAME, "measured"), lambda: _measured(model))
    return measured


def learned_weights_entry(model: Model) -> dict[str, Any] | None:
    """The same as onboarding reports keep it: `share`, `grade` and `rule`; None where no layer can be told."""
    for measured in weights_that_learned(model):
        return {"share": round(measured.value, 4), "grade": measured.grade.value, "rule": measured.rule}
    return None


def _measured(model: Model) -> list[Measurement]:
    matrices = weight_matrices(model.network.graph.proto.graph, model.network.logits_name, LEAST_WEIGHTS)
    judged = [(weights.size, apart) for weights in matrices if (apart := apart_from_chance(weights)) is not None]
    if not judged:
        return []
    random = [size for size, apart in judged if abs(apart) < CHANCE]
    share = sum(random) / sum(size for size, _ in judged)
    grade = Grade.GREEN if share == 0 else Grade.AMBER if share <= MOST_RANDOM else Grade.RED
    rule = (
        f"share of weights in {len(random)} of {len(judged)} layers of {LEAST_WEIGHTS} weights or more whose rows are "
        f"no more alike than if they were shuffled; green of none, red above {MOST_RANDOM:.0%}"
    )
    return [Measurement(NAME, "engine", share, 1.0, grade, rule, _SOURCE)]


def apart_from_chance(weights: NDArray[Any]) -> float | None:
    """How far a matrix of weights lies from what chance gives, in standard deviations of chance.

    `weights` (out, in, ...) of any type, or (in, out): the shorter side gives the rows. By the squared correlations of
    its rows or, where these are as chance has them, by their largest common part. None where there are no two rows of
    eight numbers; rows with a number that is not finite are left out.
    """
    rows = weights.reshape(weights.shape[0], -1)
    rows = rows.T if rows.shape[0] > rows.shape[1] else rows
    rng = np.random.default_rng(0)
    for axis, most in enumerate((MOST_ROWS, MOST_COLUMNS)):
        if rows.shape[axis] > most:
            rows = rows.take(np.sort(rng.choice(rows.shape[axis], most, replace=False)), axis)
    centred = rows.astype(np.float64)
    centred -= centred.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1)
    centred = centred[length > 0] / length[length > 0, None]
    if centred.shape[0] < 2 or centred.shape[1] < 8:
        return None
    alike = _alike(centred)
    return alike if abs(alike) >= CHANCE else max(alike, _in_common(centred, rng), key=abs)


def _alike(rows: NDArray[np.float64]) -> float:
    """By the sum of squared correlations of all pairs of rows (k, n), each of mean 0 and length 1.

    Of rows that are drawn or shuffled it is k(k-1) / 2(n-1) (Schott 2005, theorem 1), however the numbers are
    distributed and scaled by row.
    """
    count, n = rows.shape
    pairs = count * (count - 1) / 2
    squares = (float(((rows @ rows.T) ** 2).sum()) - count) / 2
    spread = np.sqrt(2 * pairs * (n - 2) / ((n - 1) ** 2 * (n + 1)))
    return float((squares - pairs / (n - 1)) / spread)


def _in_common(rows: NDArray[np.float64], rng: np.random.Generator) -> float:
    """By the largest eigenvalue of the rows' correlations beside that of the same rows, shuffled each for itself.

    What a layer learned in few steps is one direction, or a few, that all rows share: it raises this one long before
    it raises the sum over all pairs.
    """
    largest = _largest(rows)
    if (apart := _beyond_edge(largest, *rows.shape)) < CHANCE:
        return apart
    # rows with a few large numbers have such eigenvalues by chance too: only the same numbers, shuffled, tell
    drawn = np.array([_largest(rng.permuted(rows, axis=1)) for _ in range(SHUFFLES)])
    return min(apart, float((largest - drawn.mean()) / max(float(drawn.std(ddof=1)), 1e-12)))


def _largest(rows: NDArray[np.float64]) -> float:
    return float(np.linalg.eigvalsh(rows @ rows.T)[-1])


def _beyond_edge(largest: float, count: int, n: int) -> float:
    """Of the correlations of `count` normal rows of n numbers (Johnstone 2001, theorem 1.1): Tracy and Widom's law of
    order 1, of mean -1.21 and standard deviation 1.27."""
    free, size = sqrt(n - 2), sqrt(count)
    centre, spread = (free + size) ** 2, (free + size) * (1 / free + 1 / size) ** (1 / 3)
    return float((((n - 1) * largest - centre) / spread + 1.21) / 1.27)
