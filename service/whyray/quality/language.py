"""Whether text says what the structured answer says: each claim is derived, and each word written, again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from whyray.base.errors import ConfigError
from whyray.explain import Case, Claim, Narrative, Sentence
from whyray.explain.language import (
    PHRASES,
    Facts,
    NarrativePhrases,
    answers_of,
    caption_of,
    claims_in,
    companion,
    facts_of,
    holds,
    read_phrases,
    sentences,
    written,
)
from whyray.quality.card import Grade, Measurement, largest_or_nan
from whyray.quality.typed import Question, assesses

_ALL = "green: all of them; else red"
AGREEMENT_GREEN, AGREEMENT_RED = 0.9, 0.5
EMPTY = (0.0, 0.5, 1.0)
"""Brightness of images that show nothing."""


@assesses("narrative")
def narrative(explanation: Narrative, question: Question) -> Iterator[Measurement]:
    """Measurements of a narrative. No forward pass."""
    facts = facts_of(question.case)
    try:
        phrases = read_phrases(explanation.language, question.case.context.phrases)
    except ConfigError as error:
        rule = f"red: {error.message}"
        yield Measurement("claims re-derived", "fidelity", 0.0, 1.0, Grade.RED, rule, "WhyRay")
        return
    yield claims_hold(explanation, facts)
    yield words_follow(explanation, facts, phrases)
    yield _complete(explanation, facts)
    if "answer.share" not in facts.numbers:  # a segment that is not there is not told of at all
        yield follows_the_answer(explanation, facts, phrases)
    yield beside_others(facts)
    yield rests_on(facts)


@assesses("captioner")
def captioner(explanation: Narrative, question: Question) -> Iterator[Measurement]:
    """Measurements of a caption. The captioner runs again, on the image and on empty ones."""
    case = question.case
    facts = facts_of(case)
    numbers = answers_of(case)
    yield claims_hold(explanation, replace(facts, numbers=numbers))
    yield _quoted(explanation, case, numbers)
    yield _agreement(explanation, case, numbers)
    yield _sees_the_image(explanation, case)
    yield beside_others(facts)


def claims_hold(explanation: Narrative, facts: Facts) -> Measurement:
    """The share of claims whose number the structured answer holds and whose rule is true of it."""
    claims = [claim for sentence in explanation.sentences for claim in sentence.claims]
    share = sum(holds(claim, facts.numbers) for claim in claims) / len(claims) if claims else 0.0
    grade = Grade.GREEN if share == 1.0 else Grade.RED
    rule = f"share of claims that the structured answer gives again; {_ALL}"
    return Measurement("claims re-derived", "fidelity", share, 1.0, grade, rule, "Maynez et al. 2020, section 2")


def words_follow(explanation: Narrative, facts: Facts, phrases: NarrativePhrases) -> Measurement:
    """The share of sentences that some phrase gives again, word by word, from the sentence's own claims."""
    sentences = explanation.sentences
    again = sum(_written_again(sentence, facts, phrases, explanation.target) for sentence in sentences)
    share = again / len(sentences) if sentences else 0.0
    grade = Grade.GREEN if share == 1.0 else Grade.RED
    rule = f"share of sentences that follow from their claims word by word; {_ALL}"
    return Measurement("words re-derived", "fidelity", share, 1.0, grade, rule, "WhyRay")


def follows_the_answer(explanation: Narrative, facts: Facts, phrases: NarrativePhrases) -> Measurement:
    """Whether another answer would have been told otherwise."""
    differs = sentences(flipped(facts), phrases, explanation.target)[0].text != explanation.sentences[0].text
    grade = Grade.GREEN if differs else Grade.RED
    rule = "1: the first sentence changes when the answer is taken across its threshold; red otherwise"
    return Measurement("text follows the answer", "sanity", float(differs), None, grade, rule, "Adebayo et al. 2018")


def beside_others(facts: Facts) -> Measurement:
    """Whether anything else is shown of this target: never text alone."""
    grade = Grade.GREEN if facts.shown else Grade.RED
    rule = "other explanations of this answer that are shown; red: none, and text alone is never sent"
    return Measurement("beside other explanations", "fidelity", float(len(facts.shown)), None, grade, rule, "WhyRay")


def rests_on(facts: Facts) -> Measurement:
    """Text is no better than what it retells."""
    worst = largest_or_nan(facts.numbers[f"{explained}.grade"] for explained in facts.shown)
    grade = Grade.GREEN if worst == 0 else Grade.AMBER
    rule = "worst grade of the explanations that it retells: 0 green, 1 amber; amber where one of them is"
    if not facts.shown:
        worst, rule = 0.0, "amber: there are none that it retells"
    return Measurement("what it rests on", "fidelity", worst, None, grade, rule, "WhyRay")


