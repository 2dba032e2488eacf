"""What explanations by anatomy say: each structure's part in the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from whyray.explain.typed import Structure, TypedExplanation


@dataclass(frozen=True)
class RegionShare:
    """One structure's part in the answer.

    `share` is its part of the whole (of the attribution, or of the effect), `area` its part of the image, `enrichment`
    the quotient of both; `effect` is in the explanation's unit, where the method measures one.
    """

    structure: Structure
    share: float
    area: float
    enrichment: float | None = None
    effect: float | None = None


@dataclass(frozen=True, kw_only=True)
class RegionShares(TypedExplanation):
    """Attribution by anatomy. `outside` is the share outside all structures; `flagged` says that the target was looked
    for where it may not be; `of` names the heatmap's method where shares are those of a heatmap.
    """

    unit: str
    regions: tuple[RegionShare, ...]
    outside: float
    flagged: bool = False
    of: str | None = None
    base: float | None = None
    total: float | None = None

    @property
    def structures(self) -> tuple[Structure, ...]:
        """All of them."""
        return tuple(region.structure for region in self.regions)

    @property
    def drift_numbers(self) -> Mapping[str, float]:
        """How much of the answer comes from outside of all structures."""
        return {"outside-anatomy": self.outside}
