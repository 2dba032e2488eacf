"""Latent traversal: the way from the middle of the references through this case, drawn by the package's autoencoder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whyray.explain.case import Case
from whyray.explain.latent.reference_index import ReferenceIndex

FloatArray = NDArray[np.float32]


def traversal(case: Case, index: ReferenceIndex, steps: int) -> FloatArray | None:  # noqa: ARG001
    """(steps, *spatial) in 0..1; None for packages without an autoencoder."""
    return None
