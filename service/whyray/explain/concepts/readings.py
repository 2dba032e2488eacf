"""How well concepts are read, and columns that mean nothing to compare them with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whyray.base.arrays import DoubleArray, FloatArray
from whyray.base.statistics import auc, platt_scaling
from whyray.explain.concepts.bank import LEAST_AUC, LEAST_R2, Concept
from whyray.explain.concepts.linear import r_squared


def calibrated(concepts: Sequence[Concept], values: DoubleArray, read: DoubleArray) -> tuple[FloatArray, FloatArray]:
    """Platt's (a, b) of each presence from readings held out, (1, 0) for measures; and AUC or R², both (C, ...)."""
    scale, known = np.tile([1.0, 0.0], (len(concepts), 1)), np.zeros(len(concepts))
    for number, concept in enumerate(concepts):
        rows = np.isfinite(values[:, number]) & np.isfinite(read[:, number])
        truth, said = values[rows, number], read[rows, number]
        if concept.kind == "presence":
            scale[number], known[number] = platt_scaling(said, truth), auc(truth, said)
        else:
            known[number] = r_squared(truth, said)
    return scale.astype(np.float32), known.astype(np.float32)


def shown_value(concept: Concept, read: float, calibration: FloatArray) -> float:
    """A reading as people take it: a probability for what is there or not, the measure in its own unit else.

    `calibration` (2,): slope and offset of Platt's sigmoid, used for the former.
    """
    if concept.kind == "measure":
        return read
    a, b = calibration
    return float(0.5 * (1 + np.tanh(0.5 * (a * read + b))))


def well_known(concept: Concept, held_out: float) -> bool:
    """Whether the held-out figure of a concept is good enough to rely on it."""
    return held_out >= (LEAST_AUC if concept.kind == "presence" else LEAST_R2)


def permuted(column: DoubleArray, rng: np.random.Generator) -> DoubleArray:
    """(N,): the column with its known values dealt out at random among the places where it is known, not NaN."""
    shuffled = column.copy()
    known = np.isfinite(column)
    shuffled[known] = rng.permutation(column[known])
    return shuffled
