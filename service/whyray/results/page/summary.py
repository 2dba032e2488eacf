"""The first page of an answer: what was found, where, how far its explanation is to be trusted; and what was not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from whyray.imaging import SourceImage
from whyray.results.answer import Answer, Finding, MapInSource, by_probability
from whyray.results.page.finding import SENTENCE, overlay_of
from whyray.results.page.frame_picture import frame_picture
from whyray.results.page.key_slices import key_slices
from whyray.results.page.layout import Line, Page, Words, compose
from whyray.results.page.marks import draw_level, draw_probability
from whyray.results.page.overlay import Picture, with_mask
from whyray.results.page.said import foot_of, is_called, name_of, number_of, package_title, probability_of
from whyray.results.page.text import Lines, draw_lines, fitted, one_line, text_size_of, wrapped
from whyray.results.place import place_in_words
from whyray.results.prevalence import prevalence_words
from whyray.results.strengths import strengths_of_mask
from whyray.results.study_images import image_in_words, place_to_say
from whyray.results.template_layout import Layout
from whyray.results.trust import TrustLevel, method_title_in, trust_in
from whyray.results.wording import Wording

MOST_FINDINGS = 6
"""Findings that get a line of their own; the others are named."""
_WIDTH = 1500
_THUMBNAIL = 8.5
"""Side of a thumbnail, in letters of the text."""
_BAR_AT = 0.62
"""Where the bars of probability begin, in the page's width."""


@dataclass(frozen=True)
class Summarised:
    """A finding, and the answer with the image that shows it best."""

    answer: Answer
    finding: Finding


@dataclass(frozen=True)
class SummaryRow:
    """One finding as the first page has it.

    Attributes
    ----------
    name
        What it is called: with its side, where a study shows both.
    shown
        Where it is clearest: that image's number, thumbnail and trust.
    places
        Where it lies, in words; of several images, a line for each.
    """

    name: str
    shown: Summarised
    places: tuple[str, ...]

    @property
    def is_called(self) -> bool:
        """Whether it belongs to what was found."""
        return is_called(self.shown.finding)


def summary_page(
    answer: Answer, layout: Layout, wording: Wording, *, shown_in: Sequence[Summarised] | None = None
) -> Page:
    """What was found, a line each; what was looked for and not found; what could not be done.

    Parameters
    ----------
    shown_in
        Where each finding is shown, in the order of `answer.findings`; left out, in the answer itself.
    """
    if answer.scope is not None and answer.scope.refused:
        return no_statement_page(answer, layout, wording)
    best = {id(finding): one for finding, one in zip(answer.findings, shown_in or (), strict=False)}
    ordered = [best.get(id(finding), Summarised(answer, finding)) for finding in by_probability(answer.findings)]
    rows = [SummaryRow(name_of(one.finding, wording), one, (place_of(one, wording),)) for one in ordered]
    absent = [row.name for row in rows if not row.is_called]
    called = [row for row in rows if row.is_called]
    refused = [(*refusal, None) for one in ordered for refusal in refusals_of(one, wording)]
    return summary_of(answer, called, absent, refused, (), layout, wording)


def summary_of(
    answer: Answer,
    called: Sequence[SummaryRow],
    absent: Sequence[str],
    refused: Iterable[tuple[str, str, str | None]],
    silent: Sequence[str],
    layout: Layout,
    wording: Wording,
) -> Page:
    """The first page of these rows.

    Parameters
    ----------
    absent
        Names of what was looked for and not found.
    refused
        Methods that could not explain, why, and on which image in words, where there are several.
    silent
        Sentences about images of which nothing is said.
    """
    width = page_width(layout)
    text_size = text_size_of(width)
    subtitle = "  ·  ".join(
        words for words in (package_title(answer, wording), image_in_words(place_to_say(answer), wording)) if words
    )
    head = compose(Words(wording.pages.summary, subtitle, None, None, ()), [], 1, None, layout, width=width).picture
    rows = [_row(row, width, text_size, layout, wording) for row in called[:MOST_FINDINGS]]
    lines = _lines(answer, called, absent, refused, silent, layout, wording)
    below = compose(Words("", "", None, None, lines), [], 1, None, layout, width=width).picture
    return Page(np.concatenate([head, *rows, below]), ())


