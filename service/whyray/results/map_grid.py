"""Where a heatmap lies on the grid on which its method made it: planes, spacing and the source frames below.

A map is kept on its own grid: interpolated to the pixels of a radiograph it would be some twenty times as large and say
nothing more. Position, orientation and spacing (PS3.3 C.7.6.16.2.1, .3 and .4) say where it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from highdicom import PixelMeasuresSequence
from numpy.typing import NDArray
from pydicom.valuerep import format_number_as_ds

from whyray.base.arrays import FloatArray
from whyray.imaging import ModelGrid, SourceImage
from whyray.results.answer import MapInSource
from whyray.results.multi_frame import Plane

_ALONG = 1e-6
"""A cosine below this counts as a right angle."""


@dataclass(frozen=True)
class PlacedMap:
    """A heatmap as frames of a Parametric Map.

    Attributes
    ----------
    values
        (frames, rows, columns) float32.
    planes
        Of each frame; position and orientation are those of the patient, or of the `own` plane of an image without.
    measures
        Pixel spacing, and for volumes slice thickness and distance, in mm.
    sources
        Of each frame, indices of the source frames that it lies on.
    """

    values: FloatArray
    planes: tuple[Plane, ...]
    measures: PixelMeasuresSequence
    sources: tuple[tuple[int, ...], ...]


def placed_map(image: SourceImage, heatmap: MapInSource, own: Plane) -> PlacedMap | None:
    """The map on its own grid; None where it has none, or one that planes with right angles can't describe.

    `own` is the plane of an image without position; its spacing is the source's, in pixels of the source without one.
    """
    if heatmap.on_grid is None or heatmap.grid is None:
        return None
    grid = heatmap.grid
    if image.kind == "planar":
        return _planar(image, heatmap.on_grid, grid, own)
    return _volume(image, heatmap.on_grid, grid)


def _planar(image: SourceImage, values: FloatArray, grid: ModelGrid, own: Plane) -> PlacedMap | None:
    matrix, frame = grid.to_reference, image.frames[0]
    scale, offset = matrix[[0, 1], [0, 1]], matrix[:2, 2]
    if matrix[0, 1] or matrix[1, 0] or (scale <= 0).any() or len(values) != len(image.frames):
        return None
    rows, columns = (_inside(scale[axis], offset[axis], grid.shape[axis], frame.shape[axis]) for axis in (0, 1))
    first = np.array([offset[0] + scale[0] * rows.start, offset[1] + scale[1] * columns.start])
    spacing = scale * np.array(frame.pixel_shape)
    planes = []
    for one in image.frames:
        if one.to_patient is None:
            down_and_across = np.array(own.orientation, float).reshape(2, 3)
            along = first * np.array(one.pixel_shape)
            position = np.array(own.position, float) + along[1] * down_and_across[0] + along[0] * down_and_across[1]
            planes.append(Plane(_decimals(position), own.orientation))
        else:
            position = (one.to_patient @ np.array([first[1], first[0], 0.0, 1.0]))[:3]
            axes = one.to_patient[:3, :2] / np.linalg.norm(one.to_patient[:3, :2], axis=0)
            planes.append(Plane(_decimals(position), _decimals(axes.T.ravel())))
    # readers that know images with a spacing as slices only want a thickness: as deep as a pixel is wide
    measures = PixelMeasuresSequence(_decimals(spacing), slice_thickness=_decimals(spacing)[0])
    shown = np.ascontiguousarray(values[:, rows, columns])
    return PlacedMap(shown, tuple(planes), measures, tuple((index,) for index in range(len(values))))


def _volume(image: SourceImage, values: FloatArray, grid: ModelGrid) -> PlacedMap | None:
    vectors = grid.to_reference[:3, :3]
    lengths = np.linalg.norm(vectors, axis=0)
    directions = vectors / lengths
    if np.abs(directions.T @ directions - np.eye(3)).max() > _ALONG:
        return None
    heights = [
        float(directions[:, 0] @ frame.to_patient[:3, 3]) for frame in image.frames if frame.to_patient is not None
    ]
    start = float(directions[:, 0] @ grid.to_reference[:3, 3])
    reach = lengths[0] / 2
    planes, sources, kept = [], [], []
    for index in range(grid.shape[0]):
        height = start + index * lengths[0]
        below = [place for place, at in enumerate(heights) if abs(at - height) <= reach]
        nearest = int(np.argmin(np.abs(np.array(heights) - height)))
        if not below and abs(heights[nearest] - height) > _between(heights):
            continue  # beyond the source: the model saw padding
        position = (grid.to_reference @ np.array([index, 0.0, 0.0, 1.0]))[:3]
        planes.append(Plane(_decimals(position), _decimals([*directions[:, 2], *directions[:, 1]])))
        sources.append(tuple(below) or (nearest,))
        kept.append(index)
    if not kept:
        return None
    measures = PixelMeasuresSequence(
        _decimals(lengths[1:]),
        slice_thickness=_decimals(lengths[:1])[0],
        spacing_between_slices=_decimals(lengths[:1])[0],
    )
    return PlacedMap(np.ascontiguousarray(values[kept]), tuple(planes), measures, tuple(sources))


def _inside(scale: float, offset: float, count: int, size: int) -> slice:
    """The cells of a grid's axis whose centres lie in the frame, which letterboxed grids reach beyond."""
    centres = offset + scale * np.arange(count)
    within = np.flatnonzero((centres > -0.5 - 1e-9) & (centres < size - 0.5 + 1e-9))
    return slice(int(within[0]), int(within[-1]) + 1) if len(within) else slice(0, count)


def _between(heights: list[float]) -> float:
    """The largest distance between neighbouring slices in mm."""
    return float(np.abs(np.diff(np.sort(heights))).max(initial=0.0))


def _decimals(numbers: NDArray[np.float64] | list[float]) -> tuple[str, ...]:
    return tuple(format_number_as_ds(float(number)) for number in numbers)
