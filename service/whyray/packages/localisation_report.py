"""How well a package's maps point at what readers marked: the part of the onboarding report that says so, typed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whyray.base.errors import PackageError
from whyray.packages.package import Package

CENTRE, USUAL_PLACE, BRIGHTNESS = "centre", "usual place", "lung brightness"
"""Baselines that know no model: the middle of the image, where other patients' boxes lie, and how bright the lungs
are."""
HIT_RATE, IOU, AUPRC = "hit rate", "IoU", "AUPRC"
FEWEST_BOXES = 20
"""Marked findings below which maps are neither preferred nor graded by them: intervals are wider than differences."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(_Frozen):
    """A mean and its 95 % interval by bootstrap over patients."""

    value: float
    low: float
    high: float


class MapFigures(_Frozen):
    """What one way of making maps reaches on marked findings.

    Attributes
    ----------
    hits
        Findings whose boxes hold the map's largest value; no tolerance around them (Zhang et al. 2018, eq. 1, without
        their margin).
    hit_rate
        The same as a share, 0..1.
    iou
        Mean intersection over union of the boxes and the places above Otsu's threshold (1979) of what speaks for the
        target, 0..1.
    auprc
        Mean area under precision over recall of places ranked by the map, 0..1.
    """

    hits: int
    hit_rate: Figure
    iou: Figure
    auprc: Figure


class Lead(_Frozen):
    """The difference to the best baseline, finding by finding."""

    baseline: str
    difference: Figure

    @property
    def above(self) -> bool:
        """Whether all of the interval lies above 0."""
        return self.difference.low > 0


def _blind(centre: int, usual_place: int | None, lung_brightness: int | None) -> dict[str, int]:
    measured = {
        "the centre of the image": centre,
        "the place where most boxes of others lie": usual_place,
        "the brightest place in the lungs": lung_brightness,
    }
    return {name: hits for name, hits in measured.items() if hits is not None}


class TargetHits(_Frozen):
    """Hits of one target's marked findings, and those of blind guesses; None where a guess was not measured."""

    boxes: int
    hits: int
    centre_prior_hits: int
    usual_place_hits: int | None = None
    lung_brightness_hits: int | None = None

    @property
    def blind_hits(self) -> dict[str, int]:
        """How many of them are hit without knowing the model, by the place looked at, in words, where measured."""
        return _blind(self.centre_prior_hits, self.usual_place_hits, self.lung_brightness_hits)


class MethodLocalisation(_Frozen):
    """What the maps of one method reach, beside maps that know no model.

    Attributes
    ----------
    hits, boxes
        In how many of so many marked findings the map's strongest place lies in a box. A finding is one target of one
        image; it may be outlined by several boxes and counts once.
    centre_prior_hits
        In how many the middle of the image does.
    usual_place_hits
        In how many the place does where most boxes of the target lie in other patients.
    lung_brightness_hits
        In how many the brightest place in the lungs does; None where nothing finds the lungs.
    refused
        Marked findings of which the method made no map; they count as missed.
    complete
        Whether all marked findings were measured; of a dear method a part of them is.
    held_out
        Whether maps are known to be of weights that had not seen the patient. False where nobody told.
    images, patients
        How many the findings come from. Where nobody says whose an image is, it counts as a patient of its own.
    parameters
        What the method was given beside its defaults.
    maps, baselines
        All figures, of the maps and of each baseline by name.
    ahead
        By metric: the difference to the best baseline.
    targets
        Hits by target.
    """

    hits: int
    boxes: int
    centre_prior_hits: int
    usual_place_hits: int | None = None
    lung_brightness_hits: int | None = None
    refused: int = 0
    complete: bool = True
    held_out: bool = False
    images: int
    patients: int
    parameters: dict[str, Any] = Field(default_factory=dict)
    maps: MapFigures
    baselines: dict[str, MapFigures]
    ahead: dict[str, Lead]
    targets: dict[str, TargetHits]

    @property
    def words(self) -> str:
        """One sentence for people: what was hit, and what a map that knows nothing hits."""
        (first, its_hits), *others = self.blind_hits.items()
        blind = ", ".join([f"{first} hits {its_hits}", *(f"{name} {hits}" for name, hits in others)])
        whose = " of patients it had not learned from" if self.held_out else ""
        return f"maps of this package hit {self.hits} of {self.boxes} boxed findings{whose}; {blind}"

    @property
    def blind_hits(self) -> dict[str, int]:
        """How many findings are hit without knowing the model, by the place looked at, in words, where measured."""
        return _blind(self.centre_prior_hits, self.usual_place_hits, self.lung_brightness_hits)

    def hits_of(self, target: str) -> TargetHits | None:
        """The hits of one target; None where none of its findings was marked, or not all guesses are known for it.

        Reports of earlier versions know only the centre's hits by target: enough where all marks are of this one.
        """
        own = self.targets.get(target)
        if own is None or own.blind_hits.keys() >= self.blind_hits.keys():
            return own
        if len(self.targets) > 1:
            return None
        return TargetHits(
            boxes=self.boxes,
            hits=self.hits,
            centre_prior_hits=self.centre_prior_hits,
            usual_place_hits=self.usual_place_hits,
            lung_brightness_hits=self.lung_brightness_hits,
        )


def localisation_in(report: Mapping[str, Any] | None, package: Package) -> dict[str, MethodLocalisation]:
    """By method, what an onboarding report says of its maps; empty where nothing was measured.

    Raises PackageError where the report holds something else there.
    """
    measured = {}
    for method, entry in {} if report is None else report.get("methods", {}).items():
        if "localisation" not in entry:
            continue
        try:
            measured[method] = MethodLocalisation.model_validate(entry["localisation"])
        except ValidationError as error:
            raise PackageError(
                f"{package.report}: localisation of {method}: {error.error_count()} fields are not as this version "
                "writes them",
                advice="Onboard the package again.",
            ) from error
    return measured


def best_first(measured: Mapping[str, MethodLocalisation]) -> list[str]:
    """Methods that were measured on all of at least 20 marked findings: by hits, then AUPRC, then name."""
    fit = {
        name: localisation
        for name, localisation in measured.items()
        if localisation.complete and localisation.boxes >= FEWEST_BOXES
    }
    return sorted(fit, key=lambda name: (-fit[name].hits, -fit[name].maps.auprc.value, name))


def why_none_is_best(measured: Mapping[str, MethodLocalisation], independent: Collection[str]) -> str:
    """Why no method of some that were measured is preferred by what its maps reach.

    `independent`: methods that are passed over, since their maps don't depend on the weights.
    """
    most = max(localisation.boxes for localisation in measured.values())
    complete = best_first(measured)
    if most < FEWEST_BOXES:
        return f"{most} boxed findings, fewer than {FEWEST_BOXES}, are too few to tell which map is right"
    if not complete:
        return f"no method was measured on all of the boxed findings, {most} at most"
    if all(name in independent for name in complete):
        return f"{most} boxed findings, but maps by all methods that were measured don't depend on the weights"
    return f"{most} boxed findings, but no method that was measured can be given and depends on the weights"
