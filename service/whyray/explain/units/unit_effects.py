"""What explanations by internal representation say: the units that carried the answer."""

from __future__ import annotations

from dataclasses import dataclass

from whyray.base.arrays import FloatArray
from whyray.explain.typed import TypedExplanation


@dataclass(frozen=True)
class UnitEffect:
    """One unit (channel) of a layer and what it did.

    `contribution` is its part in the logit; `ablation` the change of the logit when it is set to its mean over the
    references; `percentile` where its activation lies among the references; `concept` what it detects by network
    dissection, with its IoU; `patches` (k, h, w) in 0..1 what excites it most among the references; `activation_map`
    (*spatial) where it fires here.
    """

    layer: str
    unit: int
    activation: float
    contribution: float
    ablation: float
    percentile: float | None = None
    concept: str | None = None
    iou: float | None = None
    patches: FloatArray | None = None
    synthetic: bool = False
    activation_map: FloatArray | None = None


@dataclass(frozen=True, kw_only=True)
class UnitReport(TypedExplanation):
    """The units that carried the answer, the strongest first, of `unit_count` in the layer.

    `display` (*spatial) in 0..1 is the image that their activation maps lie over.
    """

    units: tuple[UnitEffect, ...]
    unit_count: int
    base: float | None = None
    total: float | None = None
    display: FloatArray | None = None
