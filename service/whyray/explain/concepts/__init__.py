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
from whyray.explain.concepts.layer_to_logits import LayerToLogits, curved_layer, layer_to_logits, pooled
from whyray.explain.concepts.linear import folds, held_out, resampled, ridge
from whyray.explain.concepts.measures import measure_concepts, measured
from whyray.explain.concepts.post_hoc import embedding_at, surrogate_of
from whyray.explain.concepts.readings import calibrated, permuted, well_known
from whyray.explain.concepts.significance import false_positives

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
    "LayerToLogits",
    "Outputs",
    "Surrogate",
    "bank_of",
    "bottleneck",
    "bottleneck_of",
    "calibrated",
    "concept_head",
    "curved_layer",
    "directions_of",
    "embedding_at",
    "false_positives",
    "find_bank",
    "folds",
    "held",
    "held_out",
    "layer_to_logits",
    "measure_concepts",
    "measured",
    "permuted",
    "pooled",
    "post_hoc",
    "rcv",
    "resampled",
    "ridge",
    "surrogate_of",
    "tcav",
    "well_known",
]
