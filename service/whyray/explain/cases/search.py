"""Exact search for the references that a model sees as most like a case: plain numpy, no index to be tuned or to fail.

A search of 100,000 references with 1000 dimensions is one product of a matrix and a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.explain.latent import ReferenceIndex, head_on_embedding
from whyray.explain.latent.space import unit
from whyray.inference import Model

Metric = Literal["cosine", "euclidean"]
Weighting = Literal["contribution", "none"]
SAME = 1e-5
"""A reference whose embedding differs by less than this share of its length is the case itself."""


@dataclass(frozen=True)
class Search:
    """How alike cases are for one target.

    Attributes
    ----------
    index
        What is searched.
    weights
        (D,) by which each dimension, less its mean, is multiplied: the head's weights of the target, or None for equal
        ones.
    metric
        'cosine': similarity in -1..1; 'euclidean': the negative distance.
    """

    index: ReferenceIndex
    weights: FloatArray | None
    metric: Metric

    @property
    def unit(self) -> str:
        """What one unit of similarity is."""
        what = "embeddings" if self.weights is None else "contributions to the logit"
        return f"cosine of {what}" if self.metric == "cosine" else f"negative distance of {what}"

    def prepared(self, vectors: FloatArray) -> FloatArray:
        """(N, D) embeddings as they are compared."""
        centred = self.index.space.centred(vectors)
        if self.weights is not None:
            centred = np.asarray(centred * self.weights, np.float32)
        return unit(centred) if self.metric == "cosine" else centred

    def similarities(self, prepared: FloatArray, others: FloatArray) -> FloatArray:
        """(N, M) of prepared vectors."""
        products = prepared @ others.T
        if self.metric == "cosine":
            return np.asarray(np.clip(products, -1, 1), np.float32)
        squared = (prepared**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None] - 2 * products
        return np.asarray(-np.sqrt(np.maximum(squared, 0)), np.float32)

    def of(self, vector: FloatArray) -> FloatArray:
        """(N,) similarity of each reference to a case (D,)."""
        references = self.prepared(self.index.embeddings)
        similarities: FloatArray = self.similarities(self.prepared(vector[None]), references)[0]
        return similarities

    def itself(self, vector: FloatArray) -> NDArray[np.bool_]:
        """(N,): references that are this very case."""
        apart = np.linalg.norm(self.index.embeddings - vector, axis=1)
        return np.asarray(apart <= SAME * max(float(np.linalg.norm(vector)), 1e-12))


def search_for(index: ReferenceIndex, model: Model, target: int, *, metric: Metric, weighting: Weighting) -> Search:
    """The search for one target; without contribution weights where the head is not affine in the embedding."""
    weights = None
    if weighting == "contribution":
        head = head_on_embedding(model)
        if head is not None and head.weight.shape[1] == index.embeddings.shape[1] and head.weight[target].any():
            weights = head.weight[target]
    return Search(index, weights, metric)


def nearest(similarities: FloatArray, allowed: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    """Numbers of the `count` most similar among the allowed, the most similar first, ties by number; all if fewer.

    `similarities` and `allowed` (N,).
    """
    among = np.flatnonzero(allowed)
    return among[np.argsort(-similarities[among], kind="stable")[:count]]


def neighbours_of_all(search: Search, count: int, *, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """(n, count): nearest other references of the references `rows` (all of them by default)."""
    prepared = search.prepared(search.index.embeddings)
    picked = np.arange(len(prepared)) if rows is None else rows
    similarities = search.similarities(prepared[picked], prepared)
    similarities[np.arange(len(picked)), picked] = -np.inf
    return np.argsort(-similarities, axis=1, kind="stable")[:, :count]
