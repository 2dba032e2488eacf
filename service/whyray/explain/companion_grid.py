"""From one package's input to what a person sees, and from there to another package's input."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from whyray.base.arrays import FloatArray
from whyray.base.errors import ExplanationError
from whyray.inference import Model
from whyray.inference.display import as_input, displayed

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
    """(N, *shape): linear, pixel centres kept in place (as torch's interpolate without aligned corners)."""
    if pictures.shape[1:] == shape:
        return pictures
    found = pictures.astype(np.float32)
    for axis, (size, wanted) in enumerate(zip(pictures.shape[1:], shape, strict=True), start=1):
        if wanted < size:
            sigma = [0.0] * found.ndim
            sigma[axis] = 0.5 * (size / wanted - 1)
            found = ndimage.gaussian_filter(found, sigma, mode="nearest")
        places = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, size - 1)
        part = (places - low).astype(np.float32).reshape(-1, *[1] * (found.ndim - axis - 1))
        found = np.take(found, low, axis) * (1 - part) + np.take(found, high, axis) * part
    return np.ascontiguousarray(found, dtype=np.float32)
