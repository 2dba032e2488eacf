"""What would have to be different: before, after, the difference, and how the answer follows, as a cine too."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import ndimage

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.coded_concept import CodedConcept
from whyray.explain import Counterfactual
from whyray.results.coding import NO_UNITS, PERCENT
from whyray.results.page.chart import curve_chart
from whyray.results.page.overlay import Picture, plain, with_heatmap, with_outline
from whyray.results.portray.portrayal import Figure, Look, Plain, Portrayal, Row, grey, portrays

_COLUMNS = 2
_DECIMALS = 3
"""Of answers on scientists' pages."""
_OUTLINED = 0.1
"""Share of the image that is outlined in the difference: where it is largest."""
_SEEN, _SEEN_IN = 0.04, 0.99
"""A change can be seen where at least one in a hundred places differs by so much of the displayed range."""
_SMOOTHED = 0.02
"""Width of the blur, in the picture's longer side, before a difference is outlined."""
_CINE = 512
"""Pixels along a side of the cine's pictures: more than a decoder draws, and a tenth of a full page's bytes."""
_SHARES = {"area", "refined", "shift"}
_NAMES = {
    "threshold": "Threshold of the target",
    "reconstruction_gap": "Gap of the answer by the autoencoder",
    "encoder_gap": "Gap of the answer by the encoder alone",
    "added_answer": "Answer about the image with the difference added",
    "shift": "Shift in latent space",
    "refined": "Refinement in latent space",
    "area": "Part of the image that was replaced",
    "replaced": "Regions replaced",
    "regions": "Regions in all",
    "certified": "All sets of fewer regions than this were tried without a flip",
    "irreducible": "No region can be left out",
}


@portrays(Counterfactual)
def counterfactual(explanation: Counterfactual, look: Look) -> Portrayal:
    """Every picture but that of the unchanged image itself is marked SYNTHETIC, on the page and in the cine."""
    words = look.wording.counterfactual
    page = look.layout.page
    number = partial(look.wording.numbers.fixed, decimals=_DECIMALS)
    side = (page.width_at_most - (_COLUMNS + 1) * page.margin) // _COLUMNS
    place = _slice(explanation)
    frames = explanation.frames if place is None else explanation.frames[:, place]
    difference = explanation.difference if place is None else explanation.difference[place]
    before, after = explanation.answers[explanation.start], explanation.answers[explanation.end]
    start, end = frames[explanation.start], frames[explanation.end]

    def figures() -> tuple[Figure, ...]:
        return (
            Figure(grey(start, (side, side)), words.before.format(value=number(before)), explanation.synthetic),
            Figure(grey(end, (side, side)), words.after.format(value=number(after)), True),
            Figure(_change(start, difference, side, look), words.difference, True),
            Figure(_curve(explanation, look, (side, side)), words.curve),
        )

    return Portrayal(
        headline=_headline(explanation, look),
        rows=_rows(explanation, look),
        columns=_COLUMNS,
        lines=_lines(explanation, look),
        draw_figures=figures,
        draw_cine=lambda: tuple(
            Figure(
                grey(frame, (_CINE, _CINE)),
                words.frame.format(value=number(answer)),
                explanation.synthetic or index != explanation.start,
            )
            for index, (frame, answer) in enumerate(zip(frames, explanation.answers, strict=True))
        ),
        draw_plain=lambda: _plain(explanation, look, (start, end), difference, place),
    )


def _plain(
    explanation: Counterfactual,
    look: Look,
    pair: tuple[FloatArray, FloatArray],
    difference: FloatArray,
    place: int | None,
) -> Plain:
    """Before and after at the same size, so that they can be flicked between, the changed place outlined in both.

    Held back where the change is too faint to be seen.
    """
    words, page, layout = look.wording.pages.types, look.layout.page, look.layout
    before, after = (
        look.wording.numbers.probability(explanation.answers[step]) for step in (explanation.start, explanation.end)
    )
    sentence = (words.flipped if explanation.flipped else words.not_flipped).format(before=before, after=after)
    strength = np.abs(difference)
    if float(np.quantile(strength, _SEEN_IN)) < _SEEN:
        return Plain((sentence, words.unseen_change), shown=False)
    changed = explanation.changed if place is None or explanation.changed is None else explanation.changed[place]
    region = _largest(strength) if changed is None else changed
    side = (page.width_at_most - 3 * page.margin) // 2
    drawn = [
        _in_square(with_outline(plain(one, _fitting(one, side)), region, layout.contour.colour, layout.contour.width))
        for one in pair
    ]
    figures = (
        Figure(drawn[0], look.wording.with_statement(words.before, before), explanation.synthetic),
        Figure(drawn[1], look.wording.with_statement(words.after, after), True),
    )
    return Plain((sentence,), figures, 2)


def _slice(explanation: Counterfactual) -> int | None:
    """Of a volume the slice that changes most."""
    if explanation.difference.ndim == 2:
        return None
    return int(np.abs(explanation.difference).sum(axis=(1, 2)).argmax())


