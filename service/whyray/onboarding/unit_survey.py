"""Onboarding of a layer's units: what reference images tell of them, written as the artefact 'units'."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.errors import PackageError
from whyray.explain import Progress, place_of, resampled
from whyray.explain.units import LEVELS, UNITS, activations
from whyray.inference import MapPlacement, Model
from whyray.onboarding.activation_maximisation import Maximised, Recipe, maximise
from whyray.onboarding.network_dissection import QUANTILE, Dissection, at_resolution, dissect, keep_top, thresholds
from whyray.packages import ArtefactFacts, graph_digest

FEWEST = 8
"""With fewer images percentiles and means say nothing."""
_PATCH_AT_LEAST, _PATCH_AT_MOST, _PICTURE_AT_MOST = 24, 48, 112


@dataclass(frozen=True)
class UnitImage:
    """One reference.

    Attributes
    ----------
    x
        The model's input, channels-first (1, C, *spatial).
    picture
        (*spatial) in 0..1, what patches are cut from; None where no patch may be cut from it.
    picture_x
        The model's input made of `picture`, where that shows something else than `x` (a reconstruction): patches are
        chosen by how it excites the unit.
    masks
        (*spatial) by concept; concepts that nobody looked for in this image are left out.
    """

    x: FloatArray
    picture: FloatArray | None = None
    picture_x: FloatArray | None = None
    masks: Mapping[str, BoolArray] = field(default_factory=dict)


@dataclass(frozen=True)
class UnitSurveyOptions:
    """How much is surveyed.

    Attributes
    ----------
    patches
        Patches for each unit that gets any; 0 for none.
    units_with_patches
        So many units get patches and, with `maximise`, pictures: those that the answers lean on most.
    maximise
        So many units get pictures that are made to excite them.
    resolution
        Masks and activations are compared on a grid of at most so many places along each axis.
    """

    patches: int = 4
    units_with_patches: int = 256
    maximise: int = 0
    resolution: int = 56
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True)
class UnitSurvey:
    """All that was found, as the artefact keeps it, and beside it what only the page shows."""

    facts: ArtefactFacts
    arrays: dict[str, NDArray[Any]]
    leaned_on: tuple[int, ...]
    dissection: Dissection
    maximised: tuple[Maximised, ...]


def survey_units(
    model: Model,
    images: Sequence[UnitImage],
    layer: str,
    *,
    wanted: UnitSurveyOptions,
    source: str,
    licence: str,
    made: date,
    synthetic: bool,
    rng: np.random.Generator,
    progress: Progress | None = None,
) -> UnitSurvey:
    """Statistics, dissection, patches and pictures of all units of a layer; nothing is written.

    `source` and `licence` say which images and under what terms; `synthetic` whether their pictures were made by a
    decoder. The same images and generator give the same survey. Raises PackageError with fewer than `FEWEST` images.
    """
    if len(images) < FEWEST:
        raise PackageError(
            f"{model.identity}: a survey of units needs {FEWEST} images or more, got {len(images)}",
            advice="Name more images.",
        )

    def tell(done: int, words: str) -> None:
        if progress is not None:
            progress(done, 2 * len(images) + wanted.maximise, words)

    first = _first_pass(model, images, layer, lambda done: tell(done, "activations"))
    concepts, masks, annotated = _masks(model, images, wanted.resolution)

    levels = thresholds(first.tops, first.mean)

    def again() -> Iterator[FloatArray]:
        for number, image in enumerate(images):
            tell(len(images) + number, "dissection")
            yield activations(model, image.x, layer)[0]

    dissection = dissect(again() if concepts else (), levels, masks, annotated, rng, model.network.placement(layer))
    leaned_on = _leaned_on(model, layer, first.pooled, wanted.units_with_patches)
    maximised: list[Maximised] = []
    for number, unit in enumerate(leaned_on[: wanted.maximise]):
        tell(2 * len(images) + number, f"activation maximisation of unit {unit}")
        maximised += maximise(model, layer, [unit], wanted.recipe, rng)
    arrays = {
        "mean": first.mean.astype(np.float32),
        "quantiles": np.quantile(first.pooled, LEVELS, axis=0).T.astype(np.float32),
        "threshold": levels,
        "concept": dissection.concept,
        "iou": dissection.iou,
        "chance": dissection.chance,
        **_patches(images, leaned_on, first, wanted.patches, model.network.placement(layer)),
        **_maximised(maximised, first.pooled),
    }
    labelled = int((dissection.concept >= 0).sum())
    facts = ArtefactFacts(
        kind=UNITS,
        graph=graph_digest(model),
        package=model.identity,
        made=made,
        count=len(images),
        source=source,
        licence=licence,
        synthetic=synthetic,
        details={
            "layer": layer,
            "place": place_of(model, layer),
            "concepts": list(concepts),
            "images with masks": {name: int(annotated[:, index].sum()) for index, name in enumerate(concepts)},
            "units": len(first.mean),
            "units with a concept": labelled,
            "units with a concept by chance": dissection.by_chance,
            "resolution": wanted.resolution,
        },
    )
    return UnitSurvey(facts, arrays, leaned_on, dissection, tuple(maximised))


@dataclass(frozen=True)
class _FirstPass:
    """mean (units,); pooled (images, units); tops as `keep_top`; peak and its place (images, units)."""

    mean: NDArray[np.float64]
    pooled: FloatArray
    tops: FloatArray
    peak: FloatArray
    place: NDArray[np.int64]
    grid: tuple[int, ...]


def _first_pass(model: Model, images: Sequence[UnitImage], layer: str, tell: Callable[[int], None]) -> _FirstPass:
    tops: FloatArray | None = None
    means, peaks, places = [], [], []
    grid: tuple[int, ...] = ()
    for number, image in enumerate(images):
        tell(number)
        values = activations(model, image.x, layer)[0]
        grid = values.shape[1:]
        flat = values.reshape(len(values), -1)
        tops = keep_top(tops, flat, max(1, ceil(QUANTILE * flat.shape[1] * len(images))))
        means.append(flat.mean(axis=1))
        if image.picture_x is not None:
            flat = activations(model, image.picture_x, layer)[0].reshape(len(values), -1)
        peaks.append(flat.max(axis=1))
        places.append(flat.argmax(axis=1))
    assert tops is not None
    pooled = np.stack(means)
    return _FirstPass(pooled.mean(axis=0, dtype=np.float64), pooled, tops, np.stack(peaks), np.stack(places), grid)


def _masks(model: Model, images: Sequence[UnitImage], resolution: int) -> tuple[tuple[str, ...], BoolArray, BoolArray]:
    """Concepts, masks (images, concepts, *resolution) and annotated (images, concepts)."""
    concepts = tuple(sorted({name for image in images for name in image.masks}))
    shape = tuple(min(size, resolution) for size in model.spatial_shape)
    masks = np.zeros((len(images), len(concepts), *shape), bool)
    annotated = np.zeros(masks.shape[:2], bool)
    for number, image in enumerate(images):
        for index, name in enumerate(concepts):
            if name in image.masks:
                if image.masks[name].shape != model.spatial_shape:
                    raise PackageError(f"a mask of {name} has shape {image.masks[name].shape}, not the model's grid")
                masks[number, index] = next(at_resolution([image.masks[name]], resolution))
                annotated[number, index] = True
    return concepts, masks, annotated


def _leaned_on(model: Model, layer: str, pooled: FloatArray, most: int) -> tuple[int, ...]:
    """Units by how much they move the answers among the references, the most important of each target in turn."""
    spread = pooled.std(axis=0)
    head = model.network.head if layer == model.network.features_name else None
    effects = spread[None] if head is None else np.abs(head.weight) * spread
    ranks = np.argsort(-effects, axis=1, kind="stable")
    return tuple(dict.fromkeys(int(unit) for unit in ranks.T.ravel()))[:most]


def _patches(
    images: Sequence[UnitImage], units: Sequence[int], first: _FirstPass, most: int, placement: MapPlacement
) -> dict[str, NDArray[np.uint8] | NDArray[np.int32]]:
    """Cuts around the places of the highest activations, each from another image; empty where none may be cut."""
    showable = np.array([image.picture is not None for image in images])
    if not most or showable.sum() < most:
        return {}
    cut = []
    for unit in units:
        order = np.argsort(-np.where(showable, first.peak[:, unit], -np.inf), kind="stable")[:most]
        cut.append(
            np.stack(
                [_cut(images[index].picture, int(first.place[index, unit]), first.grid, placement) for index in order]
            )
        )
    pixels = np.rint(np.clip(np.stack(cut), 0, 1) * 255).astype(np.uint8)
    return {"patch_of": np.asarray(units, np.int32), "patches": pixels}


def _cut(picture: FloatArray | None, place: int, grid: tuple[int, ...], placement: MapPlacement) -> FloatArray:
    """A square of about three cells of the layer's grid around a place; of a volume in the slice of the place."""
    assert picture is not None
    at = np.unravel_index(place, grid)
    centre = [
        placement.centre(axis, float(position), cells) * size
        for axis, (position, size, cells) in enumerate(zip(at, picture.shape, grid, strict=True))
    ]
    if picture.ndim == 3:
        picture, centre, grid = picture[min(max(0, int(centre[0])), len(picture) - 1)], centre[1:], grid[1:]
    side = round(3 * max(size / cells for size, cells in zip(picture.shape, grid, strict=True)))
    side = int(min(max(side, _PATCH_AT_LEAST), *picture.shape))
    starts = [
        min(max(0, round(middle - side / 2)), size - side) for middle, size in zip(centre, picture.shape, strict=True)
    ]
    patch = picture[starts[0] : starts[0] + side, starts[1] : starts[1] + side]
    kept = min(side, _PATCH_AT_MOST)
    small: FloatArray = resampled(patch[None], (kept, kept))[0]
    return small


def _maximised(maximised: Sequence[Maximised], pooled: FloatArray) -> dict[str, NDArray[Any]]:
    if not maximised:
        return {}
    size = maximised[0].pictures.shape[1:]
    kept = tuple(min(length, round(length * _PICTURE_AT_MOST / max(size))) for length in size)
    pictures = np.stack([resampled(synthetic.pictures, kept) for synthetic in maximised])
    return {
        "maximised_of": np.array([synthetic.unit for synthetic in maximised], np.int32),
        "maximised": np.rint(pictures * 255).astype(np.uint8),
        "reached": np.stack([synthetic.reached for synthetic in maximised]).astype(np.float32),
        "highest": np.array([pooled[:, synthetic.unit].max() for synthetic in maximised], np.float32),
    }
