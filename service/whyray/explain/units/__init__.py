"""Internal representation: the units of a layer, what they carried, what they detect, what excites them."""

from whyray.explain.units import onboarding_only, report
from whyray.explain.units.artefact import LEVELS, UNITS, Units, read_units
from whyray.explain.units.dissection import LEAST_IOU, Dissection, dissect, thresholds
from whyray.explain.units.layer import (
    Contributions,
    ablated,
    ablated_together,
    contributions,
    head_gap,
    layer_named,
)
from whyray.explain.units.maximisation import Maximised, Recipe, maximise
from whyray.explain.units.report import UnitReportMethod, UnitReportParameters, strongest
from whyray.explain.units.survey import Survey, UnitImage, Wanted, survey_units

__all__ = [
    "LEAST_IOU",
    "LEVELS",
    "UNITS",
    "Contributions",
    "Dissection",
    "Maximised",
    "Recipe",
    "Survey",
    "UnitImage",
    "UnitReportMethod",
    "UnitReportParameters",
    "Units",
    "Wanted",
    "ablated",
    "ablated_together",
    "contributions",
    "dissect",
    "head_gap",
    "layer_named",
    "maximise",
    "onboarding_only",
    "read_units",
    "report",
    "strongest",
    "survey_units",
    "thresholds",
]
