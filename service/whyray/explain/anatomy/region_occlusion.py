"""`region-occlusion`: what the answer loses with each anatomical structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray
from whyray.base.errors import WhyRayError
from whyray.explain.anatomy.allowed import LEAST_INSIDE, MARGIN, marked, rule_for
from whyray.explain.anatomy.coalitions import Players
from whyray.explain.anatomy.shares_by_region import RegionShare, RegionShares
from whyray.explain.anatomy.structures import AnatomyParameters, anatomy_of, missing_anatomy, structures_of
from whyray.explain.case import Case
from whyray.explain.fill import Fill
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.typed import Structure
from whyray.explain.types import Kind, Tier
from whyray.inference import Model
from whyray.packages import CompanionRole, TargetSpec

NAME = "region-occlusion"


class RegionOcclusionParameters(AnatomyParameters):
    """`fill` is what is shown in place of a structure, as for `occlusion`."""

    fill: Fill = "mean"


@register
class RegionOcclusionMethod(MethodDefaults):
    """What the score loses when one anatomical structure is covered (Zeiler and Fergus 2014, section 4.2).

    The effect is f(x) minus f(x with the structure covered): positive where the structure speaks for the target. The
    share is its part of all effects without their signs, that of the rest of the image among them.
    """

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Effect of covering each structure"
    tier: ClassVar[Tier] = "T0"
    kind: ClassVar[Kind] = "anatomical prior"
    signed: ClassVar[bool] = True
    companion: ClassVar[CompanionRole | None] = "anatomy"
    Parameters: ClassVar[type[MethodParameters]] = RegionOcclusionParameters

    def cost(self, parameters: Any) -> int:
        """One a structure, one for the rest, one for none; the anatomy package once."""
        return 11 if parameters.zones else 7

    def why_not(self, model: Model) -> WhyRayError | None:
        """No anatomy can be had."""
        return missing_anatomy(model, NAME)

    def explain_case(self, case: Case, parameters: MethodParameters) -> Sequence[RegionShares]:
        """One explanation a target; forward passes are shared by all targets."""
        assert isinstance(parameters, RegionOcclusionParameters)
        structures = structures_of(case, parameters, method=NAME)
        players = Players(case, structures, parameters.fill)
        absent = np.concatenate([~np.eye(len(players), dtype=bool), np.zeros((1, len(players)), bool)])
        scores = players.scores(absent)
        effects = case.score - scores[:-1]
        return [
            shares_of_effects(
                case,
                target,
                structures,
                players.masks,
                effects[:, index],
                method=NAME,
                unit=self.unit,
                parameters={**parameters.model_dump(), "anatomy_from": anatomy_of(case, parameters)},
                base=float(scores[-1, index]),
                evidence={},
            )
            for index, target in enumerate(case.targets)
        ]


def shares_of_effects(
    case: Case,
    target: int,
    structures: Sequence[Structure],
    masks: BoolArray,
    effects: NDArray[np.float64],
    *,
    method: str,
    unit: str,
    parameters: dict[str, object],
    base: float,
    evidence: dict[str, float],
) -> RegionShares:
    """Effects (players,), the rest's last, as shares: of all effects without their signs; largest first."""
    spec = case.model.manifest.targets[target]
    whole = float(np.abs(effects).sum()) or 1.0
    image = case.context.valid
    size = masks[0].size if image is None else max(int(image.sum()), 1)
    regions = []
    for structure, mask, effect in zip(marked(structures, spec), masks, effects, strict=False):
        share, area = abs(float(effect)) / whole, float((mask if image is None else mask & image).sum()) / size
        regions.append(RegionShare(structure, share, area, share / area if area else None, float(effect)))
    outside = abs(float(effects[-1])) / whole
    score = float(case.score[case.targets.index(target)])
    flagged, facts = attended(regions, float(effects[-1]), spec)
    return RegionShares(
        target=spec.name,
        method=method,
        parameters=parameters,
        evidence={**evidence, **facts, "rest_effect": float(effects[-1])},
        unit=unit,
        regions=tuple(sorted(regions, key=lambda region: -region.share)),
        outside=outside,
        flagged=flagged,
        base=base,
        total=score,
    )


def attended(regions: Sequence[RegionShare], rest: float, target: TargetSpec) -> tuple[bool, dict[str, float]]:
    """Whether most of what speaks for the target lies where it may not be, and the figures; nothing without a prior.

    Effects that speak against the target are left out: that a heart tells against a mass is no mistake of place.
    Nothing is said of targets that lie beyond the structures' rim as much as within (pleura, diaphragm).
    """
    rule = rule_for(target, [region.structure for region in regions])
    if rule is None or rule.margin > MARGIN:
        return False, {}
    inside = sum(max(region.effect or 0.0, 0.0) for region in regions if region.structure.allowed)
    whole = max(rest, 0.0) + sum(max(region.effect or 0.0, 0.0) for region in regions)
    area = sum(region.area for region in regions if region.structure.allowed)
    if not whole:
        return False, {}
    return inside / whole < LEAST_INSIDE, {"allowed_share": inside / whole, "allowed_area": area}
