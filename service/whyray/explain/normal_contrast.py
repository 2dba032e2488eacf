"""Normal contrast: another map, against what it looks like where nothing is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import ArtefactMissing, ConfigError, PackageError, WhyRayError
from whyray.explain.anatomy.maps import map_of
from whyray.explain.case import Attribution, Case
from whyray.explain.companion_grid import resampled
from whyray.explain.grid import upsample
from whyray.explain.made_at import refuse_another_place
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.types import Tier
from whyray.inference import Model
from whyray.packages import Artefact, find_artefact

NORMAL_CONTRAST = "normal-contrast"
NORMAL_MAPS = "normal-maps"
"""Kind of the artefact that holds, by method M of its `details` (T targets, a coarse grid): `M mean` and `M spread`
(T, *grid) float32 over maps of images without findings; `places` of its `details` says where these maps lay."""
CELLS = 64
"""Largest side of the grid of means and spreads: maps of one patient and of the next don't match to the pixel."""
FLOOR = 0.1
"""Part of the mean spread that is added to every spread: where all normal maps are alike, noise is no finding."""
_HOW = "Onboard it with --labels, and 20 images or more of which every label is 0: `whyray package onboard`."


class NormalContrastParameters(MethodParameters):
    """`of` is the method of the map that is compared; left out, it is the package's preferred map where the references
    have it, else the first that they have."""

    of: str | None = None


@register
class NormalContrast(AttributionMap):
    """Another map against its mean and spread over normal references, place by place (Minoshima et al. 1995, z-scores).

    z = (map - mean) / (spread + a tenth of the mean spread), on a grid of at most 64 cells a side: what lights up in
    everybody (borders, markers, the mediastinum) is taken out, what is unusual stays. Positive: more for the target
    than in normal images. The references are not registered to the image: a patient who lies otherwise than they did
    stands out by that.
    """

    name: ClassVar[str] = NORMAL_CONTRAST
    title: ClassVar[str] = "Difference from maps of normal images"
    tier: ClassVar[Tier] = "T0"
    signed: ClassVar[bool] = True
    stage: ClassVar[int] = 1
    unit: ClassVar[str] = "standard deviations of normal maps"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multi-label", "regression")
    Parameters: ClassVar[type[MethodParameters]] = NormalContrastParameters

    def cost(self, parameters: Any) -> int:  # noqa: ARG002
        """The map where none was made."""
        return 3

    def why_not(self, model: Model) -> WhyRayError | None:
        """Normal references of this graph's maps."""
        try:
            artefact = find_artefact(model, NORMAL_MAPS)
        except WhyRayError as error:
            return error
        if artefact is None:
            return ArtefactMissing(
                f"{NORMAL_CONTRAST} needs the artefact {NORMAL_MAPS!r}, and {model.identity} has none", advice=_HOW
            )
        return None

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target."""
        assert isinstance(parameters, NormalContrastParameters)
        artefact = find_artefact(case.model, NORMAL_MAPS)
        assert artefact is not None
        of = _source(case.model, artefact, parameters.of)
        mean, spread = (_array(case.model, artefact, f"{of} {what}") for what in ("mean", "spread"))
        made = []
        for target in case.targets:
            heatmap = map_of(case, target, of, method=NORMAL_CONTRAST)
            made_with = artefact.facts.details["methods"][of]
            asked = json.loads(json.dumps(dict(heatmap.parameters)))
            if made_with != asked:
                raise ConfigError(
                    f"{NORMAL_CONTRAST}: the references are maps by {of} with {made_with}, and this map was made with "
                    f"{asked}",
                    advice=f"Make the map with the same parameters, or the references anew. {_HOW}",
                )
            place = artefact.facts.details.get("places", {}).get(of)
            again = f"Make them again. {_HOW}"
            refuse_another_place(artefact.path, place, case.model, heatmap.layer, advice=again)
            z = contrast(heatmap.values, mean[target], spread[target])
            evidence = {"references": float(artefact.facts.count)}
            made.append(Attribution(upsample(z, case.shape), heatmap.layer, evidence, {"of": of}))
        return made


def contrast(values: FloatArray, mean: FloatArray, spread: FloatArray) -> FloatArray:
    """(*coarse grid): how many spreads a map (*spatial) lies above the mean of normal ones, (*coarse grid) both."""
    own = resampled(values[None], mean.shape)[0]
    floor = FLOOR * float(spread.mean()) or 1.0
    return np.asarray((own - mean) / (spread + floor), np.float32)


def coarse_grid(shape: Sequence[int]) -> tuple[int, ...]:
    """The grid of means and spreads: that of the input, at most 64 cells along each axis."""
    return tuple(min(size, CELLS) for size in shape)


def _source(model: Model, artefact: Artefact, of: str | None) -> str:
    from whyray.explain.audiences import preferred_map

    known: Mapping[str, object] = artefact.facts.details.get("methods", {})
    if not known:
        raise PackageError(f"{artefact.path}: names no method", advice=_HOW)
    if of is None:
        preferred = preferred_map(model).of
        return preferred if preferred is not None and preferred in known else min(known)
    if of not in known:
        raise ConfigError(
            f"{NORMAL_CONTRAST}: the references have no maps by {of}, only by {', '.join(sorted(known))}",
            advice=f"Name one of these in `of`. {_HOW}",
        )
    return of


def _array(model: Model, artefact: Artefact, name: str) -> NDArray[np.float32]:
    shape = (len(model.targets), *coarse_grid(model.spatial_shape))
    array = artefact.arrays.get(name)
    if array is None or array.shape != shape:
        raise PackageError(f"{artefact.path}: expected {name!r} in shape {shape}", advice=_HOW)
    return np.asarray(array, np.float32)
