"""`region-shares`: how much of a heatmap lies in each anatomical structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.errors import ExplanationError, WhyRayError
from whyray.explain.anatomy.allowed import LEAST_INSIDE, allowed_mask
from whyray.explain.anatomy.maps import map_of, speaks_for
from whyray.explain.anatomy.shares_by_region import RegionShare, RegionShares
from whyray.explain.anatomy.structures import AnatomyParameters, anatomy_of, missing_anatomy, partition, structures_for
from whyray.explain.case import Case
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.typed import Structure
from whyray.explain.types import Kind, Tier
from whyray.inference import Model, target_spec
from whyray.packages import CompanionRole

NAME = "region-shares"


class RegionSharesParameters(AnatomyParameters):
    """`of` is the heatmap's method: taken from what was made before for this image, else made now; left out, it is any
    map made before, else the package's preferred one."""

    of: str | None = None
    zones: bool = Field(default=True)


@register
class RegionSharesMethod(MethodDefaults):
    """How much of a heatmap lies in each anatomical structure (after Kohlbrenner et al. 2020, eq. 9), against its area.

    The share of a structure is the part of what speaks for the target that lies in it: of a signed map the positive
    values count, of another all. Shares and what lies outside sum to 1. Enrichment is share over area: 1 is what a map
    that knows no anatomy reaches. `flagged` where less than half lies where the target may be looked for, or less
    than its area's part.
    """

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Share of each structure"
    tier: ClassVar[Tier] = "T0"
    kind: ClassVar[Kind] = "anatomical prior"
    unit: ClassVar[str] = "share of the map"
    stage: ClassVar[int] = 1
    companion: ClassVar[CompanionRole | None] = "anatomy"
    Parameters: ClassVar[type[MethodParameters]] = RegionSharesParameters

    def cost(self, parameters: Any) -> int:  # noqa: ARG002
        """The anatomy package once, and the heatmap where none was made."""
        return 3

    def why_not(self, model: Model) -> WhyRayError | None:
        """No anatomy can be had."""
        return missing_anatomy(model, NAME)

    def explain_case(self, case: Case, parameters: MethodParameters) -> Sequence[RegionShares]:
        """One explanation a target."""
        assert isinstance(parameters, RegionSharesParameters)
        explanations = []
        for target in case.targets:
            spec = case.model.manifest.targets[target]
            structures = structures_for(case, parameters, spec, method=NAME)
            heatmap = map_of(case, target, parameters.of, method=NAME)
            weight = speaks_for(heatmap)
            if not weight.any():
                raise ExplanationError(
                    f"{NAME} of {spec.name}: nothing in the map by {heatmap.method} speaks for it",
                    advice="There is nothing to share out; the answer itself stands.",
                )
            regions = shares(weight, structures, case.context.valid)
            allowed = allowed_mask(structures, target_spec(case.model, spec.name))
            flagged, evidence = attention(weight, allowed, case.context.valid)
            outside = 1.0 - sum(region.share for region in regions)
            evidence["sum_gap"] = abs(1.0 - outside - sum(region.share for region in regions))
            explanations.append(
                RegionShares(
                    target=spec.name,
                    method=NAME,
                    parameters={
                        **parameters.model_dump(),
                        "of": heatmap.method,
                        "anatomy_from": anatomy_of(case, parameters),
                    },
                    evidence=evidence,
                    unit=self.unit,
                    regions=regions,
                    outside=max(outside, 0.0),
                    flagged=flagged,
                    of=heatmap.method,
                )
            )
        return explanations


def shares(
    weight: FloatArray, structures: Sequence[Structure], valid: BoolArray | None = None
) -> tuple[RegionShare, ...]:
    """The part of `weight` (*spatial, ≥ 0, not 0 everywhere) in each structure, largest first.

    Where structures overlap, the smallest has what is there, so that shares sum to at most 1. Area is the part of the
    image (`valid`, False on padding); weight on padding lies outside.
    """
    image = np.ones(weight.shape, bool) if valid is None else valid
    total, size = float(weight.sum(dtype=np.float64)), max(int(image.sum()), 1)
    regions = []
    for structure, own in zip(structures, partition(structures), strict=True):
        share = float(weight[own & image].sum(dtype=np.float64)) / total
        area = float((own & image).sum()) / size
        regions.append(RegionShare(structure, share, area, share / area if area else None))
    return tuple(sorted(regions, key=lambda region: -region.share))


def attention(
    weight: FloatArray, allowed: BoolArray | None, valid: BoolArray | None = None
) -> tuple[bool, dict[str, float]]:
    """Whether the target was looked for where it may not be, with the figures that say so; nothing without a prior.

    `weight` (*spatial) ≥ 0, not 0 everywhere; `allowed` (*spatial): where the target may be; `valid` False on padding.
    """
    if allowed is None:
        return False, {}
    image = np.ones(weight.shape, bool) if valid is None else valid
    inside = float(weight[allowed & image].sum(dtype=np.float64) / weight.sum(dtype=np.float64))
    area = float((allowed & image).sum()) / max(int(image.sum()), 1)
    return inside < max(LEAST_INSIDE, area), {"allowed_share": inside, "allowed_area": area}
