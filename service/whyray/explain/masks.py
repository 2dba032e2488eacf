"""Masks of perturbation methods as a few numbers each, and images under them made in numpy.

The same numbers make the same images on a model's own device, by the family's `rule`: see `PerturbedImage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray
from whyray.explain.grid import axis_weights, upsample
from whyray.inference import GridMasks, MapPlacement, MaskNumbers, MaskRule, SegmentMasks


class Masks(Protocol):
    """A family of masks: how they follow from numbers."""

    @property
    def rule(self) -> MaskRule:
        """How a model's device makes them."""

    def masks(self, numbers: MaskNumbers) -> Any:
        """The masks of a batch, in what form this family has them on the host."""

    def images(self, shown: FloatArray, hidden: FloatArray | None, masks: Any) -> FloatArray:
        """(n, C, *spatial): `shown` (1, C, *spatial) with parts `hidden`, of the same shape; None hides it by 0."""


class ShiftedGrids:
    """RISE's: a coarse grid, upsampled, at an offset below one cell (Petsiuk et al. 2018, section 3.2).

    Numbers: `cells` (n, *counts) float32 in 0..1, `starts` (n, axes) int64.
    """

    def __init__(self, shape: tuple[int, ...], cells: int) -> None:
        self.shape = shape
        self.counts = [min(cells, size) for size in shape]
        self.cell_sizes = [-(-size // count) for size, count in zip(shape, self.counts, strict=True)]
        self._tables = tuple(
            axis_weights(count, (count + 1) * size) for count, size in zip(self.counts, self.cell_sizes, strict=True)
        )

    @cached_property
    def rule(self) -> MaskRule:
        """How a model's device makes them."""
        return GridMasks(self.shape, self._tables, shifted=True)

    def drawn(self, keep: float, rng: np.random.Generator) -> tuple[FloatArray, list[int]]:
        """A random mask's cells (*counts), each 1 with the chance `keep` and else 0, and its start along each axis."""
        cells = (rng.random(self.counts) < keep).astype(np.float32)
        return cells, [int(rng.integers(0, size)) for size in self.cell_sizes]

    def one(self, cells: FloatArray, starts: Sequence[int]) -> FloatArray:
        """(*spatial) in 0..1: one mask."""
        mask = cells
        for axis, (table, start, length) in enumerate(zip(self._tables, starts, self.shape, strict=True)):
            weights = table[start : start + length]
            mask = np.moveaxis(np.tensordot(mask, weights, axes=([axis], [1])), -1, axis)
        return np.ascontiguousarray(mask, dtype=np.float32)

    def masks(self, numbers: MaskNumbers) -> FloatArray:
        """(n, *spatial)."""
        pairs = zip(numbers["cells"], numbers["starts"], strict=True)
        return np.stack([self.one(cells, [int(start) for start in starts]) for cells, starts in pairs])

    def images(self, shown: FloatArray, hidden: FloatArray | None, masks: FloatArray) -> FloatArray:
        """(n, C, *spatial): hidden + (shown - hidden) * mask, for each of `masks` (n, *spatial) in 0..1."""
        return _blended(shown, hidden, masks)


class UpsampledGrids:
    """Cells of a coarse grid, upsampled to the image's; with `scaled`, each mask brought to 0..1 (Score-CAM's).

    Edge to edge, or where `placement` says. Numbers: `cells` (n, *counts) float32.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        counts: Sequence[int],
        *,
        scaled: bool = False,
        placement: MapPlacement | None = None,
    ) -> None:
        self.shape, self.counts, self.scaled, self.placement = shape, tuple(counts), scaled, placement

    @cached_property
    def rule(self) -> MaskRule:
        """How a model's device makes them."""
        places = [None] * len(self.shape) if self.placement is None else self.placement.axes
        axes = zip(self.counts, self.shape, places, strict=True)
        tables = tuple(axis_weights(count, size, at) for count, size, at in axes)
        return GridMasks(self.shape, tables, scaled=self.scaled)

    def masks(self, numbers: MaskNumbers) -> FloatArray:
        """(n, *spatial)."""
        masks = upsample(numbers["cells"], self.shape, self.placement)
        return _unit_range(masks) if self.scaled else masks

    def images(self, shown: FloatArray, hidden: FloatArray | None, masks: FloatArray) -> FloatArray:
        """(n, C, *spatial): hidden + (shown - hidden) * mask, for each of `masks` (n, *spatial) in 0..1."""
        return _blended(shown, hidden, masks)


class Windows:
    """One window each, in which the image is hidden: as large as `sizes`, cut where it reaches over the border.

    Numbers: those of `numbers`, of places all alike but for such cuts.
    """

    def __init__(self, shape: tuple[int, ...], sizes: Sequence[int]) -> None:
        self.shape, self.sizes = shape, tuple(sizes)

    @classmethod
    def of(cls, shape: tuple[int, ...], places: Sequence[tuple[slice, ...]]) -> Windows:
        """For these places of windows over an array of `shape`."""
        return cls(shape, [max(place.stop - place.start for place in axis) for axis in zip(*places, strict=True)])

    def numbers(self, places: Sequence[tuple[slice, ...]]) -> MaskNumbers:
        """A row of an axis' table is 1 where the window begins at its length; `starts` move it to where it lies."""
        starts = [[length - slice_.start for slice_, length in zip(place, self.shape, strict=True)] for place in places]
        return {
            "cells": np.ones((len(places), *[1] * len(self.shape)), np.float32),
            "starts": np.array(starts, np.int64),
        }

    @cached_property
    def rule(self) -> MaskRule:
        """How a model's device makes them."""
        tables = []
        for length, size in zip(self.shape, self.sizes, strict=True):
            table = np.zeros((2 * length, 1), np.float32)
            table[length : length + size] = 1
            tables.append(table)
        return GridMasks(self.shape, tuple(tables), shifted=True, covering=True)

    def masks(self, numbers: MaskNumbers) -> list[tuple[slice, ...]]:
        """The place of each window."""
        places = []
        for starts in numbers["starts"]:
            begins = [length - int(start) for start, length in zip(starts, self.shape, strict=True)]
            places.append(tuple(slice(begin, begin + size) for begin, size in zip(begins, self.sizes, strict=True)))
        return places

    def images(self, shown: FloatArray, hidden: FloatArray | None, masks: Sequence[tuple[slice, ...]]) -> FloatArray:
        """(n, C, *spatial): `shown`, and within each window `hidden`; both (1, C, *spatial), None for 0."""
        batch = np.repeat(shown, len(masks), axis=0)
        for image, place in zip(batch, masks, strict=True):
            image[(slice(None), *place)] = 0 if hidden is None else hidden[0][(slice(None), *place)]
        return batch


class Segments:
    """Whole segments, shown or hidden: `labels` (*spatial) from 0.

    Numbers: `keep` (n, segments) bool.
    """

    def __init__(self, labels: NDArray[np.intp]) -> None:
        self.labels = labels

    @cached_property
    def rule(self) -> MaskRule:
        """How a model's device makes them."""
        return SegmentMasks(self.labels)

    def masks(self, numbers: MaskNumbers) -> BoolArray:
        """(n, *spatial): where the image is shown."""
        # an index by fancy would be laid out masks last, and so would the images be
        return np.asarray(numbers["keep"].take(self.labels, axis=1))

    def images(self, shown: FloatArray, hidden: FloatArray | None, masks: BoolArray) -> FloatArray:
        """(n, C, *spatial): `shown` in the segments that are kept, `hidden` in the others; `masks` as made here."""
        batch = np.repeat(shown, len(masks), axis=0)
        np.copyto(batch, 0 if hidden is None else hidden, where=~masks[:, None])
        return batch


def _blended(shown: FloatArray, hidden: FloatArray | None, masks: FloatArray) -> FloatArray:
    """hidden + (shown - hidden) * mask of each of (n, *spatial) masks in 0..1."""
    if hidden is None:
        return shown * masks[:, None]
    batch: FloatArray = (shown - hidden) * masks[:, None]
    batch += hidden
    return batch


def _unit_range(masks: FloatArray) -> FloatArray:
    """Each (n, *spatial) mask scaled to 0..1 by its own minimum and maximum."""
    axes = tuple(range(1, masks.ndim))
    low = masks.min(axis=axes, keepdims=True)
    return np.asarray((masks - low) / (masks.max(axis=axes, keepdims=True) - low + 1e-8), np.float32)
