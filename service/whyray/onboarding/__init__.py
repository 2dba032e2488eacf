"""What is checked, measured or fitted once for a package, before any study is answered with it."""

from whyray.onboarding.activation_maximisation import Maximised, Recipe, maximise
from whyray.onboarding.check import Finding, PackageCheck, check_package, checked_model, checked_package
from whyray.onboarding.concept_fitting import FEWEST_MEASURED, ConceptRecipe, Examples, fit_bank, too_few
from whyray.onboarding.latent_space_fitting import (
    FEWEST,
    Embedded,
    as_bytes,
    embed,
    index_arrays,
    plane_details,
    thumbnail,
    without_repeats,
)
from whyray.onboarding.network_dissection import LEAST_IOU, Dissection, dissect, thresholds
from whyray.onboarding.onboard import onboard
from whyray.onboarding.questions import OnboardingImage
from whyray.onboarding.unit_survey import UnitImage, UnitSurvey, UnitSurveyOptions, survey_units

__all__ = [
    "FEWEST",
    "FEWEST_MEASURED",
    "LEAST_IOU",
    "ConceptRecipe",
    "Dissection",
    "Embedded",
    "Examples",
    "Finding",
    "Maximised",
    "OnboardingImage",
    "PackageCheck",
    "Recipe",
    "UnitImage",
    "UnitSurvey",
    "UnitSurveyOptions",
    "as_bytes",
    "check_package",
    "checked_model",
    "checked_package",
    "dissect",
    "embed",
    "fit_bank",
    "index_arrays",
    "maximise",
    "onboard",
    "plane_details",
    "survey_units",
    "thresholds",
    "thumbnail",
    "too_few",
    "without_repeats",
]
