"""Cases that an image is like: a montage of similar references, or of prototypes and where the image is like them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from whyray.base.arrays import FloatArray
from whyray.explain import CaseMatch, CaseMatches
from whyray.results.coding import NO_UNITS, PERCENT
from whyray.results.page.chart import Bar, bar_chart
from whyray.results.page.overlay import Picture
from whyray.results.page.text import LEAST_TEXT, draw_lines, fitted
from whyray.results.portray.over_image import over_image, strongest_slice
from whyray.results.portray.portrayal import Figure, Look, Plain, Portrayal, Row, grey, portrays
from whyray.results.wording import CaseWords

_MOST_COLUMNS = 6
_SHOWN, _PLAIN_COLUMNS = 5, 3
"""Cases on a radiologist's page, and pictures in a row of it."""
_DRAWN = 3
"""Prototypes that get pictures; all get a bar and a row."""


@portrays(CaseMatches)
def case_matches(explanation: CaseMatches, look: Look) -> Portrayal:
    """Prototypes where matches have a weight in the answer, else references."""
    if any(match.weight is not None for match in explanation.matches):
        return _prototypes(explanation, look)
    return _references(explanation, look)


# --- references ------------------------------------------------------------------------------------------------------
def _references(explanation: CaseMatches, look: Look) -> Portrayal:
    words = look.wording.cases
    alike = explanation.evidence.get("answered alike")
    lines = [] if alike is None else [words.answered_alike.format(share=look.wording.numbers.whole_percent(alike))]
    pictured = any(case.picture is not None for case in (*explanation.matches, *explanation.contrasts))
    return Portrayal(
        headline=words.headline.format(shown=len(explanation.matches), total=explanation.reference_count),
        rows=(
            Row(look.own("References searched"), float(explanation.reference_count), NO_UNITS),
            *(
                Row(look.own(f"{name} of neighbours"), 100 * value, PERCENT)
                for key, name in (("answered alike", "Answered alike"), ("known to be so", "Known to be so"))
                if (value := explanation.evidence.get(key)) is not None
            ),
            *(_row(match, "Similar case", explanation, look) for match in explanation.matches),
            *(
                _row(contrast, "Similar case of the other class", explanation, look)
                for contrast in explanation.contrasts
            ),
        ),
        draw_figures=lambda: _montage(explanation, look) if pictured else _bars(explanation, look),
        columns=_columns(explanation) if pictured else 1,
        lines=(*lines, words.order),
        draw_plain=lambda: _plain_references(explanation, look, pictured=pictured),
    )


def _plain_references(explanation: CaseMatches, look: Look, *, pictured: bool) -> Plain:
    """This image and its most similar cases, each with its outcome."""
    words, cases = look.wording.pages.types, explanation.matches[:_SHOWN]
    known = [case.known for case in cases if case.known is not None]
    sentence = words.cases.format(count=sum(known), known=len(known)) if known else words.cases_unknown
    if not pictured:
        return Plain((sentence,), _bars(explanation, look))
    side = _side(_PLAIN_COLUMNS, look)
    here = () if explanation.display is None else (Figure(_flat(explanation.display, side), words.this_image),)
    return Plain((sentence,), (*here, *(_outcome(case, number, side, look) for number, case in enumerate(cases, 1))), 3)


def _outcome(case: CaseMatch, number: int, side: int, look: Look) -> Figure:
    words = look.wording.pages.types
    outcome = words.outcome_unknown if case.known is None else words.had if case.known else words.had_not
    picture = np.zeros((side, side, 3), np.uint8) if case.picture is None else grey(case.picture, (side, side))
    return Figure(picture, look.wording.with_statement(words.case.format(number=number), outcome), case.synthetic)


def _columns(explanation: CaseMatches) -> int:
    here = int(explanation.display is not None)
    return min(_MOST_COLUMNS, max(here + len(explanation.matches), here + len(explanation.contrasts), 2))


