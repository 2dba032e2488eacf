"""Internal representation: the units of a layer, what they carried, what they detect, what excites them."""

from whyray.explain.units import onboarding_only, report
from whyray.explain.units.artefact import LEVELS, UNITS, Units, read_units
from whyray.explain.units.layer import (
    Contributions,
    ablated,
    ablated_together,
    activations,
    contributions,
    head_gap,
    layer_named,
    pooled,
)
from whyray.explain.units.report import UnitReportMethod, UnitReportParameters, strongest

__all__ = [
    "LEVELS",
    "UNITS",
    "Contributions",
    "UnitReportMethod",
    "UnitReportParameters",
    "Units",
    "ablated",
    "ablated_together",
    "activations",
    "contributions",
    "head_gap",
    "layer_named",
    "onboarding_only",
    "pooled",
    "read_units",
    "report",
    "strongest",
]
