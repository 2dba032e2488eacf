"""What was measured of an image before a package may say anything about it: the typed outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from whyray.quality.card import Grade, Measurement

ScopeReason = Literal[
    "modality",
    "body_part",
    "view",
    "implant",
    "partial_view",
    "orientation",
    "inverted",
    "upside_down",
    "on_its_side",
    "mirrored",
    "part",
    "exposure",
    "another",
    "far",
    "anatomy",
    "unchecked",
]
"""Why nothing is said of an image, by what the reader is told; `unchecked`: what the package demands can't be measured.

The targets of a scope package bear these names, but for the first, which is the ordinary image.
"""
POSITION, DISTANCE = "likeness to ordinary images", "distance from ordinary images"
OWN_REFERENCES, ANATOMY = "distance from the package's references", "anatomy that can be"
STATED_ORIENTATION = "stated orientation"
PART_OF_GRID = "part of the grid"
_OF_THE_IMAGE = frozenset({POSITION, DISTANCE, OWN_REFERENCES, ANATOMY, PART_OF_GRID})
BATTERY = "docs/trust.md, held-out radiographs"


@dataclass(frozen=True)
class ScopeCheck:
    """What was measured of an image before a package may answer, and why it may not.

    Attributes
    ----------
    measurements
        Red where the image lies outside what the package was made for. Empty where nothing is known: neither the header
        nor the package gave anything to measure by.
    reasons
        One for each red measurement, the most telling first; empty where the package may answer.
    """

    measurements: tuple[Measurement, ...] = ()
    reasons: tuple[ScopeReason, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the package may say nothing of this image."""
        return bool(self.reasons)

    @property
    def measured(self) -> bool:
        """Whether the image itself was compared with those that the package was made for, whatever its header says."""
        return any(measurement.name in _OF_THE_IMAGE for measurement in self.measurements)


def scope_measured(scope: ScopeCheck | None) -> tuple[Measurement, ...]:
    """What a card says of the image: the measurements of its check; amber where nothing compared it with others."""
    if scope is None:
        return ()
    if scope.measured:
        return scope.measurements
    rule = "amber: the package brings nothing to compare the image with those that it was made for"
    unknown = Measurement("image like those of the package", "scope", 0.0, None, Grade.AMBER, rule, BATTERY)
    return (*scope.measurements, unknown)
