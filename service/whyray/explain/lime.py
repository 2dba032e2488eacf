"""LIME for images and volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from whyray.explain.case import Attribution, Case
from whyray.explain.fill import Fill, filled
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.repeat import top_dice
from whyray.explain.segments import coalition_scores, superpixels
from whyray.explain.types import Tier

_ROUNDING = 1e-12
"""Of the mean answer: answers come in single precision, so that smaller departures from it are the mean's own."""


class LimeParameters(MethodParameters):
    """Defaults of the authors' lime package for images: 1,000 samples, kernel width 0.25, ridge of strength 1."""

    samples: int = Field(default=1000, ge=10)
    segments: int = Field(default=50, ge=2)
    compactness: float = Field(default=0.1, gt=0)
    kernel_width: float = Field(default=0.25, gt=0)
    ridge: float = Field(default=1.0, ge=0)
    fill: Fill = "mean"
    seed: int = 0


@register
class Lime(AttributionMap):
    """Local interpretable model-agnostic explanations (Ribeiro et al. 2016, eq. 1 and section 3.4) over SLIC segments.

    A ridge regression of the score on which segments are shown. Samples are weighed by exp(-d^2 / (2 width^2)) with d
    the cosine distance to the whole image: the square root of the paper's kernel, as the authors' package has it. Each
    place gets its segment's coefficient; `fit` is the weighted R^2, left out where all answers are the same.
    """

    name: ClassVar[str] = "lime"
    title: ClassVar[str] = "LIME"
    tier: ClassVar[Tier] = "T0"
    signed: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True
    Parameters: ClassVar[type[MethodParameters]] = LimeParameters

    def cost(self, parameters: Any) -> int:
        """One a sample."""
        return int(parameters.samples)

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; one forward pass a sample, shared by all targets."""
        assert isinstance(parameters, LimeParameters)
        p = parameters
        labels = superpixels(case.x, p.segments, p.compactness)
        shown = np.random.default_rng(p.seed).random((p.samples, int(labels.max()) + 1)) < 0.5
        shown[0] = True
        scores = coalition_scores(case, labels, shown, filled(case.x, p.fill))
        weights = _kernel(shown, p.kernel_width)

        def fitted(part: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            return weighted_ridge(shown[part].astype(np.float64), scores[part], weights[part], p.ridge)

        coefficients, fit = fitted(slice(None))
        first, second = (fitted(slice(start, None, 2))[0] for start in range(2))
        return [
            Attribution(
                effects[labels].astype(np.float32),
                evidence={
                    **({} if np.isnan(quality) else {"fit": float(quality)}),
                    "split_half_dice": top_dice(first_half[labels], second_half[labels]),
                },
            )
            for effects, quality, first_half, second_half in zip(coefficients, fit, first, second, strict=True)
        ]


def weighted_ridge(
    design: NDArray[np.float64], answers: NDArray[np.float64], weights: NDArray[np.float64], strength: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(targets, features) coefficients with a free intercept, and (targets,) R^2, of `answers` (n, targets).

    R^2 is NaN where answers do not vary, so that there is nothing to explain.
    """
    share = weights / weights.sum()
    centred = design - share @ design
    mean = share @ answers
    aim = answers - mean
    aim[:, np.abs(aim).max(axis=0) <= _ROUNDING * np.abs(mean)] = 0  # else rounding is explained, and looks like a map
    gram = (centred * weights[:, None]).T @ centred + strength * np.eye(design.shape[1])
    coefficients = np.linalg.lstsq(gram, (centred * weights[:, None]).T @ aim, rcond=None)[0]
    explained: NDArray[np.float64] = np.asarray(coefficients.T, np.float64)
    residual = share @ (aim - centred @ coefficients) ** 2
    variance = share @ aim**2
    return explained, np.asarray(1 - residual / np.where(variance > 0, variance, np.nan), np.float64)


def _kernel(shown: NDArray[np.bool_], width: float) -> NDArray[np.float64]:
    cosine = np.sqrt(shown.mean(axis=1))  # of a 0/1 vector with the vector of ones
    return np.asarray(np.exp(-((1 - cosine) ** 2) / width**2) ** 0.5, np.float64)
