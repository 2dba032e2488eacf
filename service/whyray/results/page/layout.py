"""Putting panels, colour bar and words on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from whyray.imaging import opposite
from whyray.results.page.overlay import Picture, map_colours
from whyray.results.page.typeface import typeface
from whyray.results.template_layout import Layout
from whyray.results.template_parts import Colour

_LEAST_PAGE_WIDTH = 1100
_TITLE_SHARE, _TEXT_SHARE = 30, 88
"""Letters' heights: the page's width over these numbers, so that a page is legible at any size of display."""
_BAR_SHARE = 40


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


@dataclass(frozen=True)
class Words:
    """All text of a page but the captions; line breaks become spaces, since names and reasons come from elsewhere."""

    title: str
    subtitle: str
    badge: tuple[str, Colour] | None
    banner: tuple[str, Colour] | None
    legend: Sequence[tuple[str, Colour]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", _one_line(self.title))
        object.__setattr__(self, "subtitle", _one_line(self.subtitle))
        object.__setattr__(self, "legend", [(_one_line(text), colour) for text, colour in self.legend])
        if self.banner is not None:
            object.__setattr__(self, "banner", (_one_line(self.banner[0]), self.banner[1]))


@dataclass(frozen=True)
class Page:
    """A finished page and where its panels lie."""

    picture: NDArray[np.uint8]
    panels: tuple[Panel, ...]


def panel_size(shape: tuple[int, int], aspect: float, columns: int, layout: Layout) -> tuple[int, int]:
    """(width, height) of each panel so that `columns` of them and the colour bar fit on a page.

    Parameters
    ----------
    shape
        (rows, columns) of the source frame.
    aspect
        Height over width of a pixel.
    """
    page = layout.page
    bar = _bar_space(page.width_at_most)
    widest = (page.width_at_most - bar - page.margin * (columns + 1)) // columns
    width = min(max(shape[1], page.panel_at_least), widest)
    height = round(width * shape[0] * aspect / shape[1])
    if height > page.panel_height_at_most:
        height = page.panel_height_at_most
        width = max(1, round(height * shape[1] / (shape[0] * aspect)))
    return width, max(1, height)


def text_size_of(width: int) -> int:
    """Height of letters on a page of this width."""
    return max(14, width // _TEXT_SHARE)


def compose(words: Words, panels: Sequence[Panel], columns: int, bar: ColourBar | None, layout: Layout) -> Page:
    """Draw a page: title and grade, banner, panels in rows of `columns`, colour bar, legend."""
    margin, width = layout.page.margin, _page_width(panels, columns, layout)
    title_size, text_size = width // _TITLE_SHARE, text_size_of(width)
    canvas = Image.new("RGB", (width, 1), layout.colours.background)
    wrapped = [
        (line, colour) for text, colour in words.legend for line in _wrap(text, width - 2 * margin, text_size, layout)
    ]
    captions = [_fitted(_one_line(panel.caption), text_size, panel.picture.shape[1], layout) for panel in panels]
    caption_height = round(text_size * (0.4 + 1.3 * max((len(caption.lines) for caption in captions), default=1)))
    panel_height = panels[0].picture.shape[0] if panels else 0
    rows = -(-len(panels) // columns) if panels else 0
    heading = _heading(words, width, title_size, text_size, layout)
    header = margin + round(title_size * 1.35) * len(heading.title) + round(text_size * 1.9) * len(heading.subtitle)
    warning = (
        None if words.banner is None else _fitted(words.banner[0], round(text_size * 1.25), width - 2 * margin, layout)
    )
    banner = 0 if warning is None else round(text_size * (0.9 + 1.5 * len(warning.lines)))
    body = rows * (caption_height + panel_height + margin)
    height = header + banner + body + margin // 2 + round(len(wrapped) * text_size * 1.45) + margin
    canvas = Image.new("RGB", (width, height), layout.colours.background)
    draw = ImageDraw.Draw(canvas)
    _draw_header(draw, words, heading, width, title_size, text_size, layout)
    top = header
    if words.banner is not None and warning is not None:
        _draw_banner(draw, warning, words.banner[1], (0, top, width, top + banner - margin // 3), layout)
        top += banner
    placed = []
    for index, panel in enumerate(panels):
        left = margin + index % columns * (panel.picture.shape[1] + margin)
        upper = top + index // columns * (caption_height + panel_height + margin) + caption_height
        placed.append(_draw_panel(canvas, draw, panel, captions[index], left, upper, text_size, layout))
    if bar is not None and placed:
        left = margin + columns * (placed[0].box[2] + margin)
        _draw_bar(canvas, draw, bar, (left, placed[0].box[1], panel_height), text_size, layout)
    line_top = top + body + margin // 2
    for number, (line, colour) in enumerate(wrapped):
        position = (margin, line_top + round(number * text_size * 1.45))
        draw.text(position, line, font=typeface(layout.fonts, line, text_size), fill=colour)
    return Page(np.asarray(canvas), tuple(placed))


def _page_width(panels: Sequence[Panel], columns: int, layout: Layout) -> int:
    if not panels:
        return _LEAST_PAGE_WIDTH
    across = min(columns, len(panels))
    needed = across * int(panels[0].picture.shape[1]) + (across + 1) * layout.page.margin
    needed += _bar_space(layout.page.width_at_most)
    return min(max(needed, _LEAST_PAGE_WIDTH), layout.page.width_at_most)


def _bar_space(page_width: int) -> int:
    return round(page_width / _BAR_SHARE * 3.2)


@dataclass(frozen=True)
class _Heading:
    title: tuple[str, ...]
    title_size: int
    subtitle: tuple[str, ...]


def _heading(words: Words, width: int, title_size: int, text_size: int, layout: Layout) -> _Heading:
    """Title and subtitle in lines: the title beside the badge, smaller where it is long, and then in several lines."""
    room = width - 2 * layout.page.margin
    beside = room - (_badge_width(words.badge[0], title_size, layout) + layout.page.margin if words.badge else 0)
    title = _fitted(words.title, title_size, beside, layout, least=text_size, step=2)
    return _Heading(title.lines, title.size, tuple(_wrap(words.subtitle, room, text_size, layout)))


def _badge_width(text: str, title_size: int, layout: Layout) -> int:
    font = typeface(layout.fonts, text, round(title_size * 0.55), bold=True)
    return round(font.getlength(text)) + 2 * layout.page.margin


def _draw_header(
    draw: ImageDraw.ImageDraw,
    words: Words,
    heading: _Heading,
    width: int,
    title_size: int,
    text_size: int,
    layout: Layout,
) -> None:
    margin = layout.page.margin
    if words.badge:
        text, colour = words.badge
        font = typeface(layout.fonts, text, round(title_size * 0.55), bold=True)
        wide = _badge_width(text, title_size, layout)
        box = (width - margin - wide, margin, width - margin, margin + title_size)
        draw.rounded_rectangle(box, radius=title_size // 5, fill=colour)
        draw.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), text, font=font, fill=(0, 0, 0), anchor="mm")
    top = margin
    for line in heading.title:
        font = typeface(layout.fonts, line, heading.title_size, bold=True)
        draw.text((margin, top), line, font=font, fill=layout.colours.text)
        top += round(title_size * 1.35)
    for line in heading.subtitle:
        draw.text((margin, top), line, font=typeface(layout.fonts, line, text_size), fill=layout.colours.faint)
        top += round(text_size * 1.9)


def _draw_banner(
    draw: ImageDraw.ImageDraw, warning: _Lines, colour: Colour, box: tuple[int, int, int, int], layout: Layout
) -> None:
    draw.rectangle(box, fill=colour)
    step = (box[3] - box[1]) / (len(warning.lines) + 0.2)
    for number, line in enumerate(warning.lines):
        middle = box[1] + step * (number + 0.6)
        font = typeface(layout.fonts, line, warning.size, bold=True)
        draw.text((layout.page.margin, middle), line, font=font, fill=(0, 0, 0), anchor="lm")


def _draw_panel(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    panel: Panel,
    caption: _Lines,
    left: int,
    top: int,
    text_size: int,
    layout: Layout,
) -> Panel:
    height, width = panel.picture.shape[:2]
    canvas.paste(Image.fromarray(panel.picture), (left, top))
    for number, line in enumerate(reversed(caption.lines)):
        place = (left, top - round(text_size * (0.5 + 1.3 * number)))
        font = typeface(layout.fonts, line, caption.size, bold=True)
        draw.text(place, line, font=font, fill=layout.colours.text, anchor="ls")
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
    return Panel(**{**panel.__dict__, "box": (left, top, width, height)})


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
    unit = _fitted(_one_line(bar.unit), text_size, room, layout, bold=False)
    above, below = round(text_size * 1.8), round(text_size * (2.0 + 1.2 * len(unit.lines)))
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
        text = f"{value:.3g}"
        draw.text(
            (left + wide + 8, y),
            text,
            font=typeface(layout.fonts, text, text_size),
            fill=layout.colours.text,
            anchor="lm",
        )
    for text, y, anchor, colour in (
        (bar.ends[1], top - text_size * 0.7, "ls", layout.colours.faint),
        (bar.ends[0], top + height + text_size * 0.7, "lt", layout.colours.faint),
    ):
        text, font = shortened(_one_line(text), text_size, room, layout)
        draw.text((left, y), text, font=font, fill=colour, anchor=anchor)
    for number, line in enumerate(unit.lines):
        font = typeface(layout.fonts, line, unit.size)
        y = top + height + text_size * (2 + 1.2 * number)
        draw.text((left, y), line, font=font, fill=layout.colours.text, anchor="lt")


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


@dataclass(frozen=True)
class _Lines:
    lines: tuple[str, ...]
    size: int


def _fitted(
    text: str, size: int, room: int, layout: Layout, *, bold: bool = True, least: int | None = None, step: int = 1
) -> _Lines:
    """The text in one line of `room`, smaller where it must be; where that is not enough, in several lines."""
    smallest = max(10, round(size * 0.7)) if least is None else least
    while size > smallest and typeface(layout.fonts, text, size, bold=bold).getlength(text) > room:
        size -= step
    return _Lines(tuple(_wrap(text, room, size, layout, bold=bold)), size)


def shortened(text: str, size: int, room: float, layout: Layout) -> tuple[str, ImageFont.FreeTypeFont]:
    """A label and its font where there is room for one line alone: smaller, and at last cut after a word.

    The report has every label in full.
    """
    smallest = max(10, round(size * 0.7))
    font = typeface(layout.fonts, text, size)
    while size > smallest and font.getlength(text) > room:
        size -= 1
        font = typeface(layout.fonts, text, size)
    whole = text
    while len(text) > 1 and font.getlength(text) > room:
        left = text.removesuffix("…").rstrip()
        words, _, last = left.rpartition(" ")
        # a first word that is too long itself can only be cut within
        text = (words.rstrip(" ,;:") if words and last else left[:-1]) + "…"
    return (text if text != "…" else whole[:1]), font


def _wrap(text: str, room: int, size: int, layout: Layout, *, bold: bool = False) -> list[str]:
    """Lines no wider than `room`; broken at spaces, or anywhere in wider words and in scripts that use no spaces."""
    font = typeface(layout.fonts, text, size, bold=bold)
    lines, line = [], ""
    spaced = " " in text
    for piece in text.split(" ") if spaced else list(text):
        longer = f"{line} {piece}" if line and spaced else line + piece
        if line and font.getlength(longer) > room:
            lines.append(line)
            line = piece
        else:
            line = longer
        while len(line) > 1 and font.getlength(line) > room:
            fits = next((n for n in range(len(line) - 1, 0, -1) if font.getlength(line[:n]) <= room), 1)
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line]
