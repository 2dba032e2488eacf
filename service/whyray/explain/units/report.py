"""`unit-report`: the units of a layer that carried this answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from whyray.base.errors import WhyRayError
from whyray.explain.case import Case
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.types import Kind, Tier
from whyray.explain.units.artefact import Units, read_units
from whyray.explain.units.layer import Contributions, ablated, case_activations, contributions, layer_named
from whyray.explain.units.unit_effects import UnitEffect, UnitReport
from whyray.inference import Model

NAME = "unit-report"


class UnitReportParameters(MethodParameters):
    """`units` are told, the strongest first, of `layer` (the feature maps where it is left out)."""

    units: int = Field(6, ge=1, le=64)
    layer: str | None = None


@register
class UnitReportMethod(MethodDefaults):
    """Units that carried the answer (Bau et al. 2020, section 2): contribution, ablation, what else excites them.

    A unit is a channel of `layer`. Contributions are exact where the head is affine (they and the base sum to the
    logit); else gradient times activation; else what is lost with the unit. The ablation effect is the change of the
    logit when the unit is set to its mean over the references and the head is run again. Unit: logit.
    Raises ArtefactMissing where the package has no artefact 'units'.
    """

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Units of the network"
    tier: ClassVar[Tier] = "T1"
    kind: ClassVar[Kind] = "internal representation"
    signed: ClassVar[bool] = True
    Parameters: ClassVar[type[MethodParameters]] = UnitReportParameters

    def why_not(self, model: Model) -> WhyRayError | None:
        """The layer, or the artefact, is missing."""
        return self.why_not_with(model, {})

    def why_not_with(self, model: Model, given: Mapping[str, object]) -> WhyRayError | None:
        """The layer that is given, else that the package prefers, or its artefact, is missing."""
        wanted = {**model.manifest.methods.get(NAME, {}), **given}.get("layer")
        try:
            read_units(model, layer_named(model, None if wanted is None else str(wanted)), method=NAME)
        except WhyRayError as error:
            return error
        return None

    def explain_case(self, case: Case, parameters: MethodParameters) -> Sequence[UnitReport]:
        """One report for each target; no further pass for the feature maps, one for another layer."""
        assert isinstance(parameters, UnitReportParameters)
        layer = layer_named(case.model, parameters.layer)
        known = read_units(case.model, layer, method=NAME)
        contributed = contributions(case, layer, known.mean)
        used = {**parameters.model_dump(), "layer": layer, "artefact": known.artefact.short}
        return [_report(case, row, name, contributed, known, used) for row, name in enumerate(case.target_names)]


def strongest(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], count: int) -> list[int]:
    """Indices of the largest magnitudes, the largest first; ties in the order of the units."""
    order = np.lexsort((np.arange(len(values)), -np.abs(values)))
    return [int(unit) for unit in order[:count]]


def _report(
    case: Case, row: int, target: str, contributed: Contributions, known: Units, parameters: dict[str, object]
) -> UnitReport:
    values = case_activations(case, known.layer)
    top = strongest(contributed.values[row], int(str(parameters["units"])))
    changes = ablated(case.for_targets([case.targets[row]]), known.layer, top, known.mean)[0]
    effects = []
    for unit, change in zip(top, changes, strict=True):
        concept, iou = known.concept_of(unit)
        activation = float(values[unit].mean())
        effects.append(
            UnitEffect(
                layer=known.layer,
                unit=unit,
                activation=activation,
                contribution=float(contributed.values[row, unit]),
                ablation=float(change),
                percentile=known.percentile(unit, activation),
                concept=concept,
                iou=iou,
                patches=known.patches_of(unit),
                synthetic=known.artefact.facts.synthetic,
                activation_map=case.drawn(values[unit], known.layer),
            )
        )
    total = float(case.score[row])
    base = None if contributed.base is None else float(contributed.base[row])
    evidence = {"engine_parity": contributed.gap, "references": float(known.artefact.facts.count)}
    if base is not None:
        summed = base + float(contributed.values[row].astype(np.float64).sum())
        evidence["completeness_gap"] = abs(summed - total) / max(1.0, abs(total))
    return UnitReport(
        target=target,
        method=NAME,
        parameters={**parameters, "contribution": contributed.how},
        evidence=evidence,
        units=tuple(effects),
        unit_count=len(values),
        base=base,
        total=total,
        display=case.display,
    )
