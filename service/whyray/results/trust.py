"""How far an explanation can be trusted, as a radiologist reads it: a level, and at most one sentence why.

The only place that turns a quality card into such words; figures and metrics stand in the report in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from whyray.explain import Agreement, method_title
from whyray.quality import NO_RECORD, QUESTIONS, RECORD, Grade, QualityCard
from whyray.results.trust_words import TrustWords
from whyray.results.wording import Wording


class TrustLevel(StrEnum):
    """The three levels that people see, of an explanation and never of a finding."""

    RELIABLE = "reliable"
    CAUTION = "caution"
    NOT_SHOWN = "not_shown"


SAME_PLACES, PARTLY_SAME = 0.5, 0.25
"""Mean overlaps of the strongest tenths of maps from which on they point at the same places, or partly the same; by
chance it is 0.1. Ours: no study gives them, and nothing is decided by them."""
_LEVELS = {Grade.GREEN: TrustLevel.RELIABLE, Grade.AMBER: TrustLevel.CAUTION, Grade.RED: TrustLevel.NOT_SHOWN}


@dataclass(frozen=True)
class Trust:
    """How far an explanation can be trusted, in the words of a language.

    Attributes
    ----------
    level
        For colours and icons.
    name
        The level in words: "use with caution".
    badge
        What the badge of a page says: "Explanation: use with caution".
    sentence
        One whole sentence why ("Use with caution: …"); None where there is nothing to say.
    record
        How many of radiologists' marks such maps of the package met before; None where nobody marked any for them.
    """

    level: TrustLevel
    name: str
    badge: str
    sentence: str | None
    record: str | None = None


class Measured(Protocol):
    """One measurement, of a card or as the catalog keeps it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def aspect(self) -> str: ...  # noqa: D102
    @property
    def value(self) -> float | None: ...  # noqa: D102
    @property
    def baseline(self) -> float | None: ...  # noqa: D102
    @property
    def grade(self) -> str: ...  # noqa: D102
    @property
    def of(self) -> int | None: ...  # noqa: D102


def trust_in(card: QualityCard, wording: Wording) -> Trust:
    """The level of a card and at most one sentence why: the worst of what failed, in the language of `wording`."""
    return trust_of(card.grade, card.measurements, wording.trust)


def trust_of(grade: str, measurements: Sequence[Measured], words: TrustWords) -> Trust:
    """As `trust_in`, of a card as the catalog keeps it too (`whyray.base.finding_record.CardRecord`)."""
    level = _LEVELS[Grade(grade)]
    name: str = getattr(words.levels, level.value)
    badge = words.badge.format(level=name)
    record = _record(measurements, words)
    if level is TrustLevel.RELIABLE:
        return Trust(level, name, badge, record, record)
    because: str = getattr(words.because, _worst_reason(grade, measurements))
    sentence = words.sentence.format(level=name[:1].upper() + name[1:], because=because)
    return Trust(level, name, badge, sentence, record)


def agreement_in(agreement: Agreement, wording: Wording) -> str:
    """Whether the maps of one finding point at the same places, in a sentence; the number stands beside it."""
    words = wording.trust.agreement
    sentence = (
        words.same
        if agreement.value >= SAME_PLACES
        else words.partly
        if agreement.value >= PARTLY_SAME
        else words.different
    )
    return sentence.format(methods=wording.listed(method_title_in(method, wording) for method in agreement.methods))


def method_title_in(method: str, wording: Wording) -> str:
    """What a method is called for people, in a language: the title that it gives itself where none is written."""
    return wording.method_titles.get(method) or method_title(method)


def _record(measurements: Sequence[Measured], words: TrustWords) -> str | None:
    for measured in measurements:
        if measured.name == RECORD and None not in (measured.value, measured.baseline, measured.of):
            marks = measured.of or 0
            hits, guess = (round((share or 0.0) * marks) for share in (measured.value, measured.baseline))
            return words.record.format(hits=hits, marks=marks, guess=guess)
    return None


def _worst_reason(grade: str, measurements: Sequence[Measured]) -> str:
    """The name in TrustReasons of what decided the grade.

    What was measured and failed is told before what nobody could measure, the image before the place before the model:
    of an image that the model was not made for, the rest says nothing.
    """
    deciding = [measured for measured in measurements if measured.grade == grade and measured.aspect in _TOLD_FIRST]
    if not deciding:
        return "not_measured"
    return _reason(min(deciding, key=lambda measured: (_reason(measured) in _NOT_KNOWN, _TOLD_FIRST[measured.aspect])))


def _reason(measured: Measured) -> str:
    shown = measured.grade != Grade.RED
    if measured.name == NO_RECORD and measured.value:
        return "few_marks"
    said = REASONS.get(measured.name) or _BY_ASPECT.get(measured.aspect, "unfaithful")
    return said if isinstance(said, str) else said[0] if shown else said[1]


