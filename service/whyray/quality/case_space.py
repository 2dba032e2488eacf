"""How far a case lies from the images that a package was onboarded on: a package knows what it was tried on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.explain import Case
from whyray.inference import Model, Run
from whyray.quality.card import Grade, Measurement

FEWEST = 10
"""With fewer onboarding images their distances say nothing."""
SHARE = 0.95
NEIGHBOURS = 5
"""Nearest references of a case whose answers are compared with its own."""
_PERMUTATIONS = 200


def embedding(run: Run) -> FloatArray | None:
    """(D,) of length 1: the package's embedding of one image's run, else its pooled features; None without either."""
    if run.embedding is not None:
        vector = run.embedding[0]
    elif run.features is not None:
        vector = run.features[0].reshape(run.features.shape[1], -1).mean(axis=1)
    else:
        return None
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length > 0 else vector, np.float32)


def measured_space(model: Model, images: Sequence[FloatArray]) -> tuple[FloatArray, dict[str, Any]] | None:
    """Embeddings (M, D) of onboarding images (in layout), and what the report says of them; None without embeddings."""
    embeddings = [embedding(model.session.run(model.network.checked_input(image))) for image in images]
    if len(embeddings) < FEWEST or any(vector is None for vector in embeddings):
        return None
    vectors = np.stack([vector for vector in embeddings if vector is not None])
    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    usual = float(np.quantile(apart.min(axis=1), SHARE))
    return vectors, {"images": len(vectors), "dimensions": vectors.shape[1], "distance within which 95 % lie": usual}


def correlation(predicted: FloatArray, own: FloatArray, rng: np.random.Generator) -> dict[str, float]:
    """Pearson's r (`r`, -1..1) of two (N,) arrays, and the 95th percentile of it when the pairs are mixed (`chance`).

    Both are 0 where fewer than three pairs, or one array without any spread, say nothing.
    """
    if len(own) < 3 or predicted.std() == 0 or own.std() == 0:
        return {"r": 0.0, "chance": 0.0}
    by_chance = [np.corrcoef(predicted, rng.permutation(own))[0, 1] for _ in range(_PERMUTATIONS)]
    return {"r": float(np.corrcoef(predicted, own)[0, 1]), "chance": float(np.quantile(by_chance, 0.95))}


def case_distance(case: Case) -> list[Measurement]:
    """The distance of the case to the nearest onboarding image; nothing where the report has none. No forward pass."""
    report = case.model.report()
    space = None if report is None else report.get("case space")
    own = embedding(case.run)
    path = case.model.package.embeddings
    if not space or own is None or not path.is_file():
        return []
    known = _known(path, path.stat().st_mtime_ns)
    if known.shape[1:] != own.shape:
        return []
    nearest = float(np.linalg.norm(known - own, axis=1).min())
    usual = float(space["distance within which 95 % lie"])
    return [
        Measurement(
            "distance from onboarding images",
            "case",
            nearest,
            usual,
            Grade.GREEN if nearest <= usual else Grade.AMBER,
            f"of embeddings of length 1, to the nearest of {len(known)}; green within what {SHARE:.0%} of those have",
            "Sun et al. 2022, section 3, with k = 1; threshold WhyRay's",
        )
    ]


@lru_cache(maxsize=8)
def _known(path: Path, changed: int) -> FloatArray:  # noqa: ARG001 - another time of change, another file
    return np.asarray(np.load(path, allow_pickle=False), np.float32)
