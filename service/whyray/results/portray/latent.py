"""Where a case lies among the references: a scatter plot, percentiles, and a traversal as a cine."""

from __future__ import annotations

import re

import numpy as np

from whyray.explain import LatentPosition
from whyray.explain.latent import ENOUGH
from whyray.results.coding import NO_UNITS, PERCENT
from whyray.results.numbers import Numbers
from whyray.results.page.chart import Bar, Points, bar_chart, scale_chart, scatter_chart
from whyray.results.portray.portrayal import Figure, Look, Plain, Portrayal, Row, grey, portrays
from whyray.results.wording import LatentWords

_UNUSUAL = 95.0


@portrays(LatentPosition)
def latent_position(explanation: LatentPosition, look: Look) -> Portrayal:
    """The plot only where the plane is trustworthy; percentiles always."""
    words, numbers = look.wording.latent, look.wording.numbers
    page = look.layout.page
    side = (page.width_at_most - 3 * page.margin) // 2
    drawn = explanation.trustworthiness >= ENOUGH

    def figures() -> list[Figure]:
        bars = Figure(_bars(explanation, look, (side, side)), words.distances)
        caption = words.plot.format(count=len(explanation.references), plane=explanation.plane)
        return [Figure(_scatter(explanation, look, (side, side)), caption), bars] if drawn else [bars]

    lines = [words.trust.format(value=numbers.fixed(explanation.trustworthiness, 2))]
    if not drawn:
        lines = [words.no_plot.format(value=numbers.fixed(explanation.trustworthiness, 2))]
    error = explanation.evidence.get("placement error")
    if drawn and error is not None:
        lines.append(words.placement.format(value=numbers.whole_percent(error)))
    if explanation.percentile > _UNUSUAL:
        lines.append(words.unusual)
    return Portrayal(
        headline=words.headline.format(
            value=numbers.whole(explanation.percentile),
            distance=words.distance_names.get(explanation.distance_is, explanation.distance_is),
        ),
        rows=_rows(explanation, look),
        columns=1 + drawn,
        lines=tuple(lines),
        draw_figures=figures,
        draw_cine=lambda: _cine(explanation, look),
        draw_plain=lambda: _plain(explanation, look),
    )


def _plain(explanation: LatentPosition, look: Look) -> Plain:
    """Whether the image is an ordinary one for the model, on a scale."""
    words, page = look.wording.pages.types, look.layout.page
    unusual = explanation.percentile > _UNUSUAL
    size = (page.width_at_most - 2 * page.margin, 260)
    chart = scale_chart(explanation.percentile, _UNUSUAL, (words.ordinary, words.rare), size, look.layout)
    nearer = words.nearer.format(value=look.wording.numbers.whole(explanation.percentile))
    said = (words.unusual if unusual else words.usual, nearer)
    return Plain(said, (Figure(chart, ""),), about_image=words.likeness)


def _scatter(
    explanation: LatentPosition, look: Look, size: tuple[int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    words = look.wording.latent
    groups = ((0, words.known_without), (1, words.known_with), (-1, words.unknown))
    points = [
        Points(explanation.references[explanation.known == value], name)
        for value, name in groups
        if (explanation.known == value).any()
    ]
    first, second = (_in_language(axis, look.wording.numbers) for axis in explanation.axes)
    return scatter_chart(points, explanation.position, words.here, (first, second), size, look.layout)


def _in_language(axis: str, numbers: Numbers) -> str:
    """An axis's name, as methods give it ('PC 1 (41%)'), with its percentage as the language writes it."""
    return re.sub(r"(\d+) ?%", lambda match: numbers.percent.format(value=match[1]), axis)


def _bars(
    explanation: LatentPosition, look: Look, size: tuple[int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    numbers, names = look.wording.numbers, look.wording.latent.distance_names
    bars = [
        Bar(names.get(name, name), share, note=numbers.whole_percent(share / 100))
        for name, (_, share) in explanation.distances.items()
    ]
    limit = Bar(look.wording.latent.limit, _UNUSUAL, faint=True)
    return bar_chart([*bars, limit], "%", size, look.layout, numbers)


def _rows(explanation: LatentPosition, look: Look) -> tuple[Row, ...]:
    rows = [
        Row(
            look.own("Percentile among held-out references"),
            share,
            PERCENT,
            comment=name,
            of=(Row(look.own("Distance from the references"), value, NO_UNITS, comment=name),),
        )
        for name, (value, share) in explanation.distances.items()
    ]
    plane = Row(look.own("Plane of the references"), explanation.plane)
    trust = Row(look.own("Trustworthiness of the plane"), explanation.trustworthiness, NO_UNITS, of=(plane,))
    return (*rows, trust)


def _cine(explanation: LatentPosition, look: Look) -> tuple[Figure, ...]:
    if explanation.traversal is None:
        return ()
    words: LatentWords = look.wording.latent
    page = look.layout.page
    side = (page.width_at_most - 3 * page.margin) // 2
    frames = explanation.traversal
    shown = frames if frames.ndim == 3 else frames[:, frames.shape[1] // 2]
    whole = len(shown) - 1
    reach = explanation.evidence.get("traversal reaches", 1.0)
    return tuple(
        Figure(
            grey(frame, (side, side)),
            words.traversal.format(
                share=look.wording.numbers.whole_percent((number / whole if whole else 1.0) * reach)
            ),
            synthetic=True,
        )
        for number, frame in enumerate(shown)
    )
