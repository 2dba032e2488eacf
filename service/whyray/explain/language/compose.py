"""From facts to sentences: what is worth saying, in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from whyray.explain.language.facts import Facts
from whyray.explain.language.phrases import NarrativePhrases
from whyray.explain.language.rules import FAR, FOCAL, claims_of, matched
from whyray.explain.language.statements import Claim, Sentence

Said = tuple[str, tuple[Claim, ...]]
"""The key of a phrase, and the claims that fill it."""


def sentences(facts: Facts, phrases: NarrativePhrases, target: str) -> tuple[Sentence, ...]:
    """All that the facts say of a target, in one language."""
    return tuple(Sentence(written(key, claims, facts, phrases, target), claims) for key, claims in said(facts))


def written(key: str, claims: tuple[Claim, ...], facts: Facts, phrases: NarrativePhrases, target: str) -> str:
    """The words of one phrase with these claims; ValueError where they are not the claims that it rests on."""
    fields = matched(key, claims)
    if fields is None:
        raise ValueError(f"{key} does not rest on {[claim.source for claim in claims]}")
    return phrases.filled(key, fields, target, facts.words)


def said(facts: Facts) -> Iterator[Said]:
    """Phrases and claims in the order of a report: the answer, where, through what, how sure, what is withheld."""
    numbers = facts.numbers
    yield _answer(numbers)
    yield from _place(facts)
    for method in facts.shown:
        yield from _about(method, numbers)
    for method in facts.shown:
        yield _say("grade_green" if numbers[f"{method}.grade"] == 0 else "grade_amber", numbers, method=method)
    for method in facts.withheld:
        yield _say("withheld", numbers, method=method)
    yield "closing", ()


def _say(key: str, numbers: Mapping[str, float], **parts: str) -> Said:
    return key, claims_of(key, numbers, **parts)


def _answer(numbers: Mapping[str, float]) -> Said:
    if "answer.share" in numbers:
        return _say("segment_found", numbers)
    for name, keys in (
        ("probability", ("answer_present", "answer_absent")),
        ("value", ("value_reached", "value_below")),
    ):
        value = numbers.get(f"answer.{name}")
        if value is not None:
            return _say(keys[0] if value >= numbers["answer.threshold"] else keys[1], numbers)
    raise ValueError("the facts hold no answer")


def _place(facts: Facts) -> Iterator[Said]:
    """Where the map lies: by anatomy where it is known, else by the ninths of the image."""
    numbers = facts.numbers
    by_anatomy = next((method for method in facts.shown if _parts(numbers, f"{method}.share.")), None)
    if by_anatomy is not None:
        structure = _largest(numbers, f"{by_anatomy}.share.")
        yield _say("map_structure", numbers, method=by_anatomy, structure=structure)
        if numbers.get(f"{by_anatomy}.flagged") == 1:
            yield _say("outside_allowed", numbers, method=by_anatomy)
    method = next((method for method in facts.shown if _parts(numbers, f"{method}.zone.")), None)
    if method is None:
        return
    zone = _largest(numbers, f"{method}.zone.")
    side = next((path.removeprefix("answer.side.") for path in numbers if path.startswith("answer.side.")), None)
    if numbers[f"{method}.zone.{zone}"] < FOCAL:
        if by_anatomy is None:
            yield _say("map_spread", numbers, method=method, zone=zone)
    elif side is None:
        yield _say("map_zone", numbers, method=method, zone=zone)
    else:
        yield _say("map_zone_patient", numbers, method=method, zone=zone, side=side)


def _about(method: str, numbers: Mapping[str, float]) -> Iterator[Said]:
    scores = _parts(numbers, f"{method}.score.")
    if scores and max(scores.values()) > 0:
        yield _say("concept_for", numbers, method=method, concept=max(scores, key=lambda concept: scores[concept]))
    if scores and min(scores.values()) < 0:
        yield _say("concept_against", numbers, method=method, concept=min(scores, key=lambda concept: scores[concept]))
    if numbers.get(f"{method}.known", 0) > 0:
        yield _say("cases_known", numbers, method=method)
    prototypes = _parts(numbers, f"{method}.contribution.")
    if prototypes and max(prototypes.values()) > 0:
        yield _say("prototype", numbers, method=method, label=_largest(numbers, f"{method}.contribution."))
    units = _parts(numbers, f"{method}.unit.")
    if units:
        unit = max(units, key=lambda name: abs(units[name]))
        concepts = list(_parts(numbers, f"{method}.detects."))
        if concepts:
            yield _say("unit_concept", numbers, method=method, unit=unit, concept=concepts[0])
        else:
            yield _say("unit_unknown", numbers, method=method, unit=unit)
    flipped = numbers.get(f"{method}.flipped")
    if flipped is not None and "answer.probability" in numbers:
        yield _say("counterfactual_flips" if flipped == 1 else "counterfactual_stays", numbers, method=method)
    percentile = numbers.get(f"{method}.percentile")
    if percentile is not None:
        yield _say("case_far" if percentile >= FAR else "case_near", numbers, method=method)


def _parts(numbers: Mapping[str, float], prefix: str) -> dict[str, float]:
    return {path.removeprefix(prefix): value for path, value in numbers.items() if path.startswith(prefix)}


def _largest(numbers: Mapping[str, float], prefix: str) -> str:
    parts = _parts(numbers, prefix)
    return max(parts, key=lambda name: parts[name])
