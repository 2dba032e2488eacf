"""The measured trustworthiness of explanations."""

from whyray.quality import anatomy, cases, concepts, counterfactual, language, latent, units
from whyray.quality.assess import assess, map_health
from whyray.quality.budget import Budget
from whyray.quality.card import Aspect, Grade, Measurement, QualityCard
from whyray.quality.onboard import OnboardingImage, onboard
from whyray.quality.region import salient_region
from whyray.quality.typed import Question, assess_typed, assessed_methods, assesses

ASSESSORS = (anatomy, cases, concepts, counterfactual, language, latent, units)
"""Modules whose import registers assessors of explanations that are not heatmaps."""

__all__ = [
    "ASSESSORS",
    "Aspect",
    "Budget",
    "Grade",
    "Measurement",
    "OnboardingImage",
    "QualityCard",
    "Question",
    "assess",
    "assess_typed",
    "assessed_methods",
    "assesses",
    "map_health",
    "onboard",
    "salient_region",
]
