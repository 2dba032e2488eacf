"""Between what a person sees (a picture in 0..1) and what a graph takes: the manifest's mean and std, and channels."""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.packages import InputSpec


def displayed(x: FloatArray, spec: InputSpec) -> FloatArray:
    """(N, *spatial) in 0..1 from channels-first (N, C, *spatial): mean and std undone, channels averaged."""
    mean, std = per_channel(spec, x.ndim - 2)
    shown: FloatArray = np.clip((x * std + mean).mean(axis=1), 0, 1).astype(np.float32)
    return shown


def as_input(pictures: FloatArray, spec: InputSpec) -> FloatArray:
    """Channels-first (N, C, *spatial) from pictures (N, *spatial) in 0..1 on the same grid: the way back."""
    mean, std = per_channel(spec, pictures.ndim - 1)
    whole = np.repeat(pictures[:, None], spec.channels, axis=1)
    scaled: FloatArray = ((whole - mean) / std).astype(np.float32)
    return scaled


def per_channel(spec: InputSpec, spatial: int) -> tuple[FloatArray, FloatArray]:
    """Mean and std, each (1, channels or 1, 1, ...) for arrays (N, C, *spatial)."""

    def shaped(values: tuple[float, ...]) -> FloatArray:
        return np.asarray(values, np.float32).reshape(1, -1, *[1] * spatial)

    return shaped(spec.intensity.mean), shaped(spec.intensity.std)
