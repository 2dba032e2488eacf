"""The plane that references are drawn on: exact principal components, or a UMAP layout fitted offline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.explain.latent.space import Space, unit

PLACED_BY = 10
FEWEST_FOR_UMAP = 30


@dataclass(frozen=True)
class Placing:
    """How a new case comes onto a layout that has no formula: the mean of its neighbours' places, by nearness.

    Attributes
    ----------
    vectors
        (n, D) of length 1, less the mean: those that the layout was fitted on.
    places
        (n, 2) of them.
    """

    vectors: FloatArray
    places: FloatArray

    def __call__(self, vectors: FloatArray) -> FloatArray:
        """(N, 2) for (N, D) of length 1."""
        return self._placed(vectors @ self.vectors.T)

    def error(self) -> float:
        """Median distance of what this gives for each fitted vector, without itself, from its place in the layout.

        In units of the layout's spread (root mean square distance from its centre): 1 would be no better than chance.
        """
        cosine = self.vectors @ self.vectors.T
        np.fill_diagonal(cosine, -np.inf)
        apart = np.linalg.norm(self._placed(cosine) - self.places, axis=1)
        spread = float(np.sqrt(((self.places - self.places.mean(axis=0)) ** 2).sum(axis=1).mean()))
        return float(np.median(apart)) / max(spread, 1e-12)

    def _placed(self, cosine: FloatArray) -> FloatArray:
        k = min(PLACED_BY, len(self.vectors) - 1)
        nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
        apart = np.sqrt(np.maximum(2 - 2 * np.take_along_axis(cosine, nearest, axis=1), 0))
        weights = 1 / (apart + 1e-6)
        weights /= weights.sum(axis=1, keepdims=True)
        return np.asarray((self.places[nearest] * weights[..., None]).sum(axis=1), np.float32)


def umap_layout(vectors: FloatArray, seed: int) -> FloatArray | None:
    """(n, 2) places of (n, D), by cosine (McInnes et al. 2018); None where umap-learn is not installed or n is small.

    Needed only while an index is made.
    """
    if len(vectors) < FEWEST_FOR_UMAP:
        return None
    try:
        import umap
    except ImportError:
        return None
    import warnings

    layout = umap.UMAP(n_neighbors=15, min_dist=0.0, metric="cosine", random_state=seed, n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(layout.fit_transform(vectors), np.float32)


def normed(space: Space, vectors: FloatArray) -> FloatArray:
    """(N, D) less the mean, of length 1: where cosines are taken."""
    return unit(space.centred(vectors))
