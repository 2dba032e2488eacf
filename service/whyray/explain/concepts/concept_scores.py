"""What explanations by concepts say: each concept's score, and the answer when one is set."""

from __future__ import annotations

from dataclasses import dataclass

from whyray.base.coded_concept import CodedConcept
from whyray.explain.typed import TypedExplanation


@dataclass(frozen=True)
class ConceptScore:
    """One concept and what it did to the answer.

    Attributes
    ----------
    name, code
        The concept.
    value
        How far it is present in this image: a probability in 0..1, or the measure in its own unit; None if unknown.
    score
        Its part in the answer, in the explanation's `unit`: positive speaks for the target.
    interval
        95 % interval of the score, where it is an estimate.
    p_value
        Corrected for multiple comparisons; None where nothing was tested.
    held_out
        How well the concept itself is known on images that it was not fitted on: AUC, accuracy, or R² by `held_out_is`.
    reliable
        Whether the concept may be relied on (held-out figure and significance as the method asks).
    class_score
        What is so of the target's class as a whole, not of this image, where the method says something of it: the share
        of reference images whose answer rises along the concept (TCAV), or the bidirectional relevance (RCV).
    """

    name: str
    score: float
    value: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    held_out: float | None = None
    held_out_is: str = "AUC"
    reliable: bool = True
    code: CodedConcept | None = None
    class_score: float | None = None


@dataclass(frozen=True)
class Intervention:
    """The answer when a concept is set to a value and the head is run again: logit and probability (or value)."""

    concept: str
    set_to: float
    logit: float
    answer: float


@dataclass(frozen=True, kw_only=True)
class ConceptScores(TypedExplanation):
    """Concepts in the order of their weight. `base` plus the sum of scores is `total` where the method is additive."""

    unit: str
    concepts: tuple[ConceptScore, ...]
    base: float | None = None
    total: float | None = None
    interventions: tuple[Intervention, ...] = ()
