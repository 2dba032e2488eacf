"""Whether a network that nobody onboarded has learned anything, by its weights alone: learning makes filters alike.

Weights that were drawn, or shuffled, have rows that are no more correlated than chance has it; each layer that learned
has rows that are, or that avoid each other. It needs no image and no label, and tells a network that lost its weights
(a checkpoint that was not loaded, tensors in a wrong order) from one that did not, whatever its answers look like.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.errors import PackageError
from whyray.inference import Model
from whyray.packages import find_artefact, reads
from whyray.quality.card import Grade, Measurement
from whyray.quality.known_answers import KIND

NAME = "weights that learned nothing"
LEAST_WEIGHTS = 1 << 15
"""Weights of a layer from which on it can be told: smaller layers of networks that learned for minutes were not."""
CHANCE = 5.0
"""Standard deviations. Such layers of networks that learned lay 17 or more from chance, but for one of an autoencoder
(4), and shuffled ones within 4 (docs/trust.md)."""
MOST_RANDOM = 0.05
MOST_ROWS, MOST_COLUMNS = 256, 4096
"""Of larger layers so many are looked at, drawn by chance: a layer of 100 million weights takes as long as one of 1."""
_SOURCE = "after Martin, Peng and Mahoney 2021 (weights against the same, shuffled); statistic of Schott 2005"


def weights_that_learned(model: Model) -> list[Measurement]:
    """The share of weights that lie in layers which are as random as if they had been drawn or shuffled.

    Red above MOST_RANDOM, amber above 0. Nothing of a package with known answers, which tell more and
    cost less, and nothing where no layer is large enough to be told. No forward pass; made once for a loaded model.
    """
    measured: list[Measurement] = model.once((NAME, "measured"), lambda: _measured(model))
    return measured


def _measured(model: Model) -> list[Measurement]:
    try:
        if find_artefact(model, KIND) is not None:
            return []
    except PackageError:  # known answers of another graph: answers_as_known says so
        return []
    told = [(weights.size, apart) for weights in layers(model) if (apart := apart_from_chance(weights)) is not None]
    if not told:
        return []
    random = [size for size, apart in told if abs(apart) < CHANCE]
    share = sum(random) / sum(size for size, _ in told)
    grade = Grade.GREEN if share == 0 else Grade.AMBER if share <= MOST_RANDOM else Grade.RED
    rule = (
        f"share of weights in {len(random)} of {len(told)} layers of {LEAST_WEIGHTS} weights or more whose rows are no "
        f"more alike than if they were shuffled; green of none, red above {MOST_RANDOM:.0%}"
    )
    return [Measurement(NAME, "engine", share, 1.0, grade, rule, _SOURCE)]


def layers(model: Model) -> Iterator[NDArray[Any]]:
    """Weights of LEAST_WEIGHTS numbers or more that the explained output is computed from: what stands beside it in the
    graph, as another head, may be as random as it likes."""
    from onnx import TensorProto, numpy_helper

    graph = model.network.graph.proto.graph
    wanted, held = {model.network.logits_name}, {tensor.name: tensor for tensor in graph.initializer}
    tensors = []
    for node in reversed(graph.node):
        if not wanted & set(node.output):
            continue
        if node.op_type == "Constant":
            tensors += [attribute.t for attribute in node.attribute if attribute.name == "value"]
        wanted |= set(reads(node))
    for tensor in (*(held[name] for name in held if name in wanted), *tensors):
        if tensor.data_type == TensorProto.STRING:
            continue
        if len(tensor.dims) > 1 and np.prod(tensor.dims, dtype=np.int64) >= LEAST_WEIGHTS:
            yield numpy_helper.to_array(tensor)


def apart_from_chance(weights: NDArray[Any]) -> float | None:
    """How far the squared correlations of a layer's rows lie from what chance gives, in its standard deviations.

    `weights` (out, in, ...) of any type, or (in, out): the shorter side gives the rows. Of n numbers in k rows that are
    drawn or shuffled, the squares of all pairs' correlations sum to k(k-1) / 2(n-1) (Schott 2005, theorem 1), however
    the numbers are distributed and scaled by row. None where there are no two rows of eight numbers.
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
    count, n = centred.shape
    if count < 2 or n < 8:
        return None
    pairs = count * (count - 1) / 2
    squares = (float(((centred @ centred.T) ** 2).sum()) - count) / 2
    spread = np.sqrt(2 * pairs * (n - 2) / ((n - 1) ** 2 * (n + 1)))
    return float((squares - pairs / (n - 1)) / spread)
