"""Where the cells of a map lie on the image that a network saw, and how the map is drawn there.

A network's cell looks at a window of the image, and lies at that window's middle: `first + (i + 0.5) * step` for cell
i, added up from paddings, kernels and strides (Dumoulin and Visin 2016, section 2; Araujo, Norris and Sim 2019, eq. 5:
the centre of a receptive field). Only where each layer pads alike at both ends of what it covers is that
`(i + 0.5) * length / cells`, edge to edge: in a ResNet the cells of the last map lie half a cell before that, in a
network that pads as TensorFlow's SAME half a cell behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from whyray.inference.graph_place import PlacedMap

Taps = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]
_SAME = 1e-6
"""Pixels by which what was added up may be off a map that lies edge to edge."""


@dataclass(frozen=True)
class AxisPlacement:
    """Along one axis the first edge of the first cell, and the length of a cell: as shares of the image's axis."""

    first: float
    step: float


@dataclass(frozen=True)
class MapPlacement:
    """Where a map (..., *grid) lies on the image.

    Attributes
    ----------
    axes
        An axis of the image each, None where the map lies edge to edge.
    known
        Whether the graph's operators say so of every axis; else edge to edge is what nothing speaks against.
    apart
        Cells by which ways through the graph differ in where they lay it: it is where the straightest of them has it.
    """

    axes: tuple[AxisPlacement | None, ...]
    known: bool = True
    apart: float = 0.0

    @property
    def edge_to_edge(self) -> bool:
        """Whether it lies on the whole image, as if it were stretched over it."""
        return not any(self.axes)

    def centre(self, axis: int, cell: float, cells: int) -> float:
        """The middle of a cell of `cells`, as a share of the image's axis."""
        at = self.axes[axis] or AxisPlacement(0.0, 1 / cells)
        return at.first + (cell + 0.5) * at.step


def placement(placed: PlacedMap | None, shape: Sequence[int]) -> MapPlacement:
    """What `places_in` found, for a map (N, channels, *grid) of an image of `shape` pixels.

    An axis that the operators don't tell, and one of a single cell, counts as edge to edge.
    """
    axes: list[AxisPlacement | None] = []
    known = placed is not None and len(placed.shape) == len(shape) + 2
    apart = 0.0
    for number, length in enumerate(shape):
        place = None if placed is None else placed.places[number]
        if place is not None:
            apart = max(apart, place.apart / abs(place.step))
            known = known and place.axis == number + 2 and place.step > 0
        elif placed is not None:
            known = known and placed.shape[number + 2] == 1
        cells = 1 if placed is None or place is None else placed.shape[place.axis]
        if (
            place is None
            or place.axis != number + 2
            or place.step <= 0
            or (abs(place.first) < _SAME and abs(place.first + cells * place.step - length) < _SAME)
        ):
            axes.append(None)
        else:
            axes.append(AxisPlacement(place.first / length, place.step / length))
    return MapPlacement(tuple(axes), known, apart)


@lru_cache(maxsize=128)
def axis_taps(source: int, target: int, at: AxisPlacement | None = None) -> Taps:
    """For each of `target` samples the cells below and above it, and how far it lies towards the one above.

    Samples before the first cell's middle and behind the last one's show that cell: what is nearest. There is nothing
    to interpolate with, the cell's own window does cover them, and 0 would say that the network saw nothing there.
    """
    middles = np.arange(target) + 0.5
    position = middles * source / target - 0.5 if at is None else (middles / target - at.first) / at.step - 0.5
    position = np.clip(position, 0, source - 1)
    below = np.minimum(np.floor(position).astype(np.intp), source - 1)
    taps = below, np.minimum(below + 1, source - 1), (position - below).astype(np.float32)
    for kept in taps:
        kept.setflags(write=False)
    return taps


@lru_cache(maxsize=128)
def axis_weights(source: int, target: int, at: AxisPlacement | None = None) -> NDArray[np.float32]:
    """(target, source) matrix of one axis: `axis_taps` as weights."""
    below, above, part = axis_taps(source, target, at)
    weights = np.zeros((target, source), np.float32)
    weights[np.arange(target), below] += 1 - part
    weights[np.arange(target), above] += part
    weights.setflags(write=False)
    return weights
