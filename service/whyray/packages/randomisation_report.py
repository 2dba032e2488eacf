"""Whether a method's maps depend on what the model learned: the part of the onboarding report that says so, typed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from whyray.base.errors import PackageError
from whyray.packages.package import Package

ORDER_KEPT = "rank correlation beside the background by share of weights randomised"
"""In a method's entry `sanity`: by stage, how far the order of the map's places stays; with `IMAGES`. Another name with
every change of how it is measured: what was measured otherwise, under another, is not believed."""
IMAGES = "images"
SIMILARITY = "SSIM by share of weights randomised"
"""In the same entry: by stage, the mean SSIM with the model's own maps, None where no shuffled network gave one, or the
method's own maps were empty."""
HALF, ALL = "50% of the weights", "100% of the weights"
"""The stages that tell: with other weights in half of the layers, or in all of them, nothing that was learned is left
of the way from the features to the answer."""
FEWEST_IMAGES = 4
"""Images below which nothing is said: reports of earlier versions, which don't tell how many, say nothing either."""
CHANGED, SAME = 0.5, 0.8
"""Rank correlations up to which a map changes with the weights, and above which it is the same without them: those of
the other checks with other weights (`whyray.quality.cases`, `whyray.quality.units`)."""


@dataclass(frozen=True)
class RandomisedMaps:
    """How far the maps of one method stay when the weights are randomised (Adebayo et al. 2018).

    Attributes
    ----------
    kept
        The lower of the mean rank correlations with half and with all of the weights randomised, -1..1: two draws, of
        which one may give such a map by chance.
    images
        How many images it is the mean of.
    of
        The method of the map that they are made of, where they are made of another.
    """

    kept: float
    images: int
    of: object = None

    @property
    def independent(self) -> bool:
        """Whether the maps are nearly the same whatever the model learned: they explain the image, not the model."""
        return self.kept > SAME


class CheckOutcome(StrEnum):
    """What the randomisation check says of a method.

    WITHHELD is told by rank correlations (`RandomisedMaps.independent`). FAILED by SSIM alone, as the check was
    published: it says nothing of whether the maps show the model, since it fails methods by a hair, and it withholds
    nothing. NOT_CHECKED: no network with all of its weights shuffled gave a map, or the method's own maps were empty.
    """

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKED = "not checked"
    WITHHELD = "maps withheld"


def check_outcomes(report: Mapping[str, Any], package: Package) -> dict[str, CheckOutcome]:
    """By method, what the randomisation check of an onboarding report says; methods that it was not put to are left
    out.

    Raises PackageError where the report is not as this version writes it.
    """
    outcomes = {}
    for method, entry in report.get("methods", {}).items():
        with _as_this_version_writes(method, package):
            outcome = _outcome(entry)
        if outcome is not None:
            outcomes[method] = outcome
    return outcomes


def _outcome(entry: Mapping[str, Any]) -> CheckOutcome | None:
    sanity = entry.get("sanity")
    if sanity is None:
        return None
    maps = randomised_maps_of(entry)
    if maps is not None and maps.independent:
        return CheckOutcome.WITHHELD
    if sanity.get(SIMILARITY, {}).get(ALL) is None:
        return CheckOutcome.NOT_CHECKED
    return CheckOutcome.PASSED if sanity["passed"] else CheckOutcome.FAILED


def randomised_maps_of(entry: Mapping[str, Any]) -> RandomisedMaps | None:
    """What a method's entry in a report says of its maps with other weights; None where of too few images.

    Raises KeyError, TypeError or ValueError where the entry holds something else there.
    """
    sanity = entry.get("sanity", {})
    if ORDER_KEPT not in sanity:
        return None
    stages = [sanity[ORDER_KEPT][stage] for stage in (HALF, ALL)]
    images, of = int(sanity[IMAGES]), entry["parameters"].get("of")
    if None in stages or images < FEWEST_IMAGES:
        return None
    return RandomisedMaps(min(map(float, stages)), images, of)


def randomised_maps_in(report: Mapping[str, Any] | None, package: Package) -> dict[str, RandomisedMaps]:
    """By method, what an onboarding report says of its maps with other weights; those of too few images are left out.

    Raises PackageError where the report holds something else there.
    """
    measured = {}
    for method, entry in {} if report is None else report.get("methods", {}).items():
        with _as_this_version_writes(method, package):
            maps = randomised_maps_of(entry)
        if maps is not None:
            measured[method] = maps
    return measured


@contextmanager
def _as_this_version_writes(method: str, package: Package) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PackageError(
            f"{package.report}: the randomisation check of {method} is not as this version writes it: {error!r}",
            advice="Onboard the package again.",
        ) from error


def independent_of_weights(known: Mapping[str, RandomisedMaps], method: str, of: object = None) -> bool:
    """Whether maps by `method`, made of maps by `of` where they are made of another, explain no model.

    By their own figure; where such maps were not measured, as the maps are that they are made of: a part of a map that
    shows the image, or its difference from others, shows no more than it does.
    """
    own = known.get(method)
    if own is not None and own.of == of:
        return own.independent
    return isinstance(of, str) and of in known and known[of].independent