_QUESTIONS = {"image": 0, "place": 1, "model": 2}
_TOLD_FIRST: Mapping[str, int] = {
    aspect: _QUESTIONS[question] for question, aspects in QUESTIONS.items() for aspect in aspects
}
_NOT_KNOWN = {"image_unknown", "no_marks", "few_marks", "not_repeated"}
Reason = str | tuple[str, str]
"""A name in TrustReasons; or two, where the explanation is shown and where it isn't."""
_BY_ASPECT: Mapping[str, Reason] = {
    "scope": ("image_partly_unlike", "image_unlike"),
    "case": ("image_partly_unlike", "image_unlike"),
    "anatomy": ("partly_outside", "outside"),
    "record": ("no_marks", "worse_than_guess"),
}
"""What is said of a measurement that has no entry in REASONS: those of methods from other packages."""
REASONS: Mapping[str, Reason] = {
    # the image
    "likeness to ordinary images": ("image_partly_unlike", "image_unlike"),
    "distance from ordinary images": ("image_partly_unlike", "image_unlike"),
    "distance from the package's references": ("image_partly_unlike", "image_unlike"),
    "distance from onboarding images": ("image_partly_unlike", "image_unlike"),
    "distance from the references": ("image_partly_unlike", "image_unlike"),
    "anatomy that can be": ("organs_partly_odd", "organs_not_found"),
    "stated orientation": "organs_not_found",
    "anatomy found": ("organs_partly_odd", "organs_not_found"),
    "part of the grid": ("image_partly_unlike", "image_unlike"),
    "image like those of the package": "image_unknown",
    # the place
    "share inside anatomy": ("partly_outside", "outside"),
    "strongest place inside anatomy": "peak_outside",
    "change inside anatomy": "changed_outside",
    "answer against its threshold": ("hardly_seen", "not_seen"),
    NO_RECORD: "no_marks",
    RECORD: ("no_better_than_guess", "worse_than_guess"),
    # the map and the model
    "map health": "nothing_highlighted",
    "insertion - deletion AUC": "highlighted_not_used",
    "deletion AUC": "highlighted_not_used",
    "insertion AUC": "highlighted_not_used",
    "map tells the place": "highlighted_not_used",
    "effect of the first structure": "named_not_used",
    "units needed": "named_not_used",
    "kept by biases": "without_place",
    "completeness gap": "does_not_add_up",
    "conservation gap": "does_not_add_up",
    "efficiency gap": "does_not_add_up",
    "additivity gap": "does_not_add_up",
    "sum of shares": "does_not_add_up",
    "sum of contributions": "does_not_add_up",
    "contributions add up": "does_not_add_up",
    "maximum of maps": "calculated_otherwise",
    "contributions told again": "calculated_otherwise",
    "numbers re-derived": "calculated_otherwise",
    "answers re-derived": "calculated_otherwise",
    "engine parity": "calculated_otherwise",
    "head parity": "calculated_otherwise",
    "scores are the surrogate's": "calculated_otherwise",
    "answers as when it was onboarded": "model_changed",
    "answers that differ between images": "answers_all_alike",
    "weights that learned nothing": "weights_random",
    "changes with the weights": ("partly_same_without_training", "same_without_training"),
    "map with randomised weights": ("partly_same_without_training", "same_without_training"),
    "neighbours with randomised weights": ("partly_same_without_training", "same_without_training"),
    "neighbours with the head's weights shuffled": ("partly_same_without_training", "same_without_training"),
    "target-swap similarity": "same_for_another",
    "made again": "not_reproduced",
    "passes to make it again": "not_repeated",
    "told again": "not_reproduced",
    "stability under noise": "moved",
    "stability under 1-pixel shift": "moved",
    "same units under noise": "varies",
    "repeatability": "varies",
    "sampling error": "varies",
    "sparseness": "unfaithful",
    "entropy": "unfaithful",
    # cases
    "self-retrieval": "search_fails",
    "neighbours foretell the answer": "cases_say_little",
    "nearest similarity": "cases_not_similar",
    "neighbours answered alike": "cases_answered_otherwise",
    # concepts
    "interventions follow scores": "concepts_rough",
    "surrogate agreement": "concepts_rough",
    "surrogate's error on this image": "concepts_rough",
    "derivatives against differences": "concepts_rough",
    "shuffled concepts are worse": "concepts_by_chance",
    "random concepts are worse": "concepts_by_chance",
    "random vectors found": "concepts_by_chance",
    "concepts found": "concepts_none",
    "weight on well-known concepts": "concepts_ill_known",
    # counterfactuals
    "autoencoder fidelity": "redrawn_judged_otherwise",
    "threshold kept": "redrawn_judged_otherwise",
    "validity": "answer_not_turned",
    "change against random": "any_change_does",
    "difference carries over": "redrawn_judged_otherwise",
    "other fillings": "varies",
    "no region too many": "any_change_does",
    "proximity": "redrawn_unreal",
    "sparsity": "redrawn_unreal",
    "realism": "redrawn_unreal",
    "changed picture: distance from onboarding images": "redrawn_unreal",
    # language
    "claims re-derived": "text_deviates",
    "words re-derived": "text_deviates",
    "nothing passed over": "text_deviates",
    "text follows the answer": "text_deviates",
    "beside other explanations": "text_alone",
    "what it rests on": "text_rests_on_doubt",
    "agreement with the answers": "text_disagrees",
    "words follow the image": "text_without_image",
    # latent space and units
    "outliers told apart": "unusual_not_told",
    "trustworthiness": "plot_rough",
    "own neighbourhood on the plane": "plot_rough",
    "steadiness of the percentile": "varies",
    "units that are known": "units_unknown",
}
"""What each measurement means to a reader where it is not as good as it should be."""
