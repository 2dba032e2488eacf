"""The measured trustworthiness of explanations."""

from whyray.quality import anatomy, cases, concepts, counterfactual, known_answers, language, latent, units
from whyray.quality.assess import assess, map_health
from whyray.quality.budget import Budget
from whyray.quality.card import Aspect, Grade, Measurement, QualityCard
from whyray.quality.region import salient_region
from whyray.quality.scope import check_scope
from whyray.quality.scope_check import ScopeCheck, ScopeReason
from whyray.quality.typed import Question, assess_typed, assessed_methods, assesses

ASSESSORS = (anatomy, cases, concepts, counterfactual, language, latent, units)

__all__ = [
    "Aspect",
    "Budget",
    "Grade",
    "Measurement",
    "QualityCard",
    "Question",
    "ScopeCheck",
    "ScopeReason",
    "anatomy",
    "assess",
    "assess_typed",
    "assessed_methods",
    "assesses",
    "cases",
    "check_scope",
    "concepts",
    "counterfactual",
    "known_answers",
    "language",
    "latent",
    "map_health",
    "salient_region",
    "units",
]
