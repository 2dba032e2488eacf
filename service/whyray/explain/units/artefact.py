"""The artefact 'units': what is known of a layer's units from reference images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import PackageError
from whyray.explain.made_at import refuse_another_place
from whyray.inference import Model
from whyray.packages import Artefact, require_artefact

UNITS = "units"
LEVELS = tuple(np.round(np.linspace(0, 1, 41), 4).tolist())
"""Shares at which the distribution of each unit's activation over the references is kept."""
_ADVICE = "`whyray package units PACKAGE --images DIR` makes it from a site's own images."


@dataclass(frozen=True)
class Units:
    """All units of one layer.

    Attributes
    ----------
    artefact
        Where it comes from.
    layer
        The tensor.
    mean
        (units,): activation, over references and grid.
    quantiles
        (units, levels): of the activation of a reference, averaged over the grid; levels as `LEVELS`.
    concepts
        Names of the concepts that units were compared with.
    concept
        (units,): index of the concept that the unit detects; -1 for none.
    iou
        (units,): intersection over union with the best concept's masks; NaN where nothing was compared.
    """

    artefact: Artefact
    layer: str
    mean: FloatArray
    quantiles: FloatArray
    concepts: tuple[str, ...]
    concept: NDArray[np.int16]
    iou: FloatArray

    def percentile(self, unit: int, activation: float) -> float:
        """0..100: the share of references whose mean activation of the unit is below.

        Many may have the same, such as nothing in a unit behind a ReLU: they are not below one that has it too.
        """
        known = self.quantiles[unit].astype(np.float64)
        place = int(np.searchsorted(known, activation))
        if np.isnan(activation):
            return float("nan")
        if place in (0, len(known)):
            return 100.0 if place else 0.0
        low, high = known[place - 1], known[place]
        share = (activation - low) / (high - low)
        return float(100 * (LEVELS[place - 1] + share * (LEVELS[place] - LEVELS[place - 1])))

    def concept_of(self, unit: int) -> tuple[str | None, float | None]:
        """The concept that the unit detects by network dissection, and its IoU; None for none."""
        index = int(self.concept[unit])
        return (None, None) if index < 0 else (self.concepts[index], float(self.iou[unit]))

    def patches_of(self, unit: int) -> FloatArray | None:
        """(k, h, w) in 0..1: parts of references that excite the unit most; None where the artefact keeps none."""
        return _picked(self.artefact, "patch_of", "patches", unit)


def read_units(model: Model, layer: str, *, method: str) -> Units:
    """The units of this layer; ArtefactMissing where the package has no such artefact, or one of another layer."""
    return _units(require_artefact(model, UNITS, method=method, advice=_ADVICE), model, layer)


def _units(artefact: Artefact, model: Model, layer: str) -> Units:
    details, arrays = artefact.facts.details, artefact.arrays
    if details.get("layer") != layer:
        raise PackageError(
            f"{artefact.path}: made of the layer {details.get('layer')!r}, and {layer!r} is asked for",
            advice=f"`whyray package units {model.identity} --images DIR --layer {layer}`.",
        )
    if "place" in details:  # what older ones say of units is of maps that were drawn edge to edge, and is kept
        again = f"Make it again: `whyray package units {model.identity} --images DIR --layer {layer}`."
        refuse_another_place(artefact.path, details["place"], model, layer, advice=again)
    try:
        return Units(
            artefact,
            layer,
            arrays["mean"].astype(np.float32),
            arrays["quantiles"].astype(np.float32),
            tuple(details.get("concepts", ())),
            arrays["concept"].astype(np.int16),
            arrays["iou"].astype(np.float32),
        )
    except KeyError as error:
        raise PackageError(f"{artefact.path}: has no {error}", advice="Make it again.") from error


def _picked(artefact: Artefact, index: str, pictures: str, unit: int) -> FloatArray | None:
    known: Sequence[int] = artefact.arrays[index].tolist() if index in artefact.arrays else []
    if unit not in known:
        return None
    return np.asarray(artefact.arrays[pictures][known.index(unit)] / 255, np.float32)
