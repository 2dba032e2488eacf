"""Whether text says what the structured answer says: each claim is derived, and each word written, again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from whyray.errors import ConfigError
from whyray.explain import Claim, Narrative, Sentence
from whyray.explain.language import PHRASES, Facts, NarrativePhrases, facts_of, holds, read_phrases, sentences, written
from whyray.quality.card import Grade, Measurement
from whyray.quality.typed import Question, assesses

_ALL = "green: all of them; else red"


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
    yield follows_the_answer(explanation, facts, phrases)
    yield beside_others(facts)
    yield rests_on(facts)


def claims_hold(explanation: Narrative, facts: Facts) -> Measurement:
    """The share of claims whose number the structured answer holds and whose rule is true of it."""
    claims = [claim for each in explanation.sentences for claim in each.claims]
    share = sum(holds(claim, facts.numbers) for claim in claims) / len(claims) if claims else 0.0
    grade = Grade.GREEN if share == 1.0 else Grade.RED
    rule = f"share of claims that the structured answer gives again; {_ALL}"
    return Measurement("claims re-derived", "fidelity", share, 1.0, grade, rule, "Maynez et al. 2020, section 2")


def words_follow(explanation: Narrative, facts: Facts, phrases: NarrativePhrases) -> Measurement:
    """The share of sentences that some phrase gives again, word by word, from the sentence's own claims."""
    told = explanation.sentences
    again = sum(_written_again(each, facts, phrases, explanation.target) for each in told)
    share = again / len(told) if told else 0.0
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
    worst = max((facts.numbers[f"{each}.grade"] for each in facts.shown), default=0.0)
    grade = Grade.GREEN if worst == 0 else Grade.AMBER
    rule = "worst grade of the explanations that it retells: 0 green, 1 amber; amber where one of them is"
    return Measurement("what it rests on", "robustness", worst, None, grade, rule, "WhyRay")


def flipped(facts: Facts) -> Facts:
    """The same facts with the answer on the other side of its threshold."""
    numbers = dict(facts.numbers)
    threshold = numbers.get("answer.threshold", 0.0)
    if "answer.share" in numbers:
        numbers["answer.share"] /= 2
    elif "answer.value" in numbers:
        far = 1 + abs(threshold)
        numbers["answer.value"] = threshold - far if numbers["answer.value"] >= threshold else threshold + far
    else:
        present = numbers["answer.probability"] >= threshold
        numbers["answer.probability"] = threshold / 2 if present else (1 + threshold) / 2
    return replace(facts, numbers=numbers)


def _complete(explanation: Narrative, facts: Facts) -> Measurement:
    """Nothing withheld or doubtful is passed over, and the answer itself is said."""
    said = {claim.source for each in explanation.sentences for claim in each.claims}
    wanted = {"answer.probability", "answer.value", "answer.share"} & set(facts.numbers)
    wanted |= {f"{each}.withheld" for each in facts.withheld}
    wanted |= {f"{each}.grade" for each in facts.shown}
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
