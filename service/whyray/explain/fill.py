"""What is shown where something was taken away: the one choice that all perturbation and path methods share."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage

from whyray.base.arrays import FloatArray

Fill = Literal["zero", "mean", "blur"]
"""`zero`: 0 in the model's own scale, the papers' choice (a mean colour after their normalisation). `mean`: the image's
mean per channel. `blur`: the image under a Gaussian with a sigma of an eighth of each axis."""


def filled(x: FloatArray, fill: Fill) -> FloatArray:
    """An image of x's shape (1, C, *spatial) that shows nothing of it in particular."""
    if fill == "zero":
        return np.zeros_like(x)
    if fill == "mean":
        return np.broadcast_to(x.mean(axis=tuple(range(2, x.ndim)), keepdims=True), x.shape).astype(np.float32)
    sigma = [size / 8 for size in x.shape[2:]]
    return np.stack([ndimage.gaussian_filter(channel, sigma, truncate=2.0) for channel in x[0]])[None].astype(
        np.float32
    )
