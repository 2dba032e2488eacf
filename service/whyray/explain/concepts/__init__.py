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
from whyray.explain.concepts.measures import measure_concepts, measured
from whyray.explain.concepts.post_hoc import embedding_at, surrogate_of
from whyray.explain.concepts.readings import well_known
from whyray.explain.concepts.significance import false_positives
from whyray.explain.concepts.tail import Tail, curved_layer, pooled, tail

REGISTERED = (bottleneck, post_hoc, rcv, tcav)

__all__ = [
    "KIND",
    "LEAST_AUC",
    "LEAST_R2",
    "Bottleneck",
    "Concept",
    "ConceptBank",
    "ConceptKind",
    "DirectionParameters",
    "Directions",
    "Outputs",
    "Surrogate",
    "Tail",
    "bank_of",
    "bottleneck",
    "bottleneck_of",
    "concept_head",
    "curved_layer",
    "directions_of",
    "embedding_at",
    "false_positives",
    "find_bank",
    "held",
    "measure_concepts",
    "measured",
    "pooled",
    "post_hoc",
    "rcv",
    "surrogate_of",
    "tail",
    "tcav",
    "well_known",
]
