"""Pages and cines of explanations that are not heatmaps: for a reader, and with every number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from whyray.results.answer import Answer, Finding, GradedExplanation
from whyray.results.page.finding import SENTENCE
from whyray.results.page.layout import Line, Page, Panel, Words, compose
from whyray.results.page.marks import badge_not_shown, badge_of
from whyray.results.page.overlay import strip
from whyray.results.page.said import about_words, foot_of, name_of, probability_of
from whyray.results.portray import Figure, Portrayal
from whyray.results.template_layout import Layout
from whyray.results.trust import trust_in
from whyray.results.wording import Wording

SENTENCES = 3
"""At most, on a page that is read in seconds."""


def typed_pages(
    answer: Answer, finding: Finding, graded: GradedExplanation, portrayal: Portrayal, layout: Layout, wording: Wording
) -> list[Page]:
    """The page of an explanation that a reader understands without a legend; none where it has nothing for one."""
    plain = portrayal.plain
    if plain is None:
        return []
    words = _words(answer, finding, graded, plain.sentences, layout, wording)
    if plain.about_image:
        words = replace(words, title=plain.about_image, probability=None)
    if not plain.shown:
        words = replace(
            words,
            badge=badge_not_shown(wording),
            legend=[*words.legend[: len(plain.sentences)], *foot_of(answer, layout, wording)],
        )
    return [compose(words, figure_panels(plain.figures, layout, wording), plain.columns, None, layout)]


def cine_pages(
    answer: Answer, finding: Finding, graded: GradedExplanation, portrayal: Portrayal, layout: Layout, wording: Wording
) -> list[Page]:
    """One page a frame of the explanation's cine, all of one size."""
    words = _words(answer, finding, graded, (portrayal.headline,), layout, wording)
    panels = figure_panels(portrayal.cine, layout, wording)
    pages = [
        compose(
            replace(words, subtitle=wording.cine.format(number=number, total=len(panels))), [panel], 1, None, layout
        )
        for number, panel in enumerate(panels, start=1)
    ]
    tallest = max((page.picture.shape[0] for page in pages), default=0)
    return [_taller(page, tallest, layout) for page in pages]


def figure_panels(figures: Sequence[Figure], layout: Layout, wording: Wording) -> list[Panel]:
    """Figures on canvases of one size, so that they stand in rows; above synthetic ones a strip that says so, and hides
    nothing of them."""
    height = max((figure.picture.shape[0] for figure in figures), default=0)
    width = max((figure.picture.shape[1] for figure in figures), default=0)
    above = strip(width, wording.synthetic, layout) if any(figure.synthetic for figure in figures) else None
    panels = []
    for figure in figures:
        canvas = np.full((height, width, 3), layout.colours.background, np.uint8)
        canvas[: figure.picture.shape[0], : figure.picture.shape[1]] = figure.picture
        if above is not None:
            bare = np.full_like(above, layout.colours.background)
            canvas = np.concatenate([above if figure.synthetic else bare, canvas])
        panels.append(Panel(figure.frame, False, canvas, figure.caption))
    return panels


def _words(
    answer: Answer,
    finding: Finding,
    graded: GradedExplanation,
    sentences: Sequence[str],
    layout: Layout,
    wording: Wording,
) -> Words:
    trust = trust_in(graded.card, wording)
    said = [*sentences[: SENTENCES - 1], *([trust.sentence] if trust.sentence else [])]
    return Words(
        title=name_of(finding, wording),
        subtitle=about_words(answer, finding, wording),
        badge=badge_of(trust),
        banner=None,
        legend=[
            *(Line(sentence, layout.colours.text, SENTENCE) for sentence in said),
            *foot_of(answer, layout, wording),
        ],
        probability=probability_of(finding, wording),
    )


def _taller(page: Page, height: int, layout: Layout) -> Page:
    missing = height - page.picture.shape[0]
    if not missing:
        return page
    filler = np.full((missing, page.picture.shape[1], 3), layout.colours.background, np.uint8)
    return Page(np.concatenate([page.picture, filler]), page.panels)