def flipped(facts: Facts) -> Facts:
    """The same facts with the answer, a probability or a value, on the other side of its threshold."""
    numbers = dict(facts.numbers)
    threshold = numbers.get("answer.threshold", 0.0)
    if "answer.value" in numbers:
        far = 1 + abs(threshold)
        numbers["answer.value"] = threshold - far if numbers["answer.value"] >= threshold else threshold + far
    else:
        present = numbers["answer.probability"] >= threshold
        numbers["answer.probability"] = threshold / 2 if present else (1 + threshold) / 2
    return replace(facts, numbers=numbers)


def _quoted(explanation: Narrative, case: Case, numbers: Mapping[str, float]) -> Measurement:
    """Every sentence is one that the captioner writes again, quoted as it is, with the claims that its words make."""
    writer = companion(case.model, str(explanation.parameters["captioner"]))
    phrases = read_phrases(explanation.language, case.context.phrases)
    again = {
        phrases.caption.format(words=sentence): claims_in(sentence, case.model, writer.spec, numbers)
        for sentence in caption_of(case, writer).sentences
    }
    sentences = explanation.sentences
    share = (
        sum(again.get(sentence.text) == sentence.claims for sentence in sentences) / len(sentences)
        if sentences
        else 0.0
    )
    grade = Grade.GREEN if share == 1.0 else Grade.RED
    rule = f"share of sentences that the captioner writes again, and whose words make these claims; {_ALL}"
    return Measurement("words re-derived", "fidelity", share, 1.0, grade, rule, "WhyRay", 1)


def _agreement(explanation: Narrative, case: Case, numbers: Mapping[str, float]) -> Measurement:
    """Of all that the captioner said of findings, how much is what the model answers."""
    writer = companion(case.model, str(explanation.parameters["captioner"]))
    written_of = caption_of(case, writer).sentences
    claims = [claim for sentence in written_of for claim in claims_in(sentence, case.model, writer.spec, numbers)]
    share = sum(holds(claim, numbers) for claim in claims) / len(claims) if claims else 0.0
    grade = Grade.GREEN if share >= AGREEMENT_GREEN else Grade.AMBER if share >= AGREEMENT_RED else Grade.RED
    rule = (
        "share of the captioner's claims about findings that the model's answers bear out, withheld ones included; "
        f"green from {AGREEMENT_GREEN:g}, red below {AGREEMENT_RED:g}"
    )
    return Measurement(
        "agreement with the answers", "fidelity", share, None, grade, rule, "Maynez et al. 2020, section 2"
    )


def _sees_the_image(explanation: Narrative, case: Case) -> Measurement:
    """Whether the words come from this image: of images that show nothing it must write something else."""
    writer = companion(case.model, str(explanation.parameters["captioner"]))
    own, shape = caption_of(case, writer).text, writer.model.spatial_shape
    differs = [writer.caption(np.full(shape, level, np.float32)).text != own for level in EMPTY]
    share = sum(differs) / len(differs)
    grade = Grade.GREEN if any(differs) else Grade.RED
    rule = "share of black, grey and white images of which the captioner writes something else; red: none"
    return Measurement("words follow the image", "sanity", share, None, grade, rule, "Adebayo et al. 2018", len(EMPTY))


def _complete(explanation: Narrative, facts: Facts) -> Measurement:
    """Nothing withheld or doubtful is passed over, and the answer itself is said."""
    said = {claim.source for sentence in explanation.sentences for claim in sentence.claims}
    wanted = {"answer.probability", "answer.value", "answer.share"} & set(facts.numbers)
    wanted |= {f"{explained}.withheld" for explained in facts.withheld}
    wanted |= {f"{explained}.grade" for explained in facts.shown}
    share = len(wanted & said) / len(wanted)
    grade = Grade.GREEN if share == 1.0 else Grade.RED
    rule = f"of the answer, the grades and what is withheld, how much is said; {_ALL}"
    return Measurement("nothing passed over", "fidelity", share, 1.0, grade, rule, "WhyRay")


def _written_again(sentence: Sentence, facts: Facts, phrases: NarrativePhrases, target: str) -> bool:
    return any(_writes(key, sentence, sentence.claims, facts, phrases, target) for key in PHRASES)


def _writes(
    key: str, sentence: Sentence, claims: tuple[Claim, ...], facts: Facts, phrases: NarrativePhrases, target: str
) -> bool:
    try:
        return written(key, claims, facts, phrases, target) == sentence.text
    except (ValueError, KeyError):
        return False
