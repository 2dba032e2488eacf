"""Case-based explanations: similar references, and prototypes that a package answers by."""

from whyray.explain.cases.prototypes import PROTOTYPES, Prototypes, prototype_head, similarity_maps
from whyray.explain.cases.search import Metric, Search, Weighting, nearest, neighbours_of_all, search_for
from whyray.explain.cases.similar_cases import SimilarCases, class_of, says

__all__ = [
    "PROTOTYPES",
    "Metric",
    "Prototypes",
    "Search",
    "SimilarCases",
    "Weighting",
    "class_of",
    "nearest",
    "neighbours_of_all",
    "prototype_head",
    "says",
    "search_for",
    "similarity_maps",
]
