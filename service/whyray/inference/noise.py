"""Random images that are smooth, to try a network on before a real one comes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whyray.base.arrays import FloatArray


def smooth_noise(shape: Sequence[int], scale: float, seed: int = 0) -> FloatArray:
    """(1, *shape): random, but smooth along the last two axes, as images are: white noise drives trained nets where no
    image does. Its standard deviation is `scale`."""
    x = np.random.default_rng(seed).normal(size=(1, *shape))
    x = np.cumsum(np.cumsum(x, axis=-1), axis=-2)
    return np.asarray(scale * x / x.std(), np.float32)
