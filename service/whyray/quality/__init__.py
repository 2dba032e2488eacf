"""The measured trustworthiness of explanations."""

from whyray.quality import anatomy, cases, concepts, counterfactual, known_answers, language, latent, units
from whyray.quality.assess import assess, map_health
from whyray.quality.budget import Budget
from whyray.quality.card import QUESTIONS, Aspect, Grade, Measurement, QualityCard, worst_of
from whyray.quality.case_space import NEIGHBOURS, correlation, measured_space
from whyray.quality.cells import edge_map
from whyray.quality.learned_weights import NOT_TOLD, learned_weights_entry, weights_that_learned
from whyray.quality.randomisation import alike, order_kept, random_pair_similarity, randomised, silent_places
from whyray.quality.record import NO_RECORD, RECORD
from whyray.quality.region import salient_from, salient_region
from whyray.quality.scope import SCOPE, check_scope, odds_against
from whyray.quality.scope_check import ScopeCheck, ScopeReason
from whyray.quality.typed import Question, assess_typed, assessed_methods, assesses

ASSESSORS = (anatomy, cases, concepts, counterfactual, language, latent, units)

__all__ = [
    "NEIGHBOURS",
    "NOT_TOLD",
    "NO_RECORD",
    "QUESTIONS",
    "RECORD",
    "SCOPE",
    "Aspect",
    "Budget",
    "Grade",
    "Measurement",
    "QualityCard",
    "Question",
    "ScopeCheck",
    "ScopeReason",
    "alike",
    "anatomy",
    "assess",
    "assess_typed",
    "assessed_methods",
    "assesses",
    "cases",
    "check_scope",
    "concepts",
    "correlation",
    "counterfactual",
    "edge_map",
    "known_answers",
    "language",
    "latent",
    "learned_weights_entry",
    "map_health",
    "measured_space",
    "odds_against",
    "order_kept",
    "random_pair_similarity",
    "randomised",
    "salient_from",
    "salient_region",
    "silent_places",
    "units",
    "weights_that_learned",
    "worst_of",
]