def _montage(explanation: CaseMatches, look: Look) -> tuple[Figure, ...]:
    """This image and the similar cases, then the cases of the other class in rows of their own."""
    words, columns = look.wording.cases, _columns(explanation)
    side = _side(columns, look)
    blank = np.full((side, side, 3), look.layout.colours.background, np.uint8)

    def rows_of(first: tuple[Figure, ...], cases: tuple[CaseMatch, ...]) -> list[Figure]:
        figures = [*first, *(_figure(case, side, look) for case in cases)]
        return [*figures, *[Figure(blank, "")] * (-len(figures) % columns)]

    here = () if explanation.display is None else (Figure(_flat(explanation.display, side), words.here),)
    montage = rows_of(here, explanation.matches)
    if explanation.contrasts:
        first = (Figure(_with_lines(blank[:8], textwrap.wrap(words.contrasts, 24), look), ""),) if here else ()
        montage += rows_of(first, explanation.contrasts)
    return tuple(montage)


def _figure(case: CaseMatch, side: int, look: Look) -> Figure:
    words, numbers = look.wording.cases, look.wording.numbers
    picture = np.zeros((side, side, 3), np.uint8) if case.picture is None else grey(case.picture, (side, side))
    said = [words.similarity.format(value=numbers.fixed(case.similarity, 2))]
    if case.answer is not None:
        said.append(words.answer.format(value=numbers.fixed(case.answer, 2)))
    return Figure(_with_lines(picture, [*said, _known(case, words)], look), case.label, case.synthetic)


