"""Putting panels, colour bar and words on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from whyray.imaging import opposite
from whyray.results.numbers import Numbers
from whyray.results.page.marks import Badge, Probability, badge_size, draw_badge, draw_probability
from whyray.results.page.overlay import Picture, map_colours
from whyray.results.page.text import LEAST_TEXT, Lines, draw_lines, fitted, one_line, text_size_of, wrapped
from whyray.results.page.typeface import typeface
from whyray.results.template_layout import Layout
from whyray.results.template_parts import Colour

LEAST_PAGE_WIDTH = 1100
TITLE_SCALE = 2.0
"""Height of a title's letters, in those of the text."""
_BADGE_SCALE = 1.15
_PROBABILITY = (0.55, 3.4)
"""Width of the bar of a probability, in the page's, and height in letters of the text."""
_BAR_SHARE = 40


_ENGLISH = Numbers()


@dataclass(frozen=True)
class Panel:
    """One picture on a page: a frame (index into the source's frames; None for what is none), and what is on it."""

    frame: int | None
    overlaid: bool
    picture: Picture
    caption: str
    orientation: tuple[str, str] | None = None
    scale_bar: tuple[int, str] | None = None
    """Length in pixels of the page, and what it stands for."""
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    """(left, top, width, height) on the page, once placed."""


@dataclass(frozen=True)
class ColourBar:
    """The scale from bottom to top, in the map's unit."""

    top: float
    signed: bool
    unit: str
    ends: tuple[str, str]
    """Words at the bottom and the top; may be empty."""
    numbers: Numbers = _ENGLISH


@dataclass(frozen=True)
class Line:
    """One statement below the panels; `scale` is the height of its letters in those of the text."""

    text: str
    colour: Colour
    scale: float = 1.0
    bold: bool = False


@dataclass(frozen=True)
class Words:
    """All words of a page but the captions."""

    title: str
    subtitle: str
    badge: Badge | None
    banner: tuple[str, Colour] | None
    legend: Sequence[Line]
    probability: Probability | None = None


@dataclass(frozen=True)
class Page:
    """A finished page and where its panels lie."""

    picture: NDArray[np.uint8]
    panels: tuple[Panel, ...]


def panel_size(
    shape: tuple[int, int],
    aspect: float,
    columns: int,
    layout: Layout,
    *,
    highest: int | None = None,
    aside: int | None = None,
) -> tuple[int, int]:
    """(width, height) of each panel so that `columns` of them and the colour bar fit on a page.

    Parameters
    ----------
    shape
        (rows, columns) of the source frame.
    aspect
        Height over width of a pixel.
    highest
        Of a panel, where the page's own limit is for several rows.
    aside
        Width of what stands at the right of the panels, in the bar's stead.
    """
    page = layout.page
    bar = _bar_space(page.width_at_most) if aside is None else aside + page.margin
    widest = (page.width_at_most - bar - page.margin * (columns + 1)) // columns
    width = min(max(shape[1], page.panel_at_least), widest)
    height = round(width * shape[0] * aspect / shape[1])
    most = page.panel_height_at_most if highest is None else highest
    if height > most:
        height = most
        width = max(1, round(height * shape[1] / (shape[0] * aspect)))
    return width, max(1, height)


