"""Pages with every number, for scientists: measurements with baseline and threshold, parameters, digest, scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from whyray.imaging import frame_orientation
from whyray.quality import QualityCard
from whyray.results.answer import Answer, Finding, GradedExplanation, MapInSource
from whyray.results.page.key_slices import key_slices
from whyray.results.page.layout import ColourBar, Line, Page, Panel, Words, compose, panel_size
from whyray.results.page.marks import badge_of
from whyray.results.page.overlay import Picture, dimmed_where_unseen, plain, with_heatmap
from whyray.results.page.said import about_words, foot_of, name_of, probability_of, scale_bar
from whyray.results.page.text import LEAST_TEXT, Lines, draw_lines, one_line, wrapped
from whyray.results.page.typed import figure_panels
from whyray.results.page.typeface import typeface
from whyray.results.portray import Portrayal
from whyray.results.reasons import reasons_in
from whyray.results.template_layout import Layout
from whyray.results.trust import trust_in
from whyray.results.wording import Wording

_NAME_SHARE = 0.42
"""Width of the names of measurements, in what short columns leave to names and rules."""


def map_details(answer: Answer, finding: Finding, heatmap: MapInSource, layout: Layout, wording: Wording) -> Page:
    """All that was measured of a map, beside the whole map with its colour scale; of a volume on its clearest slice."""
    top = heatmap.largest
    ends = (wording.negative, wording.positive) if heatmap.signed else ("", "")
    index = 0 if answer.image.kind == "planar" else key_slices(heatmap.frame_strengths, layout)[0]
    frame = answer.image.frames[index]
    size = panel_size(frame.shape, frame.pixel_aspect, 2, layout)
    seen = dimmed_where_unseen(plain(answer.image.display[index], size), heatmap.covered[index])
    picture = with_heatmap(seen, heatmap.values[index], heatmap.region[index], top, layout, signed=heatmap.signed)
    orientation = frame_orientation(frame, answer.image.headers[frame.sop_instance_uid])
    caption = wording.overlay.format(method=heatmap.name)
    if answer.image.kind == "volume":
        caption += " · " + wording.slice.format(number=index + 1, total=len(answer.image.frames))
    panel = Panel(index, True, picture, caption, orientation, scale_bar(frame, size, wording.numbers))
    scope = wording.scale_planar if answer.image.kind == "planar" else wording.scale_volume
    method = [wording.method.format(method=heatmap.name)]
    if heatmap.layer:
        method.append(wording.layer.format(layer=heatmap.layer))
    method += [wording.unit.format(unit=heatmap.unit), scope]
    lines = [
        "  ·  ".join(method),
        wording.region.format(rule=wording.region_rules.get(heatmap.region_rule, heatmap.region_rule)),
    ]
    words = _words(answer, finding, heatmap.name, heatmap.card, lines, heatmap.parameters, layout, wording)
    bar = ColourBar(top, heatmap.signed, heatmap.unit, ends, wording.numbers)
    return _with_table(compose(words, [panel], 1, bar, layout), heatmap.card, layout, wording)


def typed_details(
    answer: Answer, finding: Finding, graded: GradedExplanation, portrayal: Portrayal, layout: Layout, wording: Wording
) -> Page:
    """All that was measured of an explanation that is not a heatmap, with its figures as they were made."""
    words = _words(
        answer,
        finding,
        graded.method,
        graded.card,
        [portrayal.headline, *portrayal.lines],
        graded.explanation.parameters,
        layout,
        wording,
    )
    panels = figure_panels(portrayal.figures, layout, wording)
    return _with_table(compose(words, panels, portrayal.columns, None, layout), graded.card, layout, wording)


def _words(
    answer: Answer,
    finding: Finding,
    method: str,
    card: QualityCard,
    lines: list[str],
    parameters: Mapping[str, object],
    layout: Layout,
    wording: Wording,
) -> Words:
    colours, words = layout.colours, wording.pages
    written = ", ".join(f"{name} = {value}" for name, value in parameters.items())
    grade = getattr(wording.grades, card.grade.value)
    said = [
        *lines,
        wording.with_statement(
            wording.quality, f"{grade}  ·  {'; '.join(reasons_in(card, wording)) or wording.no_concerns}"
        ),
        *([words.parameters.format(parameters=written)] if written else []),
        words.digest.format(digest=answer.package.digest),
    ]
    return Words(
        title=words.details.format(name=name_of(finding, wording), method=method),
        subtitle=about_words(answer, finding, wording),
        badge=badge_of(trust_in(card, wording)),
        banner=None,
        legend=[*(Line(line, colours.text, 0.9) for line in said), *foot_of(answer, layout, wording)],
        probability=probability_of(finding, wording),
    )


def _with_table(page: Page, card: QualityCard, layout: Layout, wording: Wording) -> Page:
    """The page with a table of all measurements below it."""
    return Page(np.concatenate([page.picture, _table(card, page.picture.shape[1], layout, wording)]), page.panels)


def _columns(rows: Sequence[Sequence[str]], room: int, layout: Layout) -> list[float]:
    """Widths in pixels: value, baseline and grade as wide as their widest text, the rest for names and rules."""
    short = [
        max(typeface(layout.fonts, row[column], LEAST_TEXT).getlength(row[column]) for row in rows) + 1.5 * LEAST_TEXT
        for column in (1, 2, 3)
    ]
    rest = room - sum(short)
    return [_NAME_SHARE * rest, *short, (1 - _NAME_SHARE) * rest]


def _table(card: QualityCard, width: int, layout: Layout, wording: Wording) -> Picture:
    words, numbers, margin, colours = wording.pages, wording.numbers, layout.page.margin, layout.colours
    room = width - 2 * margin
    rows = [(words.measurement, words.value, words.baseline, words.grade, words.rule)]
    for one in card.measurements:
        baseline = "" if one.baseline is None else numbers.significant(one.baseline, 3)
        name = wording.measured.names.get(one.name, one.name)
        grade = getattr(wording.grades, one.grade.value)
        rows.append((name, numbers.significant(one.value, 3), baseline, grade, one.rule))
    columns = _columns(rows, room, layout)
    cells = [
        [
            Lines(tuple(wrapped(one_line(text), column - LEAST_TEXT, LEAST_TEXT, layout)), LEAST_TEXT)
            for text, column in zip(row, columns, strict=True)
        ]
        for row in rows
    ]
    heights = [max(cell.height for cell in row) + LEAST_TEXT // 2 for row in cells]
    canvas = Image.new("RGB", (width, sum(heights) + margin), colours.background)
    draw = ImageDraw.Draw(canvas)
    top = 0
    for number, (row, height) in enumerate(zip(cells, heights, strict=True)):
        left: float = margin
        for cell, column in zip(row, columns, strict=True):
            ink = colours.text if number else colours.faint
            draw_lines(draw, (left, top), cell, ink, layout)
            left += column
        top += height
        draw.line((margin, top - LEAST_TEXT // 4, width - margin, top - LEAST_TEXT // 4), fill=colours.faint)
    return np.asarray(canvas)
