"""Planted outliers: images that a model was surely not made for, to see whether a distance tells them apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.explain.companion_grid import as_input, displayed, resampled
from whyray.inference import Model

_TILES = 4


def planted(model: Model, images: FloatArray, seed: int) -> dict[str, FloatArray]:
    """By kind: (N, C, *spatial) made of channels-first images of the same shape.

    Kinds: inverted grey values, rotated by 90 degrees, upside down, tiles of the image in another order, noise.
    """
    spec = model.manifest.input
    rng = np.random.default_rng(seed)
    shown = displayed(images, spec)
    kinds: dict[str, Callable[[FloatArray], FloatArray]] = {
        "inverted": lambda picture: 1 - picture,
        "rotated": lambda picture: resampled(np.rot90(picture, axes=(-2, -1))[None], picture.shape)[0],
        "upside down": lambda picture: picture[..., ::-1, :],
        "tiles shuffled": lambda picture: _shuffled(picture, rng),
        "noise": lambda picture: rng.random(picture.shape, np.float32),
    }
    return {
        name: as_input(np.stack([np.ascontiguousarray(change(picture)) for picture in shown]).astype(np.float32), spec)
        for name, change in kinds.items()
    }


def _shuffled(picture: FloatArray, rng: np.random.Generator) -> FloatArray:
    rows, columns = (size // _TILES for size in picture.shape[-2:])
    shuffled = picture.copy()
    order = rng.permutation(_TILES**2)
    for place, source in enumerate(order):
        (to_row, to_column), (row, column) = divmod(place, _TILES), divmod(int(source), _TILES)
        shuffled[..., to_row * rows : (to_row + 1) * rows, to_column * columns : (to_column + 1) * columns] = picture[
            ..., row * rows : (row + 1) * rows, column * columns : (column + 1) * columns
        ]
    return shuffled
