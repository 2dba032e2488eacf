"""Maps that say nothing of what a model saw in an image: each in 0..1, in the shape of the image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

Map = np.ndarray


def _scaled(values: Map) -> Map:
    low, high = float(values.min()), float(values.max())
    return ((values - low) / max(high - low, 1e-12)).astype(np.float32)


def smooth_random(picture: Map, rng: np.random.Generator) -> Map:
    return _scaled(ndimage.gaussian_filter(rng.standard_normal(picture.shape), min(picture.shape) / 14))


def corner_blob(picture: Map, rng: np.random.Generator) -> Map:
    made = np.zeros(picture.shape)
    rows, columns = picture.shape
    made[int(rng.integers(2)) * (rows - 1), int(rng.integers(2)) * (columns - 1)] = 1
    return _scaled(ndimage.gaussian_filter(made, min(picture.shape) / 8))


def edge_map(picture: Map, rng: np.random.Generator) -> Map:
    return _scaled(ndimage.gaussian_gradient_magnitude(picture, 1.0))


def radial_centre(picture: Map, rng: np.random.Generator) -> Map:
    rows, columns = picture.shape
    y, x = np.mgrid[:rows, :columns]
    return _scaled(np.exp(-(((y - rows / 2) / (rows / 4)) ** 2 + ((x - columns / 2) / (columns / 4)) ** 2)))


BAD_MAPS: dict[str, Callable[[Map, np.random.Generator], Map]] = {
    "smooth random": smooth_random,
    "corner blob": corner_blob,
    "edge map": edge_map,
    "radial centre": radial_centre,
}
"""By name; the map of another patient is made where maps of patients are at hand."""