def no_statement_page(answer: Answer, layout: Layout, wording: Wording) -> Page:
    """A page without any picture, finding or number: that nothing is said of this image, and why."""
    first, *why = no_statement_words(answer, wording)
    words = Words(
        title=package_title(answer, wording),
        subtitle="",
        badge=None,
        banner=None,
        legend=[
            Line(first, layout.colours.text, 1.5, bold=True),
            *(Line(line, layout.colours.text, SENTENCE) for line in why),
            *foot_of(answer, layout, wording),
        ],
    )
    return compose(words, [], 1, None, layout)


def no_statement_words(answer: Answer, wording: Wording) -> list[str]:
    """That nothing is said of the image, then why, a sentence each; empty of an image that is answered about."""
    if answer.scope is None or not answer.scope.refused:
        return []
    return [wording.scope.none, *(wording.scope.sentence(reason) for reason in answer.scope.reasons)]


def refusals_of(one: Summarised, wording: Wording) -> list[tuple[str, str]]:
    """Methods that could not explain the finding, and why, in words."""
    return [(method, wording.refusals.clause(refusal)) for method, refusal in one.finding.refused.items()]


def place_of(one: Summarised, wording: Wording) -> str:
    """Where the finding is seen: by its heatmap or its segment; empty where neither may tell."""
    heatmap = _shown_map(one.finding)
    region = heatmap.region if heatmap is not None else one.finding.mask
    return "" if region is None else place_in_words(one.answer, one.finding, region, wording)


def _lines(
    answer: Answer,
    called: Sequence[SummaryRow],
    absent: Sequence[str],
    refused: Iterable[tuple[str, str, str | None]],
    silent: Sequence[str],
    layout: Layout,
    wording: Wording,
) -> list[Line]:
    """Below the findings: more of them, what was not found, what could not be done, and the foot."""
    words, ink = wording.pages, layout.colours.text
    lines = [Line(sentence, ink, SENTENCE, bold=True) for sentence in silent]
    if not called and absent:
        lines = [Line(words.nothing, ink, 1.5, bold=True), *lines]
    more = [
        f"{row.name} {number_of(row.shown.answer, row.shown.finding, wording)}".strip()
        for row in called[MOST_FINDINGS:]
    ]
    if more:
        lines.append(Line(words.more.format(count=len(more), names=wording.listed(more)), ink, SENTENCE, bold=True))
    if absent:
        lines.append(Line(words.not_found.format(names=wording.listed(absent)), ink, SENTENCE))
    moved = dict.fromkeys(
        wording.with_statement(row.name, prevalence_words(row.shown.answer, row.shown.finding, wording) or "")
        for row in called
        if row.shown.finding.prevalence is not None and row.shown.finding.prevalence.is_set
    )
    lines += [Line(prevalence, ink) for prevalence in moved]
    sentences = dict.fromkeys(_refusal(method, reason, image, wording) for method, reason, image in refused)
    lines += [Line(words.could_not.format(what=what), ink) for what in sentences]
    return [*lines, *foot_of(answer, layout, wording)]


def _refusal(method: str, reason: str, image: str | None, wording: Wording) -> str:
    said = f"{method_title_in(method, wording)} ({reason})"
    return said if image is None else wording.pages.study.on_image.format(image=image, said=said)


