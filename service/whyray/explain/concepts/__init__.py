"""Concepts: what a network computes on its way to an answer, in people's words."""

from whyray.explain.concepts import bottleneck, post_hoc, rcv, tcav
from whyray.explain.concepts.bank import (
    KIND,
    LEAST_AUC,
    LEAST_R2,
    Concept,
    ConceptBank,
    ConceptKind,
    Directions,
    Outputs,
    Surrogate,
    bank_of,
    find_bank,
    held,
)
from whyray.explain.concepts.bottleneck import Bottleneck, bottleneck_of, concept_head
from whyray.explain.concepts.directions import DirectionParameters, directions_of
from whyray.explain.concepts.fit import FEWEST, FEWEST_MEASURED, Examples, Recipe, fit_bank, too_few
from whyray.explain.concepts.measures import measure_concepts, measured
from whyray.explain.concepts.post_hoc import embedding_at, surrogate_of
from whyray.explain.concepts.readings import well_known
from whyray.explain.concepts.significance import false_positives
from whyray.explain.concepts.tail import Tail, curved_layer, pooled, tail

REGISTERED = (bottleneck, post_hoc, rcv, tcav)
"""Modules whose import registers methods."""

__all__ = [
    "FEWEST",
    "FEWEST_MEASURED",
    "KIND",
    "LEAST_AUC",
    "LEAST_R2",
    "REGISTERED",
    "Bottleneck",
    "Concept",
    "ConceptBank",
    "ConceptKind",
    "DirectionParameters",
    "Directions",
    "Examples",
    "Outputs",
    "Recipe",
    "Surrogate",
    "Tail",
    "bank_of",
    "bottleneck_of",
    "concept_head",
    "curved_layer",
    "directions_of",
    "embedding_at",
    "false_positives",
    "find_bank",
    "fit_bank",
    "held",
    "measure_concepts",
    "measured",
    "pooled",
    "surrogate_of",
    "tail",
    "too_few",
    "well_known",
]
