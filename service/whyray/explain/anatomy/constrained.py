"""`anatomy-constrained`: a heatmap, narrowed to where the finding can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from whyray.base.errors import ExplanationError, WhyRayError
from whyray.explain.anatomy.allowed import allowed_mask
from whyray.explain.anatomy.maps import map_of, speaks_for
from whyray.explain.anatomy.structures import AnatomyParameters, missing_anatomy, structures_of
from whyray.explain.case import Attribution, Case
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.types import Kind, Tier
from whyray.inference import Model
from whyray.packages import CompanionRole

NAME = "anatomy-constrained"
LEAST_KEPT = 0.1
"""Below this part of the map, what the prior leaves would show the prior, not the model."""


class AnatomyConstrainedParameters(AnatomyParameters):
    """`of` is the map's method, as for `region-shares`. `zones` changes nothing here."""

    of: str | None = None


@register
class AnatomyConstrained(AttributionMap):
    """Another map, 0 wherever the target can't be by its anatomy (a prior as in Rieger et al. 2020).

    Theirs binds the model while it is trained; this one only the map. What it took away is kept as evidence
    (`share_kept`): a map that loses most of itself said something about the model that this one no longer shows, and
    where less than a tenth is left it is refused. Of a signed map only what speaks for the target is kept.
    """

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Map kept to the anatomy"
    tier: ClassVar[Tier] = "T0"
    kind: ClassVar[Kind] = "anatomical prior"
    stage: ClassVar[int] = 1
    unit: ClassVar[str] = "as its map"
    companion: ClassVar[CompanionRole | None] = "anatomy"
    Parameters: ClassVar[type[MethodParameters]] = AnatomyConstrainedParameters

    def cost(self, parameters: Any) -> int:  # noqa: ARG002
        """The anatomy package once, and the heatmap where none was made."""
        return 3

    def why_not(self, model: Model) -> WhyRayError | None:
        """No anatomy can be had, or no target says where it belongs."""
        missing = missing_anatomy(model, NAME)
        if missing is None and not any(target.anatomy for target in model.manifest.targets if not target.background):
            return ExplanationError(
                f"{NAME}: no target of {model.identity} says by its `anatomy` where it can be",
                advice="Give targets their `anatomy` in model.yaml, or take another method.",
            )
        return missing

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target."""
        assert isinstance(parameters, AnatomyConstrainedParameters)
        structures = structures_of(case, parameters, method=NAME)
        attributions = []
        for target in case.targets:
            spec = case.model.manifest.targets[target]
            allowed = allowed_mask(structures, spec)
            if allowed is None:
                raise ExplanationError(
                    f"{NAME} of {spec.name}: none of {', '.join(structure.name for structure in structures)} bears on "
                    f"{spec.anatomy.meaning if spec.anatomy else 'a target without anatomy'}",
                    advice="Take a map without a prior.",
                )
            heatmap = map_of(case, target, parameters.of, method=NAME)
            weight = speaks_for(heatmap)
            values = np.where(allowed, weight, 0).astype(np.float32)
            total = float(weight.sum(dtype=np.float64))
            kept = float(values.sum(dtype=np.float64)) / total if total else 0.0
            if kept < LEAST_KEPT:
                raise ExplanationError(
                    f"{NAME} of {spec.name}: only {kept:.0%} of the map by {heatmap.method} lies where it may be "
                    "looked for: what is left would not be the model's",
                    advice=f"Look at {heatmap.method} itself, and at region-shares: the model looks elsewhere.",
                )
            evidence = {
                **{name: value for name, value in heatmap.evidence.items() if name == "engine_parity"},
                "share_kept": kept,
                "share_cut": 1 - kept,
                "allowed_area": float(allowed.mean()),
            }
            attributions.append(Attribution(values, heatmap.layer, evidence, {"of": heatmap.method}))
        return attributions
