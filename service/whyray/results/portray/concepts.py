"""What concepts did to an answer: bars with intervals, faint where one is not to be relied on, and every number."""

from __future__ import annotations

from whyray.explain import ConceptScore, ConceptScores, Intervention
from whyray.results.coding import NO_UNITS
from whyray.results.numbers import Numbers
from whyray.results.page.chart import Bar, bar_chart
from whyray.results.page.overlay import Picture
from whyray.results.portray.portrayal import Figure, Look, Plain, Portrayal, Row, portrays

_DRAWN = 14
"""Concepts that get a bar, the heaviest; all get a row in the report."""
_PLAIN, _NAMED = 8, 3
"""Concepts with a bar on a radiologist's page, and those that a sentence names, on either side."""
_LEAST_PROBABLE = 0.001
_INTERVENTIONS = 3
"""Lines on the page; all are in the report."""


@portrays(ConceptScores)
def concept_scores(explanation: ConceptScores, look: Look) -> Portrayal:
    """One page of bars; of class scores and interventions the lines below."""
    words = look.wording.concepts
    learned = explanation.base is not None
    return Portrayal(
        headline=_headline(explanation, look),
        rows=(
            *(_row_of(concept, explanation, look) for concept in explanation.concepts),
            *_sums(explanation, look),
            *(_intervention(intervention, look) for intervention in explanation.interventions),
        ),
        draw_figures=lambda: (Figure(_bars(explanation, look), words.chart_parts if learned else words.chart_changes),),
        lines=tuple(_lines(explanation, look)),
        draw_plain=lambda: _plain(explanation, look) if learned else None,
    )


