"""Network dissection (Bau et al. 2017): which concept, if any, each unit of a layer detects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray
from whyray.explain import upsample
from whyray.inference import MapPlacement

QUANTILE = 0.005
"""A unit fires where its activation is among so large a share of its highest (section 2.2)."""
LEAST_IOU = 0.04
"""With less overlap a unit detects nothing (section 2.2)."""
PERMUTATIONS = 20
"""A unit must overlap more than with the masks of other images, in each of so many permutations: p < 0.05."""


@dataclass(frozen=True)
class Dissection:
    """What the units detect.

    Attributes
    ----------
    concept
        (units,): index of the concept, -1 for none.
    iou
        (units,): with the best concept, over all images together; NaN where there are no masks.
    chance
        (units,): the largest IoU with that concept's masks of other images, over the permutations.
    by_chance
        How many units would have been labelled had one of the permutations been the truth.
    """

    concept: NDArray[np.int16]
    iou: FloatArray
    chance: FloatArray
    by_chance: int


def thresholds(tops: FloatArray, mean: NDArray[np.floating]) -> FloatArray:
    """(units,): the level that the `QUANTILE` share of places reaches; `tops` as `keep_top` leaves them.

    Of a unit that is silent in nearly all places the level is just above its mean, so that silence is no detection.
    """
    level = tops.min(axis=1)
    above = np.nextafter(mean.astype(np.float32), np.float32(np.inf))
    return np.asarray(np.maximum(level, above), np.float32)


def keep_top(tops: FloatArray | None, values: FloatArray, most: int) -> FloatArray:
    """The `most` largest activations of each unit so far: (units, ≤ most), from (units, places) more."""
    both = values if tops is None else np.concatenate([tops, values], axis=1)
    if both.shape[1] <= most:
        return both
    return np.asarray(np.partition(both, both.shape[1] - most, axis=1)[:, -most:], np.float32)


def dissect(
    layers: Iterable[FloatArray],
    levels: FloatArray,
    masks: BoolArray,
    annotated: BoolArray,
    rng: np.random.Generator,
    placement: MapPlacement | None = None,
) -> Dissection:
    """Compare where units fire with where concepts are.

    Parameters
    ----------
    layers
        Activations (units, *grid) of one image after the other.
    levels
        (units,): above which a unit fires.
    masks
        (images, concepts, *resolution): where each concept is; activations are interpolated to this resolution.
    annotated
        (images, concepts): whether anybody looked for the concept in the image; others don't count.
    placement
        Where the layer's cells lie on the image; edge to edge without.
    """
    images, concepts = annotated.shape
    units, resolution = len(levels), masks.shape[2:]
    if not concepts:
        return _labelled(np.zeros((units, 0, 1 + PERMUTATIONS)))
    partners = np.stack([_derangements(annotated[:, concept], rng) for concept in range(concepts)], axis=1)
    flat = masks.reshape(images, concepts, -1)
    both = np.zeros((units, concepts, 1 + PERMUTATIONS))
    own = np.zeros((units, concepts))
    other = np.zeros((concepts, 1 + PERMUTATIONS))
    for image, values in enumerate(layers):
        drawn = upsample(values, resolution, placement)
        fires = (drawn >= levels.reshape(-1, *[1] * len(resolution))).reshape(units, -1)
        for concept in np.flatnonzero(annotated[image]):
            against = flat[[image, *partners[image, concept]], concept]
            both[:, concept] += fires.astype(np.float32) @ against.T.astype(np.float32)
            own[:, concept] += fires.sum(axis=1)
            other[concept] += against.sum(axis=1)
    union = own[..., None] + other - both
    overlap = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
    return _labelled(overlap)


def _labelled(overlap: NDArray[np.float64]) -> Dissection:
    """From (units, concepts, 1 + permutations): truth first."""
    units = np.arange(len(overlap))
    if not overlap.shape[1]:
        nothing = np.full(len(overlap), np.nan, np.float32)
        return Dissection(np.full(len(overlap), -1, np.int16), nothing, nothing, 0)

    def detected(truth: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        best = overlap[:, :, truth].argmax(axis=1)
        rest = np.delete(overlap, truth, axis=2) if truth else overlap[:, :, 1:]
        return best, overlap[units, best, truth], rest[units, best].max(axis=1)

    best, iou, chance = detected(0)
    _, pseudo, pseudo_chance = detected(1)
    detects = (iou > LEAST_IOU) & (iou > chance)
    concept = np.where(detects, best, -1).astype(np.int16)
    by_chance = int(((pseudo > LEAST_IOU) & (pseudo > pseudo_chance)).sum())
    return Dissection(concept, iou.astype(np.float32), chance.astype(np.float32), by_chance)


def _derangements(annotated: BoolArray, rng: np.random.Generator) -> NDArray[np.int64]:
    """(images, permutations): another annotated image for each annotated one; itself where it is alone."""
    places = np.flatnonzero(annotated)
    permutations = np.repeat(np.arange(len(annotated))[:, None], PERMUTATIONS, axis=1)
    for permutation in range(PERMUTATIONS if len(places) > 1 else 0):
        order = rng.permutation(places)
        permutations[order, permutation] = np.roll(order, int(rng.integers(1, len(order))))
    return permutations


def at_resolution(masks: Sequence[BoolArray], most: int) -> Iterator[BoolArray]:
    """Masks on a grid of at most `most` places along each axis: a place belongs where half of it or more does.

    A mask that would vanish keeps the place that holds most of it.
    """
    for mask in masks:
        shape = tuple(min(size, most) for size in mask.shape)
        share = mask.astype(np.float64)
        for axis, (size, wanted) in enumerate(zip(mask.shape, shape, strict=True)):
            share = np.moveaxis(np.tensordot(_areas(size, wanted), share, axes=([1], [axis])), 0, axis)
        small = share >= 0.5
        if mask.any() and not small.any():
            small = share == share.max()
        yield small


def _areas(size: int, wanted: int) -> NDArray[np.float64]:
    """(wanted, size): how much of each new place each old one covers; rows sum to 1."""
    edges = np.linspace(0, size, wanted + 1)
    starts = np.arange(size)
    covered = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    covered = np.clip(covered, 0, None)
    shares: NDArray[np.float64] = covered / covered.sum(axis=1, keepdims=True)
    return shares
