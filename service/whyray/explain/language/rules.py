"""What each phrase of a narrative claims: from which numbers it follows, by which rules, and how these are written.

A sentence is nothing but a phrase filled from its claims; so whoever knows the claims can write it again, word by word,
and whoever knows the structured answer can check the claims.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whyray.explain.language.statements import Claim

FOCAL = 1 / 3
"""A map has a place where one ninth of the image holds at least so large a share of it."""
FAR = 95.0
"""Percentile from which a case is said to be unlike the references."""
TOLD = "told"
"""The rule of a number that is only quoted."""


@dataclass(frozen=True)
class Need:
    """One claim that a phrase rests on.

    `source` is a pattern: words in braces match a part of the path and give the phrase a field of that name. `rules`
    must all be claimed of it; words in braces stand for what the pattern matched. `field` is the phrase's field that
    quotes the number, written as `style` says.
    """

    source: str
    rules: tuple[str, ...] = (TOLD,)
    field: str | None = None
    style: str = "number"


_PROBABILITY = ("answer.probability", "answer.threshold")
PHRASES: Mapping[str, tuple[Need, ...]] = {
    "answer_present": (
        Need(_PROBABILITY[0], (">= answer.threshold",), "probability", "percent"),
        Need(_PROBABILITY[1], (TOLD,), "threshold", "percent"),
    ),
    "answer_absent": (
        Need(_PROBABILITY[0], ("< answer.threshold",), "probability", "percent"),
        Need(_PROBABILITY[1], (TOLD,), "threshold", "percent"),
    ),
    "value_reached": (
        Need("answer.value", (">= answer.threshold",), "value"),
        Need("answer.threshold", (TOLD,), "threshold"),
    ),
    "value_below": (
        Need("answer.value", ("< answer.threshold",), "value"),
        Need("answer.threshold", (TOLD,), "threshold"),
    ),
    "segment_found": (Need("answer.share", ("> 0",), "share", "percent"),),
    "map_zone": (
        Need("{method}.zone.{zone}", ("largest of {method}.zone.", f">= {FOCAL!r}"), "share", "whole percent"),
    ),
    "map_zone_patient": (
        Need("{method}.zone.{zone}", ("largest of {method}.zone.", f">= {FOCAL!r}"), "share", "whole percent"),
        Need("answer.side.{side}", ("= 1",)),
    ),
    "map_spread": (
        Need("{method}.zone.{zone}", ("largest of {method}.zone.", f"< {FOCAL!r}"), "share", "whole percent"),
    ),
    "map_structure": (
        Need("{method}.share.{structure}", ("largest of {method}.share.",), "share", "whole percent"),
        Need("{method}.area.{structure}", (TOLD,), "area", "whole percent"),
    ),
    "outside_allowed": (Need("{method}.flagged", ("= 1",)),),
    "concept_for": (Need("{method}.score.{concept}", ("largest of {method}.score.", "> 0"), "score"),),
    "concept_against": (Need("{method}.score.{concept}", ("smallest of {method}.score.", "< 0"), "score"),),
    "cases_known": (
        Need("{method}.with-finding", (TOLD,), "positive", "count"),
        Need("{method}.known", ("> 0",), "count", "count"),
    ),
    "prototype": (Need("{method}.contribution.{label}", ("largest of {method}.contribution.", "> 0"), "contribution"),),
    "unit_concept": (
        Need("{method}.unit.{unit}", ("furthest of {method}.unit.",), "contribution"),
        Need("{method}.detects.{concept}", (TOLD,), "iou"),
    ),
    "unit_unknown": (Need("{method}.unit.{unit}", ("furthest of {method}.unit.",), "contribution"),),
    "counterfactual_flips": (
        Need("{method}.flipped", ("= 1",)),
        Need("{method}.before", (TOLD,), "before", "percent"),
        Need("{method}.after", (TOLD,), "after", "percent"),
    ),
    "counterfactual_stays": (
        Need("{method}.flipped", ("= 0",)),
        Need("{method}.after", (TOLD,), "after", "percent"),
    ),
    "case_near": (Need("{method}.percentile", (f"< {FAR!r}",), "percentile", "count"),),
    "case_far": (Need("{method}.percentile", (f">= {FAR!r}",), "percentile", "count"),),
    "grade_green": (Need("{method}.grade", ("= 0",)),),
    "grade_amber": (Need("{method}.grade", ("= 1",)),),
    "withheld": (Need("{method}.withheld", ("= 1",)),),
    "closing": (),
}
WORDS: Mapping[str, str] = {"grade_amber": "{method}.reasons"}
"""Phrases with a field `reasons`: where its words come from."""


def fields_of(key: str) -> set[str]:
    """Names of all fields that a phrase may use."""
    needs = PHRASES[key]
    names = {need.field for need in needs if need.field} | {
        name for need in needs for name in re.findall(r"\{(\w+)\}", need.source)
    }
    return names | {"target"} | ({"reasons"} if key in WORDS else set())


def claims_of(key: str, numbers: Mapping[str, float], **parts: str) -> tuple[Claim, ...]:
    """The claims that a phrase rests on, with `parts` in place of the patterns' braces; one claim a rule."""
    return tuple(
        Claim(source, numbers[source], rule.format(**parts))
        for need in PHRASES[key]
        for source in [need.source.format(**parts)]
        for rule in need.rules
    )


def matched(key: str, claims: Sequence[Claim]) -> dict[str, str | float] | None:
    """The fields of a phrase from its claims; None where these are not the claims that the phrase rests on.

    Numbers come as they are; names as they stand in the claims' paths.
    """
    fields: dict[str, str | float] = {}
    left = list(claims)
    for need in PHRASES[key]:
        for rule in need.rules:
            if not left:
                return None
            claim = left.pop(0)
            parts = _pattern(need.source).fullmatch(claim.source)
            if parts is None:
                return None
            for name, text in parts.groupdict().items():
                if fields.setdefault(name, text) != text:
                    return None
            if claim.holds != rule.format(**parts.groupdict()):
                return None
            if need.field is not None:
                fields[need.field] = claim.value
    return None if left else fields


def styles_of(key: str) -> dict[str, str]:
    """How each number of a phrase is written."""
    return {need.field: need.style for need in PHRASES[key] if need.field}


def holds(claim: Claim, numbers: Mapping[str, float]) -> bool:
    """Whether the claim's number is the structured answer's, and its rule true of it."""
    value = numbers.get(claim.source)
    if value is None or not abs(value - claim.value) <= 1e-9 + 1e-6 * abs(value):
        return False
    if claim.holds == TOLD:
        return True
    kind, _, operand = claim.holds.partition(" ")
    if kind in ("largest", "smallest", "furthest") and operand.startswith("of "):
        others = [number for path, number in numbers.items() if path.startswith(operand.removeprefix("of "))]
        others = others or [value]
        if kind == "furthest":
            return abs(value) >= max(abs(number) for number in others)
        return value == (max(others) if kind == "largest" else min(others))
    other = numbers.get(operand)
    if other is None:
        try:
            other = float(operand)
        except ValueError:
            return False
    outcomes = {">=": value >= other, ">": value > other, "<": value < other, "=": value == other}
    return outcomes.get(kind, False)


def _pattern(source: str) -> re.Pattern[str]:
    """Methods hold no dot; what stands at the end of a path may."""
    pieces = re.split(r"\{(\w+)\}", source)
    text = ""
    for index, piece in enumerate(pieces):
        if index % 2:
            text += f"(?P<{piece}>{'[^.]+' if piece == 'method' else '.+'})"
        else:
            text += re.escape(piece)
    return re.compile(text)