def _plain(explanation: ConceptScores, look: Look) -> Plain:
    """Which concepts speak for the answer and which against it, of those that can be relied on."""
    words, page = look.wording.pages.types, look.layout.page
    reliable = [concept for concept in explanation.concepts if concept.reliable]
    named = (
        (words.speak_for, [look.wording.named(concept.name) for concept in reliable if concept.score > 0]),
        (words.speak_against, [look.wording.named(concept.name) for concept in reliable if concept.score < 0]),
    )
    sentences = [sentence.format(names=look.wording.listed(names[:_NAMED])) for sentence, names in named if names]
    if not sentences:
        return Plain((look.wording.concepts.none_reliable + look.wording.full_stop,))
    bars = [Bar(look.wording.named(concept.name), concept.score) for concept in reliable[:_PLAIN]]
    width = page.width_at_most - 2 * page.margin
    chart = bar_chart(bars, "", (width, (len(bars) + 2) * width // 30), look.layout)
    return Plain(tuple(sentences), (Figure(chart, words.concepts),))


def _headline(explanation: ConceptScores, look: Look) -> str:
    words = look.wording.concepts
    heaviest = next((concept for concept in explanation.concepts if concept.reliable), None)
    if heaviest is None:
        return words.none_reliable
    headline = words.headline_parts if explanation.base is not None else words.headline_changes
    return headline.format(
        name=look.wording.named(heaviest.name), score=look.wording.numbers.fixed(heaviest.score, 2, signed=True)
    )


def _bars(explanation: ConceptScores, look: Look) -> Picture:
    words, page = look.wording.concepts, look.layout.page
    drawn = explanation.concepts[:_DRAWN]
    width = page.width_at_most - 2 * page.margin
    height = max(width // 6, (len(drawn) + 2) * width // 36)
    bars = [
        Bar(
            look.wording.named(concept.name),
            concept.score,
            concept.interval,
            note=_note(concept, look),
            faint=not concept.reliable,
        )
        for concept in drawn
    ]
    unit = words.logit if explanation.base is not None else words.per_deviation
    return bar_chart(bars, unit, (width, height), look.layout, look.wording.numbers)


def _note(concept: ConceptScore, look: Look) -> str:
    words, numbers = look.wording.concepts, look.wording.numbers
    parts = []
    if concept.value is not None:
        parts.append(_value(concept, concept.value, numbers))
    if concept.class_score is not None:
        parts.append(words.class_score.format(value=numbers.fixed(concept.class_score, 2)))
    if concept.p_value is not None:
        small = concept.p_value < _LEAST_PROBABLE
        parts.append(
            f"p < {numbers.significant(_LEAST_PROBABLE, 1)}" if small else f"p {numbers.fixed(concept.p_value, 3)}"
        )
    if concept.held_out is not None:
        parts.append(f"{concept.held_out_is} {numbers.fixed(concept.held_out, 2)}")
    return "; ".join(parts)


def _value(concept: ConceptScore, value: float, numbers: Numbers) -> str:
    """A measure in its own unit, else a share."""
    return numbers.significant(value, 3) if concept.held_out_is == "R²" else numbers.whole_percent(value)


def _lines(explanation: ConceptScores, look: Look) -> list[str]:
    words, numbers, lines = look.wording.concepts, look.wording.numbers, []
    if explanation.base is not None and explanation.total is not None:
        base, total = (numbers.fixed(value, 2, signed=True) for value in (explanation.base, explanation.total))
        lines.append(words.sum.format(base=base, total=total))
    if "agreement" in explanation.evidence:
        lines.append(words.stand_in.format(value=numbers.fixed(explanation.evidence["agreement"], 2)))
    if "class_images" in explanation.evidence:
        lines.append(words.of_class.format(count=numbers.whole(explanation.evidence["class_images"])))
    if any(not concept.reliable for concept in explanation.concepts):
        lines.append(words.faint)
    named = {concept.name: concept for concept in explanation.concepts}
    for name in dict.fromkeys(intervention.concept for intervention in explanation.interventions[:_INTERVENTIONS]):
        made = [intervention for intervention in explanation.interventions if intervention.concept == name]
        answers = "; ".join(
            f"{_value(named[name], intervention.set_to, numbers)} → {numbers.whole_percent(intervention.answer)}"
            for intervention in made
            if name in named
        )
        lines.append(words.intervention.format(name=look.wording.named(name), answers=answers))
    return lines


def _row_of(concept: ConceptScore, explanation: ConceptScores, look: Look) -> Row:
    parts = [Row(look.own("Concept"), concept.name if concept.code is None else concept.code)]
    numbers = (
        ("Value of the concept", concept.value),
        ("Lower end of the 95 % interval", concept.interval[0] if concept.interval else None),
        ("Upper end of the 95 % interval", concept.interval[1] if concept.interval else None),
        ("Corrected p-value of the class", concept.p_value),
        (f"{concept.held_out_is.replace('²', '2')} of the concept held out", concept.held_out),
        (_class_score(explanation.method), concept.class_score),
    )
    parts += [Row(look.own(name), value, NO_UNITS) for name, value in numbers if value is not None]
    if not concept.reliable:
        parts.append(Row(look.own("Reliability of the concept"), look.wording.concepts.unreliable))
    what = (
        "Part of the concept in the logit" if explanation.base is not None else "Change of the logit along the concept"
    )
    return Row(look.own(what), concept.score, NO_UNITS, comment=concept.name, of=tuple(parts))


def _class_score(method: str) -> str:
    return "Bidirectional relevance in the class" if method == "rcv" else "TCAV score of the class"


def _sums(explanation: ConceptScores, look: Look) -> tuple[Row, ...]:
    named = (("Logit of the references", explanation.base), ("Logit from all concepts", explanation.total))
    return tuple(Row(look.own(name), value, NO_UNITS) for name, value in named if value is not None)


def _intervention(intervention: Intervention, look: Look) -> Row:
    parts = (
        Row(look.own("Value that the concept was set to"), intervention.set_to, NO_UNITS),
        Row(look.own("Logit after the intervention"), intervention.logit, NO_UNITS),
    )
    return Row(
        look.own("Answer after setting a concept"),
        intervention.answer,
        NO_UNITS,
        comment=intervention.concept,
        of=parts,
    )
