"""A linear stand-in for a network's head that answers from concepts alone, and how far it agrees with the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import DoubleArray, FloatArray
from whyray.explain.concepts.bank import Concept, Surrogate
from whyray.explain.concepts.linear import Reading, correlation, resampled, ridge
from whyray.explain.concepts.readings import calibrated, permuted

Progress = Callable[[int, int, str], None]
RANDOM_BANKS, RESAMPLES = 5, 100


def fit_surrogate(
    tensor: str,
    embedding: FloatArray,
    logits: FloatArray,
    *,
    concepts: Sequence[Concept],
    values: DoubleArray,
    goals: DoubleArray,
    targets: Sequence[str],
    groups: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    rng: np.random.Generator,
    progress: Progress,
) -> Surrogate:
    """Fit it on all images, measure it on folds whose images had no part in readings nor weights.

    A concept that has a target's own name has no part in that target's answer: it would explain it by itself.

    Parameters
    ----------
    embedding, logits
        (N, E) and (N, T), of the network.
    values, goals
        (N, C): what is known of the concepts, NaN where nothing is, and what readings are fitted to.
    groups, fold_of
        (N,): images of one patient have one group, are resampled together, and lie in one fold.
    """
    allowed = np.array([[concept.name != target for concept in concepts] for target in targets])
    reading = ridge(embedding, goals)
    said = reading(embedding)
    mean, spread = said.mean(axis=0), np.maximum(said.std(axis=0), 1e-9)
    head = _head((said - mean) / spread, logits, allowed)
    read = np.full(values.shape, np.nan)
    answered = _answered(embedding, logits, goals, allowed, fold_of, read)
    calibration, known = calibrated(concepts, values, read)
    random = []
    for number in range(RANDOM_BANKS):
        progress(number, RANDOM_BANKS, "random concepts, to compare with")
        shuffled = np.stack([permuted(column, rng) for column in goals.T], axis=1)
        other = _answered(embedding, logits, shuffled, allowed, fold_of)
        random.append([correlation(*pair) for pair in zip(other.T, logits.T, strict=True)])
    weights = []
    for number in range(RESAMPLES):
        progress(number, RESAMPLES, "resampling the surrogate")
        rows = resampled(groups, rng)
        weights.append(_head((said[rows] - mean) / spread, logits[rows], allowed, head.penalties).weights)
    arrays = {
        "readings": reading.weights,
        "offsets": reading.offsets,
        "mean": mean,
        "spread": spread,
        "calibration": calibration,
        "held_out": known,
        "weights": head.weights,
        "biases": head.offsets,
        "resampled": np.stack(weights),
        "agreement": [correlation(*pair) for pair in zip(answered.T, logits.T, strict=True)],
        "random_agreement": np.mean(random, axis=0),
        "random_spread": np.std(random, axis=0),
        "logit_spread": logits.std(axis=0),
    }
    return Surrogate(tensor=tensor, **{name: np.asarray(value, np.float32) for name, value in arrays.items()})


def _head(
    readings: DoubleArray, logits: FloatArray, allowed: NDArray[np.bool_], penalties: DoubleArray | None = None
) -> Reading:
    """Ridge regression of each target's logit on the readings that it may use; weight 0 on the others."""
    targets, count = allowed.shape
    weights, offsets, used = np.zeros((targets, count)), np.zeros(targets), np.zeros(targets)
    patterns, group = np.unique(allowed, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        members = np.flatnonzero(group.reshape(-1) == number)
        fixed = None if penalties is None else penalties[members]
        reading = ridge(readings[:, pattern], logits[:, members].astype(np.float64), fixed)
        weights[np.ix_(members, np.flatnonzero(pattern))] = reading.weights
        offsets[members], used[members] = reading.offsets, reading.penalties
    return Reading(weights, offsets, used)


def _answered(
    embedding: FloatArray,
    logits: FloatArray,
    goals: DoubleArray,
    allowed: NDArray[np.bool_],
    fold_of: NDArray[np.int64],
    read: DoubleArray | None = None,
) -> DoubleArray:
    """(N, T): the surrogate's logits on images held out; `read` (N, C) receives the readings held out."""
    predicted = np.zeros(logits.shape)
    for fold in np.unique(fold_of):
        rest, here = fold_of != fold, fold_of == fold
        reading = ridge(embedding[rest], goals[rest])
        inside, outside = reading(embedding[rest]), reading(embedding[here])
        mean, spread = inside.mean(axis=0), np.maximum(inside.std(axis=0), 1e-9)
        predicted[here] = _head((inside - mean) / spread, logits[rest], allowed)((outside - mean) / spread)
        if read is not None:
            read[here] = outside
    return predicted
