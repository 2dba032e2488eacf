"""Marks that are read before words: how far an explanation is to be trusted, and how probable a finding is."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ImageDraw

from whyray.results.page.text import Lines, draw_lines, fitted
from whyray.results.page.typeface import typeface
from whyray.results.template_layout import Layout
from whyray.results.template_parts import Colour
from whyray.results.trust import Trust, TrustLevel
from whyray.results.wording import Wording

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) on the page."""
_INK: Colour = (0, 0, 0)


@dataclass(frozen=True)
class Badge:
    """What a page says of its explanation before all words: a level, which has a shape of its own, and its name."""

    level: TrustLevel
    text: str


@dataclass(frozen=True)
class Probability:
    """A probability and the threshold from which on the finding is called, both in 0..1, with words for both."""

    value: float
    threshold: float
    value_words: str
    threshold_words: str


def badge_of(trust: Trust) -> Badge:
    """The badge of an explanation."""
    return Badge(trust.level, trust.badge)


def badge_not_shown(wording: Wording) -> Badge:
    """The badge where no explanation is shown, whatever the reason."""
    words = wording.trust
    return Badge(TrustLevel.NOT_SHOWN, words.badge.format(level=words.levels.not_shown))


def level_colour(level: TrustLevel, layout: Layout) -> Colour:
    """The colour of a level; its shape says the same to who can't tell colours apart."""
    colours = layout.colours
    return {
        TrustLevel.RELIABLE: colours.green,
        TrustLevel.CAUTION: colours.amber,
        TrustLevel.NOT_SHOWN: colours.faint,
    }[level]


def draw_level(draw: ImageDraw.ImageDraw, level: TrustLevel, box: Box, layout: Layout) -> None:
    """A disc with a tick, a triangle with an exclamation mark, or a barred ring."""
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    colour, line = level_colour(level, layout), max(2, round(wide / 9))
    if level is TrustLevel.CAUTION:
        draw.polygon([(left + wide / 2, top), (right, bottom), (left, bottom)], fill=colour)
        middle = left + wide / 2
        draw.line((middle, top + 0.36 * high, middle, top + 0.68 * high), fill=_INK, width=line)
        draw.ellipse((middle - line / 2, top + 0.76 * high, middle + line / 2, top + 0.76 * high + line), fill=_INK)
    elif level is TrustLevel.RELIABLE:
        draw.ellipse(box, fill=colour)
        tick = [(0.26, 0.53), (0.44, 0.7), (0.76, 0.32)]
        draw.line([(left + x * wide, top + y * high) for x, y in tick], fill=_INK, width=line, joint="curve")
    else:
        draw.ellipse(box, outline=colour, width=line)
        draw.line(
            (left + 0.18 * wide, top + 0.18 * high, left + 0.82 * wide, top + 0.82 * high), fill=colour, width=line
        )


def badge_size(badge: Badge, size: int, layout: Layout) -> tuple[int, int]:
    """(width, height) of a badge whose letters have this size."""
    words = fitted(badge.text, size, 10_000, layout, bold=True)
    return round(_length(words, layout) + 2.6 * size), round(1.9 * size)


def draw_badge(draw: ImageDraw.ImageDraw, badge: Badge, place: tuple[float, float], size: int, layout: Layout) -> None:
    """The mark of the level, then its words, in a frame whose left upper corner is at `place`."""
    left, top = place
    wide, high = badge_size(badge, size, layout)
    colour = level_colour(badge.level, layout)
    draw.rounded_rectangle((left, top, left + wide, top + high), radius=high // 4, outline=colour, width=3)
    edge = round(0.45 * size)
    draw_level(draw, badge.level, (left + edge, top + edge, left + edge + size, top + edge + size), layout)
    words = fitted(badge.text, size, 10_000, layout, bold=True)
    draw_lines(draw, (left + 1.9 * size, top + 0.38 * size), words, layout.colours.text, layout)


def draw_probability(draw: ImageDraw.ImageDraw, probability: Probability, box: Box, size: int, layout: Layout) -> None:
    """A bar from 0 to 1, the threshold as a mark across it with its words below, the value at its right."""
    left, top, right, bottom = box
    value = fitted(probability.value_words, round(size * 1.3), 10_000, layout, bold=True)
    end = right - _length(value, layout) - size / 2
    middle = top + 0.3 * (bottom - top)
    half = 0.42 * size
    reached = left + probability.value * (end - left)
    draw.rectangle((left, middle - half, end, middle + half), outline=layout.colours.faint, width=2)
    called = probability.value >= probability.threshold
    ink = layout.colours.text if called else layout.colours.faint
    draw.rectangle((left, middle - half, max(reached, left + 1), middle + half), fill=ink)
    at = left + probability.threshold * (end - left)
    draw.line((at, middle - 1.6 * half, at, middle + 1.6 * half), fill=layout.colours.background, width=7)
    draw.line((at, middle - 1.6 * half, at, middle + 1.6 * half), fill=layout.colours.amber, width=3)
    words = fitted(probability.threshold_words, size, right - left, layout)
    half_long = _length(words, layout) / 2
    place = min(max(at, left + half_long), max(right - half_long, left + half_long))
    draw_lines(draw, (place, middle + 1.7 * half), words, layout.colours.faint, layout, at="m")
    draw_lines(draw, (end + size / 2, middle - 0.72 * value.size), value, layout.colours.text, layout)


def _length(lines: Lines, layout: Layout) -> float:
    return max(typeface(layout.fonts, line, lines.size, bold=lines.bold).getlength(line) for line in lines.lines)
