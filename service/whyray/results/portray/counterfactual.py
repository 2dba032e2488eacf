"""What would have to be different: before, after, the difference, and how the answer follows, as a cine too."""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.coded_concept import CodedConcept
from whyray.explain import Counterfactual
from whyray.results.coding import NO_UNITS, PERCENT
from whyray.results.page.chart import curve_chart
from whyray.results.page.overlay import Picture, plain, with_heatmap
from whyray.results.portray.portrayal import Figure, Look, Portrayal, Row, grey, portrays
from whyray.results.wording import CounterfactualWords

_COLUMNS = 2
_OUTLINED = 0.1
"""Share of the image that is outlined in the difference: where it is largest."""
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
    side = (page.width_at_most - (_COLUMNS + 1) * page.margin) // _COLUMNS
    place = _slice(explanation)
    frames = explanation.frames if place is None else explanation.frames[:, place]
    difference = explanation.difference if place is None else explanation.difference[place]
    before, after = explanation.answers[explanation.start], explanation.answers[explanation.end]
    start, end = frames[explanation.start], frames[explanation.end]
    figures = (
        Figure(grey(start, (side, side)), words.before.format(value=_number(before)), explanation.synthetic),
        Figure(grey(end, (side, side)), words.after.format(value=_number(after)), True),
        Figure(_change(start, difference, side, look), words.difference, True),
        Figure(_curve(explanation, look, (side, side)), words.curve),
    )
    return Portrayal(
        headline=_headline(explanation, words),
        rows=_rows(explanation, look),
        figures=figures,
        columns=_COLUMNS,
        lines=_lines(explanation, words),
        cine=tuple(
            Figure(
                grey(frame, (_CINE, _CINE)),
                words.frame.format(value=_number(answer)),
                explanation.synthetic or index != explanation.start,
            )
            for index, (frame, answer) in enumerate(zip(frames, explanation.answers, strict=True))
        ),
    )


def _slice(explanation: Counterfactual) -> int | None:
    """Of a volume the slice that changes most."""
    if explanation.difference.ndim == 2:
        return None
    return int(np.abs(explanation.difference).sum(axis=(1, 2)).argmax())


def _headline(explanation: Counterfactual, words: CounterfactualWords) -> str:
    before, after = (_number(explanation.answers[step]) for step in (explanation.start, explanation.end))
    return (words.flipped if explanation.flipped else words.not_flipped).format(before=before, after=after)


def _lines(explanation: Counterfactual, words: CounterfactualWords) -> tuple[str, ...]:
    evidence = explanation.evidence
    lines = []
    if "reconstruction_gap" in evidence:
        gap, own = evidence["reconstruction_gap"], explanation.answer_before
        lines.append(words.stands_for.format(answer=_number(own), gap=_number(gap)))
    if "added_answer" in evidence:
        lines.append(words.added.format(value=_number(evidence["added_answer"])))
    if "replaced" in evidence:
        count, total = f"{evidence['replaced']:.0f}", f"{evidence['regions']:.0f}"
        lines.append(words.replaced.format(count=count, total=total, area=f"{evidence['area']:.0%}"))
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
        Row(look.own("Answer crosses the threshold"), "yes" if explanation.flipped else "no"),
        Row(look.own("Mean change of the displayed range"), change, NO_UNITS),
        *parts,
    ]
    companion = explanation.parameters.get("companion")
    if companion is not None:
        rows.append(Row(look.own("Autoencoder"), str(companion)))
    rows.append(Row(look.own("Pictures"), "SYNTHETIC"))
    return tuple(rows)


def _evidence(name: str, value: float, look: Look, unit: CodedConcept) -> Row:
    if name in _SHARES:
        return Row(look.own(_NAMES[name]), 100 * value, PERCENT)
    if name == "irreducible":
        return Row(look.own(_NAMES[name]), "yes" if value else "not sure")
    counted = name in {"replaced", "regions", "certified"}
    return Row(look.own(_NAMES[name]), value, NO_UNITS if counted else unit)


def _change(start: FloatArray, difference: FloatArray, side: int, look: Look) -> Picture:
    """The difference over the unchanged picture, in the colours of signed maps, its largest parts outlined."""
    rows, columns = start.shape
    scale = side / max(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    strength = np.abs(difference)
    top = float(strength.max())
    region = strength > max(float(np.quantile(strength, 1 - _OUTLINED)), 0.02 * top, 1e-6)
    drawn = with_heatmap(plain(start, size), difference, region, max(top, 1e-6), look.layout, signed=True)
    canvas = np.zeros((side, side, 3), np.uint8)
    above, left = (side - size[1]) // 2, (side - size[0]) // 2
    canvas[above : above + size[1], left : left + size[0]] = drawn
    return canvas


def _curve(explanation: Counterfactual, look: Look, size: tuple[int, int]) -> Picture:
    words = look.wording.counterfactual
    level = explanation.evidence.get("threshold")
    marks = [(explanation.start, words.mark_before), (explanation.end, words.mark_after)]
    dashed = None if level is None else (level, f"{words.mark_threshold} {_number(level)}")
    return curve_chart(explanation.answers, marks, dashed, (words.step, words.answer), size, look.layout)


def _number(value: float) -> str:
    return f"{value:.3f}"
