"""Charts for pages: signed bars, points on a plane, a curve. Drawn with the page's own fonts, so in its languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from whyray.results.numbers import Numbers
from whyray.results.page.overlay import Picture
from whyray.results.page.text import LEADING, LEAST_TEXT, fitted
from whyray.results.page.typeface import typeface
from whyray.results.template_layout import Layout
from whyray.results.template_parts import Colour

_MOST_TEXT = 30
"""Height of the largest letters of a chart."""
_FOR, _AGAINST, _NEUTRAL = (213, 94, 0), (86, 180, 233), (150, 150, 150)
# Okabe and Ito's colours, distinct for colour-blind readers too.
_GROUPS: tuple[Colour, ...] = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (150, 150, 150))


@dataclass(frozen=True)
class Bar:
    """One bar: `value` in the chart's unit, `interval` as a whisker, `note` behind it; faint if unreliable."""

    label: str
    value: float
    interval: tuple[float, float] | None = None
    note: str = ""
    faint: bool = False


@dataclass(frozen=True)
class Points:
    """A group of points (M, 2), with its name in the legend."""

    places: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    name: str


def bar_chart(
    bars: Sequence[Bar], unit: str, size: tuple[int, int], layout: Layout, numbers: Numbers | None = None
) -> Picture:
    """Horizontal bars from a zero line, from top to bottom as given; `size` is (width, height) of the picture, which is
    higher where bars need it.

    Positive bars and negative ones have two colours; an interval is a line through the bar's end. `numbers`: how the
    ends of the scale are written below it; without it, they aren't.
    """
    width, height = size
    text = max(LEAST_TEXT, min(height // (2 * len(bars) + 4), width // 28, _MOST_TEXT))
    height = max(height, (2 * len(bars) + 3) * text)
    canvas, draw = _canvas((width, height), layout)
    labels = min(round(width * 0.38), max((_long(draw, bar.label, text, layout) for bar in bars), default=0) + text)
    notes = min(round(width * 0.3), max((_long(draw, bar.note, text, layout) for bar in bars), default=0) + text)
    left, right = labels + text, width - notes - text
    ends = [0.0, *(bar.value for bar in bars), *(end for bar in bars for end in bar.interval or ())]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0

    def across(value: float) -> float:
        return left + (value - low) / span * (right - left)

    room = (height - 3 * text) / max(len(bars), 1)
    label_text = min((_fitting(bar.label, text, labels - text // 2, layout) for bar in bars), default=text)
    note_text = min((_fitting(bar.note, text, notes, layout) for bar in bars), default=text)
    for number, bar in enumerate(bars):
        middle = text + (number + 0.5) * room
        half = min(room * 0.32, text)
        colour = _NEUTRAL if bar.faint else _FOR if bar.value >= 0 else _AGAINST
        start, end = sorted((across(0.0), across(bar.value)))
        draw.rectangle((start, middle - half, max(end, start + 1), middle + half), fill=colour)
        if bar.interval is not None:
            first, last = across(bar.interval[0]), across(bar.interval[1])
            draw.line((first, middle, last, middle), fill=layout.colours.text, width=2)
            for x in (first, last):
                draw.line((x, middle - half / 2, x, middle + half / 2), fill=layout.colours.text, width=2)
        ink = layout.colours.faint if bar.faint else layout.colours.text
        _write(draw, (labels, middle), bar.label, label_text, layout, anchor="rm", room=labels - text // 2, ink=ink)
        _write(draw, (right + text // 2, middle), bar.note, note_text, layout, anchor="lm", room=notes, ink=ink)
    draw.line((across(0.0), text, across(0.0), height - 2 * text), fill=layout.colours.faint, width=1)
    written = [] if numbers is None else [(value, numbers.significant(value, 3)) for value in (low, high)]
    for value, words in written:
        _write(draw, (across(value), height - text), words, text, layout, anchor="mm", ink=layout.colours.faint)
    middle = (left + right) / 2
    _write(draw, (middle, height - text), unit, text, layout, anchor="mm", room=(right - left) // 2)
    return np.asarray(canvas)


def scale_chart(value: float, limit: float, ends: tuple[str, str], size: tuple[int, int], layout: Layout) -> Picture:
    """A place on a scale of 0 to 100 that is ordinary up to `limit`: a band whose last part is striped, and a mark."""
    canvas, draw = _canvas(size, layout)
    width, height = size
    text = max(LEAST_TEXT, min(width // 34, _MOST_TEXT))
    left, right, middle = 2 * text, width - 2 * text, height / 2
    at, edge = (left + share / 100 * (right - left) for share in (value, limit))
    draw.rectangle((left, middle - text, right, middle + text), outline=layout.colours.faint, width=2)
    draw.rectangle((left, middle - text, edge, middle + text), fill=_NEUTRAL)
    for start in range(round(edge), right, 8):
        draw.line((start, middle - text, start, middle + text), fill=layout.colours.amber, width=3)
    mark = [(at, middle - text), (at - 0.8 * text, middle - 2.4 * text), (at + 0.8 * text, middle - 2.4 * text)]
    draw.polygon(mark, fill=layout.colours.text)
    draw.line((at, middle - text, at, middle + text), fill=layout.colours.text, width=5)
    _write(draw, (left, middle + 2 * text), ends[0], text, layout, anchor="lm", room=width / 2 - 2 * text)
    _write(draw, (right, middle + 2 * text), ends[1], text, layout, anchor="rm", room=width / 2 - 2 * text)
    return np.asarray(canvas)


def scatter_chart(
    groups: Sequence[Points],
    here: tuple[float, float],
    here_name: str,
    axes: tuple[str, str],
    size: tuple[int, int],
    layout: Layout,
) -> Picture:
    """Groups of points in colours of their own, and one place marked by a cross; `axes` are words for x and y."""
    canvas, draw = _canvas(size, layout)
    width, height = size
    text = max(LEAST_TEXT, min(width // 34, _MOST_TEXT))
    box = (2 * text, text * (2 + len(groups)), width - text, height - 3 * text)
    every = np.concatenate([group.places for group in groups] + [np.asarray([here], np.float32)])
    low, high = every.min(axis=0), every.max(axis=0)
    span = np.where(high > low, high - low, 1.0)

    def on_page(place: Sequence[float]) -> tuple[float, float]:
        x, y = (np.asarray(place) - low) / span
        return box[0] + x * (box[2] - box[0]), box[3] - y * (box[3] - box[1])

    draw.rectangle(box, outline=layout.colours.faint)
    radius = max(2, text // 5)
    for number, group in enumerate(groups):
        colour = _GROUPS[number % len(_GROUPS)]
        for place in group.places:
            x, y = on_page(place)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        top = text * (number + 0.9)
        draw.ellipse((2 * text - radius, top - radius, 2 * text + radius, top + radius), fill=colour)
        _write(draw, (3 * text, top), group.name, text, layout, anchor="lm", room=width // 2 - 3 * text)
    x, y = on_page(here)
    arm = text * 0.8
    for ink, wide in ((layout.colours.background, 7), (layout.colours.text, 3)):
        draw.line((x - arm, y, x + arm, y), fill=ink, width=wide)
        draw.line((x, y - arm, x, y + arm), fill=ink, width=wide)
    _write(draw, (width - text, text), f"+ {here_name}", text, layout, anchor="rm", room=width // 2 - text)
    _write(
        draw, ((box[0] + box[2]) / 2, height - 1.5 * text), axes[0], text, layout, anchor="mm", room=width - 4 * text
    )
    sideways = Image.new("RGB", (box[3] - box[1], round(1.6 * text)), layout.colours.background)
    _write(
        ImageDraw.Draw(sideways),
        (sideways.width / 2, sideways.height / 2),
        axes[1],
        text,
        layout,
        anchor="mm",
        room=sideways.width,
    )
    canvas.paste(sideways.rotate(90, expand=True), (2, box[1]))
    return np.asarray(canvas)


def curve_chart(
    values: Sequence[float],
    marks: Sequence[tuple[int, str]],
    level: tuple[float, str] | None,
    axes: tuple[str, str],
    size: tuple[int, int],
    layout: Layout,
    numbers: Numbers,
) -> Picture:
    """Values at equal steps, some of them marked and named, and a level as a dashed line; 0..1 where values allow."""
    canvas, draw = _canvas(size, layout)
    width, height = size
    text = max(LEAST_TEXT, min(width // 34, _MOST_TEXT))
    box = (5 * text, text, width - text, height - 4 * text)
    ends = [*values, *([level[0]] if level else [])]
    low, high = _range(ends)
    span = (high - low) or 1.0

    def on_page(index: float, value: float) -> tuple[float, float]:
        x = box[0] + index / max(len(values) - 1, 1) * (box[2] - box[0])
        return x, box[3] - (value - low) / span * (box[3] - box[1])

    draw.rectangle(box, outline=layout.colours.faint)
    if level is not None:
        y = on_page(0, level[0])[1]
        for start in range(box[0], box[2], 12):
            draw.line((start, y, min(start + 6, box[2]), y), fill=layout.colours.amber, width=2)
        _write(draw, (box[0] + 6, y + text * 0.8), level[1], text, layout, anchor="lm", ink=layout.colours.amber)
    draw.line([on_page(index, value) for index, value in enumerate(values)], fill=_FOR, width=3)
    for index, name in marks:
        x, y = on_page(index, values[index])
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=layout.colours.text)
        side = "l" if index < len(values) / 2 else "r"
        _write(draw, (x + (10 if side == "l" else -10), y - text), name, text, layout, anchor=f"{side}m")
    for value in (low, high):
        _write(
            draw, (box[0] - text // 2, on_page(0, value)[1]), numbers.significant(value, 3), text, layout, anchor="rm"
        )
    _write(draw, ((box[0] + box[2]) / 2, height - 2 * text), axes[0], text, layout, anchor="mm", room=width - 4 * text)
    _write(draw, (box[0], height - 2 * text), axes[1], text, layout, anchor="lm", room=width // 2)
    return np.asarray(canvas)


def _range(ends: Sequence[float]) -> tuple[float, float]:
    """From 0 to the first of 0.1, 0.25, 0.5, 1 that holds all values with some room; their own range for others."""
    if min(ends) >= 0 and max(ends) <= 1:
        return 0.0, next((top for top in (0.1, 0.25, 0.5) if max(ends) < 0.9 * top), 1.0)
    return min(ends), max(ends)


def _canvas(size: tuple[int, int], layout: Layout) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    canvas = Image.new("RGB", size, layout.colours.background)
    return canvas, ImageDraw.Draw(canvas)


def _long(draw: ImageDraw.ImageDraw, words: str, size: int, layout: Layout) -> int:
    return round(draw.textlength(words, font=typeface(layout.fonts, words, size))) if words else 0


def _fitting(words: str, size: int, room: float, layout: Layout) -> int:
    """The size of letters that fits, so that all bars can have that of the longest."""
    return fitted(words, size, room, layout, least=min(size, LEAST_TEXT)).size if words else size


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    words: str,
    size: int,
    layout: Layout,
    *,
    anchor: str,
    room: float | None = None,
    ink: Colour | None = None,
) -> None:
    """Words at a place; where there is not enough room, smaller, and then in several lines about the place."""
    if not words:
        return
    lines = fitted(words, size, 1e6 if room is None else room, layout, least=min(size, LEAST_TEXT))
    across, down = place
    step = LEADING * lines.size
    for number, line in enumerate(lines.lines):
        font = typeface(layout.fonts, line, lines.size)
        middle = down + (number - (len(lines.lines) - 1) / 2) * step
        draw.text((across, middle), line, font=font, fill=ink or layout.colours.text, anchor=anchor)
