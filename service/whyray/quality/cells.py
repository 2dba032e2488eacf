"""Cutting an image into cells that are replaced together, and orders in which they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from whyray.base.arrays import BoolArray, FloatArray

CELLS = {2: 14, 3: 8}
"""Cells along each axis, by number of axes: about the grid of the feature maps of common backbones."""


@dataclass(frozen=True)
class Cells:
    """A regular grid of cells over an image; only cells that hold valid voxels count.

    Attributes
    ----------
    labels
        The spatial shape of the image: index of the cell of each voxel, -1 outside `valid`.
    sizes
        (cells,): valid voxels in each.
    """

    labels: NDArray[np.intp]
    sizes: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.sizes)

    def means(self, values: FloatArray) -> NDArray[np.float64]:
        """(cells,): the mean of `values` in each cell."""
        inside = self.labels >= 0
        return np.bincount(self.labels[inside], values[inside], len(self.sizes)) / self.sizes


def cut(shape: tuple[int, ...], valid: BoolArray | None) -> Cells:
    """Cells for an image of `shape`; `valid` False on padding, which belongs to no cell."""
    axes = [np.minimum(np.arange(size) * (n := min(CELLS[len(shape)], size)) // size, n - 1) for size in shape]
    counts = [int(axis[-1]) + 1 for axis in axes]
    raw = np.ravel_multi_index(np.ix_(*axes), counts)
    if valid is not None:
        raw = np.where(valid, raw, -1)
    used, compact = np.unique(raw, return_inverse=True)
    labels = compact.reshape(shape) - (1 if used[0] == -1 else 0)
    return Cells(labels, np.bincount(labels[labels >= 0], minlength=len(used) - int(used[0] == -1)))


def order_by(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices from the largest value to the smallest; ties in random order, so that a constant map is a random one."""
    shuffled = rng.permutation(len(values))
    return np.asarray(shuffled[np.argsort(-values[shuffled], kind="stable")])


def edge_map(x: FloatArray) -> FloatArray:
    """Gradient magnitude of an image (1, C, *spatial), summed over channels: a map that knows nothing of the model."""
    return np.asarray(
        sum(ndimage.gaussian_gradient_magnitude(channel, 1.0) for channel in x[0].astype(np.float64)), np.float32
    )


def replacement(x: FloatArray, valid: BoolArray | None) -> FloatArray:
    """What replaced cells show: the mean of the image over `valid`, per channel; padding stays as it is.

    A blur keeps large findings (an enlarged heart is still there), so that deleting them deletes nothing.
    """
    inside = np.ones(x.shape[2:], bool) if valid is None else valid
    means: FloatArray = x[0][:, inside].mean(axis=1).reshape(-1, *[1] * inside.ndim)
    replaced: FloatArray = np.where(inside, means, x[0])[None].astype(np.float32)
    return replaced
