"""Latent traversal: the way from the middle of the references through this case, drawn by the package's autoencoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import WhyRayError
from whyray.explain.case import Case
from whyray.explain.companion_grid import as_input
from whyray.explain.counterfactual import LatentSpace
from whyray.explain.latent.reference_index import ReferenceIndex

REACH = 1.5
"""How far the way goes on beyond the case, as a multiple of the way to it."""
FAITHFUL = 0.1
"""The answer about the case as the autoencoder gives it back may differ by so much; else nothing is drawn."""


@dataclass(frozen=True)
class Traversal:
    """`frames` (steps, *spatial) in 0..1, or None; `evidence` says what kept them from being drawn, or how good they
    are: 'autoencoder gap' is the largest difference of an explained answer about the case as it comes back.
    """

    frames: FloatArray | None
    evidence: dict[str, float]


NOTHING = Traversal(None, {})


def traversal(case: Case, index: ReferenceIndex, steps: int, method: str) -> Traversal:
    """The way at equal steps, from 0 to 1.5 times the way from the references' middle to the case.

    Nothing for packages without an autoencoder, and for an index made without it or with another one.
    """
    if index.code_mean is None or steps < 2:
        return NOTHING
    try:
        space = LatentSpace(case.model, method=method)
    except WhyRayError:
        return NOTHING
    if space.identity != index.details.get("autoencoder"):
        return NOTHING
    code = space.encode(case.display[None])
    again = as_input(space.decode(code), case.model.manifest.input)
    before = case.model.answer(case.run.logits)[0]
    after = case.model.answer(case.model.session.logits(again))[0]
    targets = list(case.targets)
    gap = float(np.abs(after[targets] - before[targets]).max())
    if gap > FAITHFUL:
        return Traversal(None, {"autoencoder gap": gap})
    shares = np.linspace(0, REACH, steps, dtype=np.float32)[:, None]
    frames = space.decode(index.code_mean[None] + shares * (code - index.code_mean[None]))
    return Traversal(frames, {"autoencoder gap": gap, "traversal reaches": REACH})