def _with_lines(picture: Picture, lines: Sequence[str], look: Look) -> Picture:
    """A picture with words below it, as large as its width allows."""
    layout, width = look.layout, picture.shape[1]
    written = [fitted(line, max(LEAST_TEXT, width // 15), width, layout) for line in lines]
    edge = LEAST_TEXT // 3
    height = picture.shape[0] + 2 * edge + sum(block.height for block in written)
    canvas = Image.new("RGB", (width, height), layout.colours.background)
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw, top = ImageDraw.Draw(canvas), float(picture.shape[0] + edge)
    for block in written:
        top = draw_lines(draw, (0, top), block, layout.colours.text, layout)
    return np.asarray(canvas)


def _known(case: CaseMatch, words: CaseWords) -> str:
    return words.unknown if case.known is None else words.known if case.known else words.known_without


def _bars(explanation: CaseMatches, look: Look) -> tuple[Figure, ...]:
    """Where the index keeps no picture: the similarities."""
    words = look.wording.cases
    bars = [Bar(match.label, match.similarity, note=_known(match, words)) for match in explanation.matches]
    bars += [
        Bar(contrast.label, contrast.similarity, note=_known(contrast, words), faint=True)
        for contrast in explanation.contrasts
    ]
    size = (_side(2, look), _side(3, look))
    return (Figure(bar_chart(bars, words.unit, size, look.layout, look.wording.numbers), words.no_pictures),)


def _row(case: CaseMatch, name: str, explanation: CaseMatches, look: Look) -> Row:
    parts = [Row(look.own("Name in the reference index"), case.label)]
    if case.answer is not None:
        parts.append(Row(look.own("Answer of the model about the case"), case.answer, NO_UNITS))
    if case.known is not None:
        parts.append(Row(look.own("Finding known of the case"), _known(case, look.wording.cases)))
    if case.picture is not None and case.synthetic:
        parts.append(Row(look.own("Picture of the case"), look.wording.synthetic))
    return Row(look.own(name), case.similarity, NO_UNITS, comment=explanation.unit, of=tuple(parts))


# --- prototypes ------------------------------------------------------------------------------------------------------
def _prototypes(explanation: CaseMatches, look: Look) -> Portrayal:
    words, drawn = look.wording.cases, explanation.matches[:_DRAWN]
    columns = 1 + len(drawn)
    sums = [("Bias", explanation.base), ("Logit", explanation.total)]
    return Portrayal(
        headline=words.prototypes.format(shown=len(explanation.matches), total=explanation.reference_count),
        rows=(
            *(_prototype_row(prototype, look) for prototype in explanation.matches),
            *(Row(look.own(name), value, NO_UNITS) for name, value in sums if value is not None),
        ),
        columns=columns,
        lines=tuple(_term(prototype, look) for prototype in drawn),
        draw_figures=lambda: _prototype_figures(explanation, drawn, columns, look),
        draw_plain=lambda: _plain_prototypes(explanation, look),
    )


def _term(prototype: CaseMatch, look: Look) -> str:
    """What a prototype gave, as similarity times weight."""
    words, numbers = look.wording.cases, look.wording.numbers
    similarity, weight = numbers.fixed(prototype.similarity, 2), numbers.fixed(prototype.weight or 0.0, 2, signed=True)
    term = words.term.format(similarity=similarity, weight=weight)
    given = numbers.fixed(_contribution(prototype), 2, signed=True)
    return look.wording.with_statement(prototype.label, f"{term} = {given}  ·  {_known(prototype, words)}")


def _prototype_figures(explanation: CaseMatches, drawn: Sequence[CaseMatch], columns: int, look: Look) -> list[Figure]:
    """Bars of all, then for some where the image is like them, and what they look like."""
    words, numbers = look.wording.cases, look.wording.numbers
    side = _side(max(columns, 3), look)
    bars = [
        Bar(
            prototype.label,
            _contribution(prototype),
            note=f"{numbers.fixed(prototype.similarity, 2)} × {numbers.fixed(prototype.weight or 0.0, 2, signed=True)}",
        )
        for prototype in explanation.matches
    ]
    blank = Figure(np.full((8, 8, 3), look.layout.colours.background, np.uint8), "")
    figures = [Figure(bar_chart(bars, words.contribution, (side, side), look.layout, numbers), words.chart)]
    figures += [_resembles(prototype, explanation, side, look) or blank for prototype in drawn]
    if any(prototype.picture is not None for prototype in drawn):
        pictures = ((prototype, prototype.picture) for prototype in drawn)
        figures += [
            blank,
            *(
                blank if picture is None else Figure(grey(picture, (side, side)), prototype.label, prototype.synthetic)
                for prototype, picture in pictures
            ),
        ]
    return figures


def _plain_prototypes(explanation: CaseMatches, look: Look) -> Plain:
    """Where this image is like each of the examples that counted most, and these where they have pictures."""
    words, drawn = look.wording.pages.types, explanation.matches[:_DRAWN]
    side = _side(max(len(drawn), 2), look)
    places, pictures = [], []
    for number, prototype in enumerate(drawn, start=1):
        name = words.typical.format(number=number)
        place = _resembles(prototype, explanation, side, look)
        if place is not None:
            said = look.wording.cases.resembles.format(label=name)
            places.append(replace(place, caption=said[:1].upper() + said[1:]))
        if prototype.picture is not None:
            pictures.append(Figure(grey(prototype.picture, (side, side)), name, prototype.synthetic))
    return Plain((words.typical_speaks,), (*places, *pictures), max(len(places), len(pictures), 1))


def _resembles(prototype: CaseMatch, explanation: CaseMatches, side: int, look: Look) -> Figure | None:
    if prototype.resembles is None or explanation.display is None:
        return None
    caption = look.wording.cases.resembles.format(label=prototype.label)
    return Figure(_place(prototype.resembles, explanation.display, side, look), caption)


def _contribution(prototype: CaseMatch) -> float:
    return prototype.similarity * (prototype.weight or 0.0)


def _prototype_row(prototype: CaseMatch, look: Look) -> Row:
    parts = [
        Row(look.own("Similarity to the prototype"), prototype.similarity, NO_UNITS),
        Row(look.own("Weight of the prototype"), prototype.weight or 0.0, NO_UNITS),
    ]
    if prototype.known is not None:
        parts.append(Row(look.own("Finding known of the case"), _known(prototype, look.wording.cases)))
    return Row(look.own(f"Contribution of {prototype.label}"), _contribution(prototype), NO_UNITS, of=tuple(parts))


def _place(values: FloatArray, display: FloatArray, side: int, look: Look) -> Picture:
    """Where the image is like a prototype; of a volume the slice where it is most like it."""
    values, display = strongest_slice(values, display)
    return over_image(values - values.min(), display, side, look)


def _flat(display: FloatArray, side: int) -> Picture:
    return grey(display if display.ndim == 2 else display[len(display) // 2], (side, side))


def _side(columns: int, look: Look) -> int:
    page = look.layout.page
    return (page.width_at_most - (columns + 1) * page.margin) // columns