def compose(
    words: Words,
    panels: Sequence[Panel],
    columns: int,
    bar: ColourBar | None,
    layout: Layout,
    *,
    width: int | None = None,
    aside: Panel | None = None,
) -> Page:
    """Draw a page: title and badge, probability, banner, panels in rows of `columns`, colour bar, statements.

    `width` in pixels; None for as wide as the panels need. `aside` stands at the right of all panels; it is none of
    them.
    """
    margin = layout.page.margin
    width = width or _page_width(panels, columns, bar, layout, aside)
    text_size, room = text_size_of(width), width - 2 * margin
    heading = _Heading.of(words, room, text_size, layout)
    warning = (
        None if words.banner is None else fitted(words.banner[0], round(text_size * 1.25), room, layout, bold=True)
    )
    banner = 0 if warning is None else warning.height + text_size
    captions = [
        fitted(panel.caption, round(text_size * 1.05), panel.picture.shape[1], layout, bold=True) for panel in panels
    ]
    caption_height = round(0.5 * text_size) + max((caption.height for caption in captions), default=0)
    panel_height = max((panel.picture.shape[0] for panel in panels), default=0)
    rows = -(-len(panels) // columns) if panels else 0
    body = rows * (caption_height + panel_height + margin)
    beside = (
        None
        if aside is None
        else fitted(aside.caption, round(text_size * 1.05), aside.picture.shape[1], layout, bold=True)
    )
    if aside is not None and beside is not None:
        caption_height = max(caption_height, round(0.5 * text_size) + beside.height)
        body = max(rows * (caption_height + panel_height + margin), caption_height + aside.picture.shape[0] + margin)
    statements = [(_statement(line, room, text_size, layout), line.colour) for line in words.legend]
    below = sum(lines.height + round(0.35 * text_size) for lines, _ in statements)
    top = margin + heading.height
    height = top + banner + body + margin // 2 + below + margin
    canvas = Image.new("RGB", (width, height), layout.colours.background)
    draw = ImageDraw.Draw(canvas)
    heading.draw(draw, words, (margin, margin), room, text_size, layout)
    if words.banner is not None and warning is not None:
        draw.rectangle((0, top, width, top + banner - margin // 3), fill=words.banner[1])
        draw_lines(draw, (margin, top + (banner - margin // 3 - warning.height) / 2), warning, (0, 0, 0), layout)
        top += banner
    placed = []
    for index, panel in enumerate(panels):
        left = margin + index % columns * (panel.picture.shape[1] + margin)
        upper = top + index // columns * (caption_height + panel_height + margin) + caption_height
        placed.append(_draw_panel(canvas, draw, panel, captions[index], left, upper, text_size, layout))
    if aside is not None and beside is not None and placed:
        left = margin + columns * (placed[0].box[2] + margin)
        _draw_panel(canvas, draw, aside, beside, left, placed[0].box[1], text_size, layout)
    if bar is not None and placed:
        left = margin + columns * (placed[0].box[2] + margin)
        _draw_bar(canvas, draw, bar, (left, placed[0].box[1], panel_height), text_size, layout)
    line_top: float = top + body + margin // 2
    for lines, colour in statements:
        line_top = draw_lines(draw, (margin, line_top), lines, colour, layout) + round(0.35 * text_size)
    return Page(np.asarray(canvas), tuple(placed))


def _statement(line: Line, room: int, text_size: int, layout: Layout) -> Lines:
    size = max(LEAST_TEXT, round(text_size * line.scale))
    return Lines(tuple(wrapped(one_line(line.text), room, size, layout, bold=line.bold)), size, line.bold)


def _page_width(
    panels: Sequence[Panel], columns: int, bar: ColourBar | None, layout: Layout, aside: Panel | None
) -> int:
    if not panels:
        return LEAST_PAGE_WIDTH
    across = min(columns, len(panels))
    needed = across * int(panels[0].picture.shape[1]) + (across + 1) * layout.page.margin
    needed += 0 if bar is None else _bar_space(layout.page.width_at_most)
    needed += 0 if aside is None else aside.picture.shape[1] + layout.page.margin
    return min(max(needed, LEAST_PAGE_WIDTH), layout.page.width_at_most)


def _bar_space(page_width: int) -> int:
    return round(page_width / _BAR_SHARE * 3.2)


@dataclass(frozen=True)
class _Heading:
    """Title beside the badge, what stands below it, and the probability."""

    title: Lines | None
    subtitle: Lines | None
    beside: int
    """Height of title and badge."""
    height: int

    @staticmethod
    def of(words: Words, room: int, text_size: int, layout: Layout) -> _Heading:
        badge = (0, 0) if words.badge is None else badge_size(words.badge, _badge_letters(text_size), layout)
        left = room - (badge[0] + layout.page.margin if words.badge else 0)
        large, least = round(text_size * TITLE_SCALE), round(1.2 * text_size)
        title = fitted(words.title, large, left, layout, bold=True, least=least, step=2) if words.title else None
        size = round(text_size * 1.15)
        subtitle = Lines(tuple(wrapped(one_line(words.subtitle), room, size, layout)), size) if words.subtitle else None
        beside = max(0 if title is None else title.height, badge[1])
        height = beside + (0 if subtitle is None else subtitle.height)
        height += round(0.6 * text_size) if height else 0
        height += 0 if words.probability is None else round(_PROBABILITY[1] * text_size)
        return _Heading(title, subtitle, beside, height)

    def draw(
        self,
        draw: ImageDraw.ImageDraw,
        words: Words,
        place: tuple[int, int],
        room: int,
        text_size: int,
        layout: Layout,
    ) -> None:
        left, top = place
        if self.title is not None:
            draw_lines(draw, place, self.title, layout.colours.text, layout)
        if words.badge is not None:
            letters = _badge_letters(text_size)
            draw_badge(
                draw, words.badge, (left + room - badge_size(words.badge, letters, layout)[0], top), letters, layout
            )
        below: float = top + self.beside
        if self.subtitle is not None:
            below = draw_lines(draw, (left, below), self.subtitle, layout.colours.text, layout)
        if words.probability is not None:
            below += 0.5 * text_size
            box = (left, below, left + _PROBABILITY[0] * room, below + _PROBABILITY[1] * text_size)
            draw_probability(draw, words.probability, box, text_size, layout)


def _badge_letters(text_size: int) -> int:
    return round(text_size * _BADGE_SCALE)


def _draw_panel(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    panel: Panel,
    caption: Lines,
    left: int,
    top: int,
    text_size: int,
    layout: Layout,
) -> Panel:
    height, width = panel.picture.shape[:2]
    canvas.paste(Image.fromarray(panel.picture), (left, top))
    draw_lines(draw, (left, top - 0.25 * text_size - caption.height), caption, layout.colours.text, layout)
    edge = max(4, text_size // 3)
    if panel.orientation is not None:
        at_left, at_right, at_top, at_bottom = panel_letters(panel.orientation)
        for text, position, anchor in (
            (at_left, (left + edge, top + height // 2), "lm"),
            (at_right, (left + width - edge, top + height // 2), "rm"),
            (at_top, (left + width // 2, top + edge), "mt"),
            (at_bottom, (left + width // 2, top + height - edge), "mb"),
        ):
            font = typeface(layout.fonts, text, round(text_size * 1.15), bold=True)
            draw.text(
                position, text, font=font, fill=layout.colours.on_image, anchor=anchor, stroke_width=2, stroke_fill=0
            )
    if panel.scale_bar is not None:
        length, text = panel.scale_bar
        right, bottom = left + width - 2 * edge, top + height - 2 * edge
        draw.rectangle((right - length - 1, bottom - 6, right + 1, bottom + 1), fill=(0, 0, 0))
        draw.rectangle((right - length, bottom - 5, right, bottom), fill=layout.colours.on_image)
        font = typeface(layout.fonts, text, text_size)
        above = (right, bottom - 10)
        draw.text(above, text, font=font, fill=layout.colours.on_image, anchor="rb", stroke_width=2, stroke_fill=0)
    return replace(panel, box=(left, top, width, height))


def panel_letters(orientation: tuple[str, str]) -> tuple[str, str, str, str]:
    """Letters at the left, right, top and bottom of a panel."""
    row, column = orientation
    return opposite(row), row, opposite(column), column


def _draw_bar(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    bar: ColourBar,
    place: tuple[int, int, int],
    text_size: int,
    layout: Layout,
) -> None:
    left, top, height = place
    room = _bar_space(layout.page.width_at_most)
    unit, low, high = (fitted(text, text_size, room, layout) for text in (bar.unit, *bar.ends))
    above, below = high.height + text_size, low.height + unit.height + text_size
    height = max(height - above - below, 20)
    top += above
    wide = max(12, text_size)
    share = np.linspace(1, -1 if bar.signed else 0, height, dtype=np.float32)[:, np.newaxis]
    colours = map_colours(np.repeat(share, wide, axis=1), layout, signed=bar.signed)
    canvas.paste(Image.fromarray(np.rint(colours).astype(np.uint8)), (left, top))
    draw.rectangle((left - 1, top - 1, left + wide, top + height), outline=layout.colours.faint)
    bottom = -bar.top if bar.signed else 0.0
    for value in (bar.top, (bar.top + bottom) / 2, bottom):
        y = top + (bar.top - value) / ((bar.top - bottom) or 1) * height
        draw.line((left + wide, y, left + wide + 5, y), fill=layout.colours.text)
        text = bar.numbers.significant(value, 3)
        draw.text(
            (left + wide + 8, y),
            text,
            font=typeface(layout.fonts, text, text_size),
            fill=layout.colours.text,
            anchor="lm",
        )
    draw_lines(draw, (left, top - 0.6 * text_size - high.height), high, layout.colours.faint, layout)
    end = draw_lines(draw, (left, top + height + 0.6 * text_size), low, layout.colours.faint, layout)
    draw_lines(draw, (left, end), unit, layout.colours.text, layout)
