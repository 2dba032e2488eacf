"""Local evidence that a graph gives of its own: the terms, place by place, that its answer is the sum of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import PackageError
from whyray.inference.model import Model
from whyray.inference.network_session import Run

TOLERANCE = 1e-3
"""Largest gap that is believed: what single precision loses in a sum of many terms, not what a missing term makes."""
_OF_THE_TERMS = 0.01
_LEAST = 0.1


@dataclass(frozen=True)
class LocalEvidence:
    """The terms of one image's answer.

    Attributes
    ----------
    maps
        (targets, *grid) float32, in units of the answer before activation.
    bias
        (targets,): what is added to their sums.
    gaps
        (targets,): how far bias + sum is from the answer of the same run, see `sum_gaps`.
    tensor
        Name of the graph's tensor.
    """

    maps: FloatArray
    bias: NDArray[np.float64]
    gaps: NDArray[np.float64]
    tensor: str


def local_evidence(model: Model, run: Run) -> LocalEvidence | None:
    """The terms of a run of one image; None where the package names none.

    Raises PackageError where the tensor is not (1, targets, *grid) with a grid that is no finer than the input's.
    """
    spec = model.manifest.evidence
    if spec is None or run.evidence is None:
        return None
    maps, spatial = run.evidence, model.spatial_shape
    grid = maps.shape[2:]
    if maps.shape[:2] != (1, len(model.targets)) or len(grid) != len(spatial) or np.any(np.less(spatial, grid)):
        raise PackageError(
            f"{model.identity}: evidence.output {spec.output!r} has shape {maps.shape}, expected (1, "
            f"{len(model.targets)}, {', '.join(f'1..{size}' for size in spatial)})",
            advice="Name the tensor (N, targets, *grid) that the answer is the sum of.",
        )
    bias = np.asarray(spec.biases(len(model.targets)), np.float64)
    return LocalEvidence(maps[0], bias, sum_gaps(maps[0], bias, run.logits[0]), spec.output)


def sum_gaps(maps: FloatArray, bias: NDArray[np.float64], logits: FloatArray) -> NDArray[np.float64]:
    """(targets,): |bias + sum - logit| as a share of what is summed up, |logit - bias|.

    Where terms cancel each other out, or all are near 0, as a share of 1 % of their absolute sum, or of 0.1: rounding
    would be taken for an error otherwise. NaN or infinity gives infinity.
    """
    flat, said = maps.reshape(len(maps), -1).astype(np.float64), logits.reshape(-1).astype(np.float64)
    size = np.maximum(np.abs(said - bias), np.maximum(_OF_THE_TERMS * np.abs(flat).sum(axis=1), _LEAST))
    gaps = np.abs(bias + flat.sum(axis=1) - said) / size
    return np.asarray(np.where(np.isfinite(gaps), gaps, np.inf))


def refuse_false_evidence(model: Model, images: Iterable[FloatArray]) -> float | None:
    """The largest gap over channels-first `images`, each (1, C, *spatial); None where the package names no evidence.

    Raises PackageError where a sum is not the answer: with the bias that would make it so, where one does.
    """
    spec = model.manifest.evidence
    if spec is None:
        return None
    worst, missing = 0.0, []
    for x in images:
        run = model.session.run(x)
        terms = local_evidence(model, run)
        assert terms is not None
        worst = max(worst, float(terms.gaps.max()))
        missing.append(run.logits[0].astype(np.float64) - terms.maps.reshape(len(terms.maps), -1).sum(1, np.float64))
    if worst > TOLERANCE:
        biases, spread = np.mean(missing, axis=0), float(np.ptp(missing, axis=0).max())
        constant = len(missing) > 1 and spread <= TOLERANCE * max(1.0, float(np.abs(biases).max()))
        fits = ", ".join(f"{bias:.6g}" for bias in biases)
        raise PackageError(
            f"{model.identity}: the answer is not evidence.bias plus the sum of {spec.output!r}: the sum is off by "
            f"{worst:.2%}",
            advice=f"Set evidence.bias to [{fits}]."
            if constant
            else "Name the tensor whose sum over the grid is the answer before activation, or leave evidence out.",
        )
    return worst