def _headline(explanation: Counterfactual, look: Look) -> str:
    words, numbers = look.wording.counterfactual, look.wording.numbers
    before, after = (
        numbers.fixed(explanation.answers[step], _DECIMALS) for step in (explanation.start, explanation.end)
    )
    return (words.flipped if explanation.flipped else words.not_flipped).format(before=before, after=after)


def _lines(explanation: Counterfactual, look: Look) -> tuple[str, ...]:
    words, numbers, evidence = look.wording.counterfactual, look.wording.numbers, explanation.evidence
    lines = []
    if "reconstruction_gap" in evidence:
        gap, own = evidence["reconstruction_gap"], explanation.answer_before
        lines.append(words.stands_for.format(answer=numbers.fixed(own, _DECIMALS), gap=numbers.fixed(gap, _DECIMALS)))
    if "added_answer" in evidence:
        lines.append(words.added.format(value=numbers.fixed(evidence["added_answer"], _DECIMALS)))
    if "replaced" in evidence:
        count, total = numbers.whole(evidence["replaced"]), numbers.whole(evidence["regions"])
        lines.append(words.replaced.format(count=count, total=total, area=numbers.whole_percent(evidence["area"])))
        if explanation.flipped and evidence["certified"] >= evidence["replaced"]:
            lines.append(words.smallest)
        elif explanation.flipped and evidence["irreducible"]:
            lines.append(words.irreducible)
    return (*lines, words.caution)


def _rows(explanation: Counterfactual, look: Look) -> tuple[Row, ...]:
    unit = look.finding.target.unit or NO_UNITS
    start, end = explanation.start, explanation.end
    parts = tuple(_evidence(name, value, look, unit) for name, value in explanation.evidence.items() if name in _NAMES)
    change = float(np.abs(explanation.difference).mean())
    rows = [
        Row(look.own("Answer about the image"), explanation.answer_before, unit),
        Row(look.own("Answer before the change"), explanation.answers[start], unit),
        Row(look.own("Answer after the change"), explanation.answers[end], unit),
        Row(look.own("Answer crosses the threshold"), look.wording.yes_no.word_of(explanation.flipped)),
        Row(look.own("Mean change of the displayed range"), change, NO_UNITS),
        *parts,
    ]
    companion = explanation.parameters.get("companion")
    if companion is not None:
        rows.append(Row(look.own("Autoencoder"), str(companion)))
    rows.append(Row(look.own("Pictures"), look.wording.synthetic))
    return tuple(rows)


def _evidence(name: str, value: float, look: Look, unit: CodedConcept) -> Row:
    if name in _SHARES:
        return Row(look.own(_NAMES[name]), 100 * value, PERCENT)
    if name == "irreducible":
        return Row(look.own(_NAMES[name]), look.wording.yes_no.yes if value else look.wording.yes_no.unsure)
    counted = name in {"replaced", "regions", "certified"}
    return Row(look.own(_NAMES[name]), value, NO_UNITS if counted else unit)


def _change(start: FloatArray, difference: FloatArray, side: int, look: Look) -> Picture:
    """The difference over the unchanged picture, in the colours of signed maps, its largest parts outlined."""
    strength = np.abs(difference)
    size, top = _fitting(start, side), max(float(strength.max()), 1e-6)
    return _in_square(with_heatmap(plain(start, size), difference, _largest(strength), top, look.layout, signed=True))


def _largest(strength: FloatArray) -> BoolArray:
    """Where a difference is largest: what is outlined of one that may lie anywhere."""
    strength = ndimage.gaussian_filter(strength, _SMOOTHED * max(strength.shape))  # places, not single pixels
    least = max(float(np.quantile(strength, 1 - _OUTLINED)), 0.02 * float(strength.max()), 1e-6)
    return np.asarray(strength > least)


def _fitting(picture: FloatArray, side: int) -> tuple[int, int]:
    """(width, height) of a picture whose longer side is `side` pixels."""
    rows, columns = picture.shape
    scale = side / max(rows, columns)
    return max(1, round(columns * scale)), max(1, round(rows * scale))


def _in_square(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    side = max(height, width)
    canvas = np.zeros((side, side, 3), np.uint8)
    above, left = (side - height) // 2, (side - width) // 2
    canvas[above : above + height, left : left + width] = picture
    return canvas


def _curve(explanation: Counterfactual, look: Look, size: tuple[int, int]) -> Picture:
    words, numbers = look.wording.counterfactual, look.wording.numbers
    level = explanation.evidence.get("threshold")
    marks = [(explanation.start, words.mark_before), (explanation.end, words.mark_after)]
    dashed = None if level is None else (level, f"{words.mark_threshold} {numbers.fixed(level, _DECIMALS)}")
    return curve_chart(explanation.answers, marks, dashed, (words.step, words.answer), size, look.layout, numbers)
