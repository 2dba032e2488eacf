"""Training patches: a random pose in a real series or a phantom, as another scanner would show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch import Tensor

from whyray.training.head_ct_data import AIR, SHAPE, SPACING, FloatArray, Series, grid_points, sample, windowed
from whyray.training.head_ct_labels import derive_labels
from whyray.training.head_ct_phantom import phantom

PATCH = (16, 64, 64)


@dataclass(frozen=True)
class Labelled:
    """A series with pixels halved, and its derived labels on the same voxels."""

    series: Series
    labels: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Head:
    """A phantom on the package's grid."""

    hu: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]


def labelled(series: Series) -> Labelled:
    """Halve the pixels and derive the labels."""
    halved = series.halved()
    return Labelled(halved, derive_labels(halved.hu, halved.pixel[0], halved.distance))


def random_head(random: np.random.Generator) -> Head:
    """A phantom turned by up to 25 degrees, a little off centre, at up to 15 % other spacing."""
    axes = _turned(random, 25.0)
    spacing = np.array(SPACING) * random.uniform(0.85, 1.15)
    hu, labels = phantom(grid_points(SHAPE, tuple(spacing), axes, random.uniform(-15, 15, 3)), random)
    return Head(hu, labels)


def patch_of_series(source: Labelled, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(1, *PATCH) in 0..1 and (*PATCH) labels, from a random place and orientation of a real series."""
    series = source.series
    axes = _turned(random, 20.0) @ series.axes
    spacing = np.array(SPACING) * random.uniform(0.85, 1.15)
    extent = np.array([len(series.hu) * series.distance, 180.0, 180.0]) / 2 * 0.8
    place = series.centre + random.uniform(-1, 1, 3) * extent @ series.axes
    indices = series.indices(grid_points(PATCH, tuple(spacing), axes, place))
    soft = _smoothed(series.hu, (0.0, *[random.uniform(0.0, 0.8)] * 2))
    hu = sample(soft, indices, 1, AIR)
    labels = sample(source.labels.astype(np.float32), indices, 0, 0.0)
    return _patch(hu, labels.astype(np.uint8), random)


def patch_of_head(head: Head, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The same from a phantom; the middle of the grid is drawn more often than its empty rim."""
    starts = [round(random.beta(2, 2) * (full - part)) for full, part in zip(SHAPE, PATCH, strict=True)]
    window = tuple(slice(start, start + part) for start, part in zip(starts, PATCH, strict=True))
    soft = _smoothed(head.hu[window], (random.uniform(0, 0.6), *[random.uniform(0.2, 0.8)] * 2))
    return _patch(soft, head.labels[window], random)


def _patch(
    hu: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8], random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Another scanner: scale and offset of HU, noise that is coarser than a voxel; a mirror now and then."""
    changed = hu * random.uniform(0.9, 1.1) + random.uniform(-25, 25)
    noise = random.normal(size=hu.shape).astype(np.float32)
    grain = random.uniform(0.0, 0.8)
    changed = changed + _smoothed(noise, (0.0, grain, grain)) * random.uniform(0, 45)
    image = windowed(changed.astype(np.float32))
    if random.random() < 0.5:
        image, labels = image[..., ::-1], labels[..., ::-1]
    return torch.from_numpy(image.copy())[None], torch.from_numpy(labels.astype(np.int64))


def _smoothed(volume: npt.NDArray[np.float32], sigma: tuple[float, ...]) -> npt.NDArray[np.float32]:
    return np.asarray(ndimage.gaussian_filter(volume, sigma, truncate=2.0))


def _turned(random: np.random.Generator, degrees: float) -> FloatArray:
    """Axes (towards the head, the back, the left) after turns of up to `degrees` about each."""
    return np.asarray(Rotation.from_euler("xyz", random.uniform(-degrees, degrees, 3), degrees=True).as_matrix())
