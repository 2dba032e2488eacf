"""From one package's input to what a person sees, and from there to another package's input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import DoubleArray, FloatArray
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
    images = pictures.astype(np.float32)
    factors = np.divide(images.shape[1:], shape)
    smooth = images
    if (factors > 1).any():
        from scipy.ndimage import gaussian_filter

        smooth = gaussian_filter(images, [0, *np.maximum(0, (factors - 1) / 2)], mode="nearest")
    places = [_between(before, after) for before, after in zip(images.shape[1:], shape, strict=True)]
    made = np.empty((len(images), *shape), np.float32)
    for image, resized in zip(smooth, made, strict=True):  # one after the other, which the cache holds
        total = np.zeros(shape)
        for corner in _corners(image, places):
            total += corner
        resized[...] = total
    return made.clip(images.min(), images.max())


def _corners(
    values: FloatArray | DoubleArray, places: Sequence[tuple[NDArray[np.intp], DoubleArray]], axis: int = 0
) -> Iterator[DoubleArray]:
    """What each of the samples around a place adds to it, in the order and precision of scipy's `zoom`."""
    if not places:
        yield np.asarray(values, np.float64)
        return
    (indices, weights), *further = places
    shape = [1] * values.ndim
    shape[axis] = indices.shape[1]
    for index, weight in zip(indices, weights, strict=True):
        yield from _corners(values.take(index, axis=axis) * weight.reshape(shape), further, axis + 1)


@lru_cache(maxsize=64)
def _between(before: int, after: int) -> tuple[NDArray[np.intp], DoubleArray]:
    """(2, after) indices and weights: the samples of an axis before and behind each new place; at its ends, the last.

    In numpy, since scipy's `zoom` takes images for a volume, of eight samples a pixel: six times as long.
    """
    places = (np.arange(after) + 0.5) * (before / after) - 0.5
    below = np.floor(places)
    first = 1 - (places - below)
    indices = below.astype(np.intp) + np.array([[0], [1]])
    samples = indices.clip(0, before - 1), np.stack([first, 1 - first])
    for kept in samples:
        kept.setflags(write=False)
    return samples
