"""From one package's input to what a person sees, and from there to another package's input."""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import ExplanationError
from whyray.inference import Model, as_input, displayed

__all__ = ["as_input", "displayed", "on_grid_of", "resampled"]


def on_grid_of(pictures: FloatArray, own: Model, other: Model, *, method: str) -> FloatArray:
    """Pictures (N, *spatial) on the input grid of `own`, linearly resampled to that of `other`; its spatial shape.

    Raises ExplanationError where the two grids don't show the same field of view.
    """
    ours, theirs = own.manifest.input, other.manifest.input
    same_view = (
        ours.kind == theirs.kind
        and ours.fit == theirs.fit
        and ours.intensity.source == theirs.intensity.source
        and len({round(a / b, 6) for a, b in zip(ours.shape, theirs.shape, strict=True)}) == 1
        and ours.kind == "planar"
    )
    if not same_view:
        raise ExplanationError(
            f"{method}: {other.identity} sees another field of view ({theirs.kind}, {theirs.fit}, {theirs.shape}) than "
            f"{own.identity} ({ours.kind}, {ours.fit}, {ours.shape})",
            advice="Take a companion with the same kind, fit, intensity source and aspect of shape.",
        )
    return resampled(pictures, theirs.shape)


def resampled(pictures: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """(N, *shape): linear, pixel centres kept in place, smoothed before it shrinks.

    To the bit what `skimage.transform.resize` gives (order 1, mode 'edge', anti_aliasing, preserve_range), without
    its import, which takes a quarter of a second.
    """
    if pictures.shape[1:] == shape:
        return pictures
    from scipy.ndimage import gaussian_filter, zoom

    images = pictures.astype(np.float32)
    factors = np.divide(images.shape, (len(images), *shape))
    smooth = gaussian_filter(images, np.maximum(0, (factors - 1) / 2), mode="nearest")
    resized = zoom(smooth, [1 / factor for factor in factors], order=1, mode="nearest", grid_mode=True)
    lowest, highest = images.min(), images.max()
    return np.ascontiguousarray(resized.clip(lowest, highest), dtype=np.float32)
