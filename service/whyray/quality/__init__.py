"""The measured trustworthiness of explanations."""

from whyray.quality.assess import assess, map_health
from whyray.quality.budget import Budget
from whyray.quality.card import Aspect, Grade, Measurement, QualityCard
from whyray.quality.onboard import OnboardingImage, onboard
from whyray.quality.region import salient_region

__all__ = [
    "Aspect",
    "Budget",
    "Grade",
    "Measurement",
    "OnboardingImage",
    "QualityCard",
    "assess",
    "map_health",
    "onboard",
    "salient_region",
]
