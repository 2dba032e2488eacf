"""What is told in words: sentences for the report, each with the claims that it rests on, and lines for the page."""

from __future__ import annotations

from whyray.explain import Narrative, Sentence
from whyray.results.portray.portrayal import Look, Portrayal, Row, portrays


@portrays(Narrative)
def narrative(explanation: Narrative, look: Look) -> Portrayal:
    """TEXT items and lines, which stand beside a map: never a page of words alone."""
    rows = [Row(look.own("Narrative of the explanation"), explanation.text)]
    rows += [
        Row(look.own(f"Basis of sentence {number}"), _basis(sentence))
        for number, sentence in enumerate(explanation.sentences, start=1)
        if sentence.claims
    ]
    return Portrayal(
        headline=look.wording.narrative,
        rows=tuple(rows),
        lines=tuple(sentence.text for sentence in explanation.sentences),
    )


def _basis(sentence: Sentence) -> str:
    """What each claim of the sentence rests on, so that a reader of the report can trace it."""
    return "; ".join(f"{claim.source} = {claim.value:.6g} {_rule(claim.holds)}".rstrip() for claim in sentence.claims)


def _rule(holds: str) -> str:
    return "" if holds == "told" else f"({holds})"