def _row(row: SummaryRow, width: int, text_size: int, layout: Layout, wording: Wording) -> Picture:
    """Thumbnail, name, place and number of a finding, and how far its explanation is to be trusted."""
    margin, one = layout.page.margin, row.shown
    side = thumbnail_side(layout)
    left = margin + side + margin
    bar_left = round(_BAR_AT * width)
    level, sentence = _trust(one, wording)
    probability = probability_of(one.finding, wording)
    name = fitted(row.name, round(1.5 * text_size), bar_left - left - margin, layout, bold=True, least=text_size)
    size = round(1.15 * text_size)
    lines = [
        line
        for place in row.places
        if place
        for line in wrapped(one_line(place), bar_left - left - margin, size, layout)
    ]
    where = Lines(tuple(lines), size) if lines else None
    mark = 0 if level is None else round(1.3 * text_size)
    said = Lines(tuple(wrapped(one_line(sentence), width - left - mark - 2 * margin, size, layout)), size)
    high = name.height + (0 if where is None else where.height)
    high = max(high, round(3.4 * text_size)) + round(0.4 * text_size)
    height = max(side, high + said.height) + margin
    canvas = Image.new("RGB", (width, height), layout.colours.background)
    draw = ImageDraw.Draw(canvas)
    draw.line((margin, 0, width - margin, 0), fill=layout.colours.faint, width=1)
    top = margin // 2
    canvas.paste(Image.fromarray(_thumbnail(one, side, layout)), (margin, top))
    end = draw_lines(draw, (left, top), name, layout.colours.text, layout)
    if where is not None:
        draw_lines(draw, (left, end), where, layout.colours.text, layout)
    if probability is not None:
        box = (bar_left, top, width - margin, top + 3.4 * text_size)
        draw_probability(draw, probability, box, text_size, layout)
    else:
        number = fitted(
            number_of(one.answer, one.finding, wording), round(1.3 * text_size), width - bar_left, layout, bold=True
        )
        draw_lines(draw, (bar_left, top), number, layout.colours.text, layout)
    if level is not None:
        draw_level(draw, level, (left, top + high, left + text_size, top + high + text_size), layout)
    draw_lines(draw, (left + mark, top + high - 0.1 * text_size), said, layout.colours.text, layout)
    return np.asarray(canvas)


def _trust(one: Summarised, wording: Wording) -> tuple[TrustLevel | None, str]:
    """The level of what explains the finding, and the sentence about it.

    Where there are heatmaps, they decide, for they would say where it is: another explanation that is reliable is none
    of the place.
    """
    finding = one.finding
    explained = finding.heatmaps or finding.explanations
    if explained:
        shown = next((graded for graded in explained if not graded.card.withheld), explained[0])
        trust = trust_in(shown.card, wording)
        return trust.level, trust.sentence or trust.badge + wording.full_stop
    if finding.refused:
        return TrustLevel.NOT_SHOWN, wording.pages.no_explanation
    return None, "" if finding.mask is not None else wording.pages.not_explained


def _shown_map(finding: Finding) -> MapInSource | None:
    return next((heatmap for heatmap in finding.heatmaps if not heatmap.card.withheld), None)


def thumbnail_side(layout: Layout) -> int:
    """Width and height in pixels of a thumbnail."""
    return round(_THUMBNAIL * text_size_of(page_width(layout)))


def thumbnail_background(image: SourceImage, index: int, side: int) -> Picture:
    """The frame that a thumbnail shows, as large as fits into it."""
    rows, columns = image.shape[1:]
    high = rows * image.frames[index].pixel_aspect
    scale = side / max(columns, high)
    return frame_picture(image, index, (max(1, round(columns * scale)), max(1, round(high * scale))))


def thumbnail_layout(layout: Layout) -> Layout:
    """The layout with thinner outlines."""
    return layout.model_copy(update={"contour": layout.contour.model_copy(update={"width": 2})})


def page_width(layout: Layout) -> int:
    """Width of the first page in pixels."""
    return min(_WIDTH, layout.page.width_at_most)


def _thumbnail(one: Summarised, side: int, layout: Layout) -> Picture:
    """The clearest frame with what explains the finding, or its segment; the bare image where nothing may be shown."""
    image, finding, heatmap = one.answer.image, one.finding, _shown_map(one.finding)
    index = 0
    if image.kind == "volume" and heatmap is not None:
        index = key_slices(heatmap.frame_strengths, layout)[0]
    elif image.kind == "volume" and finding.mask is not None:
        index = key_slices(strengths_of_mask(finding.mask), layout)[0]
    elif image.kind == "volume":
        index = len(image.frames) // 2
    background, small = thumbnail_background(image, index, side), thumbnail_layout(layout)
    if heatmap is not None:
        picture = overlay_of(heatmap, small)(background, index)
    elif finding.mask is not None:
        picture = with_mask(background, finding.mask[index], small)
    else:
        picture = background
    canvas = np.full((side, side, 3), layout.colours.background, np.uint8)
    above, left = (side - picture.shape[0]) // 2, (side - picture.shape[1]) // 2
    canvas[above : above + picture.shape[0], left : left + picture.shape[1]] = picture
    return canvas
