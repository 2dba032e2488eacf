"""Measures of an image that need nobody's labels, for regression concept vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import ExplanationError
from whyray.explain.anatomy import AnatomyParameters, missing_anatomy, structures_of
from whyray.explain.case import Case
from whyray.explain.concepts.bank import Concept
from whyray.inference import Model

MEASURES: Mapping[str, Callable[[FloatArray], float]] = {
    "brightness": lambda shown: float(shown.mean()),
    "contrast": lambda shown: float(shown.std()),
    "sharpness": lambda shown: float(np.mean([np.abs(np.diff(shown, axis=axis)).mean() for axis in range(shown.ndim)])),
    "left minus right brightness": lambda shown: _halves(shown, -1),
    "upper minus lower brightness": lambda shown: _halves(shown, -2),
}
"""Of the displayed image (*spatial) in 0..1 on the model's grid; left and right as one sees them."""
CARDIOTHORACIC = "cardiothoracic ratio"
_METHOD = "concepts"
_LUNGS = ("right lung", "left lung")


def measured(case: Case) -> dict[str, float]:
    """All measures of one image; NaN where one can't be taken of it.

    With an anatomy package beside a planar one, also the cardiothoracic ratio: the heart's greatest width over that of
    both lungs together (Danzer 1919), on the package's grid.
    """
    values = {name: measure(case.display) for name, measure in MEASURES.items()}
    if _has_anatomy(case.model):
        values[CARDIOTHORACIC] = cardiothoracic_ratio(case)
    return values


def measure_concepts(model: Model) -> tuple[Concept, ...]:
    """All of them as concepts, in the order of `measured`."""
    return tuple(
        Concept(name, "measure", 0) for name in (*MEASURES, *([CARDIOTHORACIC] if _has_anatomy(model) else ()))
    )


def cardiothoracic_ratio(case: Case) -> float:
    """NaN where heart or a lung is not found."""
    try:
        masks = {
            structure.name.lower(): structure.mask
            for structure in structures_of(case, AnatomyParameters(), method=_METHOD)
        }
    except ExplanationError:
        return float("nan")
    if "heart" not in masks or any(lung not in masks for lung in _LUNGS):
        return float("nan")
    return _width(masks["heart"]) / _width(np.logical_or.reduce([masks[lung] for lung in _LUNGS]))


def _has_anatomy(model: Model) -> bool:
    named = "anatomy" in model.manifest.companions and len(model.spatial_shape) == 2
    return named and missing_anatomy(model, _METHOD) is None


def _width(mask: NDArray[np.bool_]) -> float:
    """The distance between the outermost columns."""
    columns = np.flatnonzero(mask.any(axis=0))
    return float(columns[-1] - columns[0] + 1)


def _halves(shown: FloatArray, axis: int) -> float:
    first, second = np.array_split(shown, 2, axis=axis)
    return float(first.mean() - second.mean())
