"""What explanations by latent space say: where a case lies among the references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.explain.typed import TypedExplanation


@dataclass(frozen=True, kw_only=True)
class LatentPosition(TypedExplanation):
    """Where the case lies among the references, in the space of the model's embedding.

    Attributes
    ----------
    references
        (M, 2) float32: the references' places on the plane of the plot; `position` is this case's.
    known
        (M,) what is known of them about the target: 1, 0, or -1 for nothing.
    plane
        What the plane is, in words: 'PCA', 'UMAP'.
    axes
        Words for both axes, e.g. 'component 1 (41 % of the variance)'.
    percentile
        0..100: how far from the references it is, by the distance named in `distance_is`: the share of held-out
        references that are nearer. Above the 95th the model was hardly made for such a case.
    distances
        All distances by name, each with its percentile: {'Mahalanobis': (12.1, 88.0)}.
    trustworthiness
        Of the plane, at 10 neighbours (Venna and Kaski 2001), 0..1. Below 0.9 no plot is made.
    traversal
        (steps, *spatial) displayed, for packages with an autoencoder; None without.
    """

    references: FloatArray
    position: tuple[float, float]
    known: NDArray[np.int8]
    plane: str
    axes: tuple[str, str]
    percentile: float
    distance_is: str
    distances: Mapping[str, tuple[float, float]]
    trustworthiness: float
    traversal: FloatArray | None = None

    @property
    def drift_numbers(self) -> Mapping[str, float]:
        """How far from the references the images lie."""
        return {"ood-percentile": self.percentile}
