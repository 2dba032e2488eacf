"""Putting panels, colour bar and words on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from whyray.imaging.orientation import opposite
from whyray.results.page.overlay import Picture, map_colours
from whyray.results.page.typeface import typeface
from whyray.results.templates import Colour, Layout

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
    caption_height = round(text_size * 1.7)
    panel_height = panels[0].picture.shape[0] if panels else 0
    rows = -(-len(panels) // columns) if panels else 0
    header = margin + round(title_size * 1.35) + round(text_size * 1.9)
    banner = round(text_size * 2.4) if words.banner else 0
    body = rows * (caption_height + panel_height + margin)
    height = header + banner + body + margin // 2 + round(len(wrapped) * text_size * 1.45) + margin
    canvas = Image.new("RGB", (width, height), layout.colours.background)
    draw = ImageDraw.Draw(canvas)
    _draw_header(draw, words, width, title_size, text_size, layout)
    top = header
    if words.banner:
        _draw_banner(draw, words.banner, (0, top, width, top + banner - margin // 3), text_size, layout)
        top += banner
    placed = []
    for index, panel in enumerate(panels):
        left = margin + index % columns * (panel.picture.shape[1] + margin)
        upper = top + index // columns * (caption_height + panel_height + margin) + caption_height
        placed.append(_draw_panel(canvas, draw, panel, left, upper, text_size, layout))
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


def _draw_header(
    draw: ImageDraw.ImageDraw, words: Words, width: int, title_size: int, text_size: int, layout: Layout
) -> None:
    margin = layout.page.margin
    room = width - 2 * margin
    if words.badge:
        text, colour = words.badge
        font = typeface(layout.fonts, text, round(title_size * 0.55), bold=True)
        wide = round(draw.textlength(text, font=font)) + 2 * margin
        box = (width - margin - wide, margin, width - margin, margin + title_size)
        draw.rounded_rectangle(box, radius=title_size // 5, fill=colour)
        draw.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), text, font=font, fill=(0, 0, 0), anchor="mm")
        room -= wide + margin
    size = title_size
    font = typeface(layout.fonts, words.title, size, bold=True)
    while size > text_size and draw.textlength(words.title, font=font) > room:
        size -= 2
        font = typeface(layout.fonts, words.title, size, bold=True)
    draw.text((margin, margin), words.title, font=font, fill=layout.colours.text)
    below = (margin, margin + round(title_size * 1.35))
    draw.text(below, words.subtitle, font=typeface(layout.fonts, words.subtitle, text_size), fill=layout.colours.faint)


def _draw_banner(
    draw: ImageDraw.ImageDraw,
    banner: tuple[str, Colour],
    box: tuple[int, int, int, int],
    text_size: int,
    layout: Layout,
) -> None:
    text, colour = banner
    draw.rectangle(box, fill=colour)
    text, font = _fitting(draw, text, round(text_size * 1.25), box[2] - box[0] - 2 * layout.page.margin, layout)
    draw.text((layout.page.margin, (box[1] + box[3]) / 2), text, font=font, fill=(0, 0, 0), anchor="lm")


def _draw_panel(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    panel: Panel,
    left: int,
    top: int,
    text_size: int,
    layout: Layout,
) -> Panel:
    height, width = panel.picture.shape[:2]
    canvas.paste(Image.fromarray(panel.picture), (left, top))
    caption, font = _fitting(draw, _one_line(panel.caption), text_size, width, layout)
    draw.text((left, top - round(text_size * 0.5)), caption, font=font, fill=layout.colours.text, anchor="ls")
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
    above, below = round(text_size * 1.8), round(text_size * 3.2)
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
        (bar.unit, top + height + text_size * 2, "lt", layout.colours.text),
    ):
        text, font = _fitting(
            draw, _one_line(text), text_size, _bar_space(layout.page.width_at_most), layout, bold=False
        )
        draw.text((left, y), text, font=font, fill=colour, anchor=anchor)


def _one_line(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)


def _fitting(
    draw: ImageDraw.ImageDraw, text: str, size: int, room: int, layout: Layout, *, bold: bool = True
) -> tuple[str, ImageFont.FreeTypeFont]:
    """The text and its font, smaller and at last cut short so that it fits into `room`."""
    least = max(10, round(size * 0.7))
    font = typeface(layout.fonts, text, size, bold=bold)
    while size > least and draw.textlength(text, font=font) > room:
        size -= 1
        font = typeface(layout.fonts, text, size, bold=bold)
    while len(text) > 1 and draw.textlength(text, font=font) > room:
        text = text.rstrip("…")[:-1] + "…"
    return text, font


def _wrap(text: str, room: int, size: int, layout: Layout) -> list[str]:
    """Lines no wider than `room`; broken at spaces, or anywhere in scripts that use none."""
    font = typeface(layout.fonts, text, size)
    lines, line = [], ""
    spaced = " " in text
    for piece in text.split(" ") if spaced else list(text):
        longer = f"{line} {piece}" if line and spaced else line + piece
        if line and font.getlength(longer) > room:
            lines.append(line)
            line = piece
        else:
            line = longer
    return [*lines, line]
