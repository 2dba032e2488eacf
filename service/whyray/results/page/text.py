"""Text in a given room: whole words, smaller down to a floor, then in several lines; never cut."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from PIL import ImageDraw, ImageFont

from whyray.results.page.typeface import typeface
from whyray.results.template_layout import Layout
from whyray.results.template_parts import Colour

LEAST_TEXT = 20
"""Height of the smallest letters of a page, in its pixels: 10 on a screen that shows the page at half its size."""
LEADING = 1.3
"""Distance of lines, in heights of letters."""
_UNBROKEN = "\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"
_NOT_FIRST = ":;!?%»"
"""No line begins with one of them."""
_TEXT_SHARE = 66
"""Letters' height: the page's width over this, so that a page is legible at any size of display."""


@dataclass(frozen=True)
class Lines:
    """Lines of text in letters of one size."""

    lines: tuple[str, ...]
    size: int
    bold: bool = False

    @property
    def height(self) -> int:
        """Pixels from the top of the first line to the bottom of the last."""
        return round(self.size * LEADING * len(self.lines))


def text_size_of(width: int) -> int:
    """Height of letters on a page of this width."""
    return max(LEAST_TEXT, width // _TEXT_SHARE)


def one_line(text: str) -> str:
    """The text with spaces for line breaks and what can't be printed, since names and reasons come from elsewhere."""
    return "".join(character if character.isprintable() or character in _UNBROKEN else " " for character in text)


def fitted(
    text: str, size: int, room: float, layout: Layout, *, bold: bool = False, least: int = LEAST_TEXT, step: int = 1
) -> Lines:
    """The text in one line of `room` pixels, smaller down to `least`; where that is not enough, in several lines."""
    text = one_line(text)
    while size > least and typeface(layout.fonts, text, size, bold=bold).getlength(text) > room:
        size -= step
    return Lines(tuple(wrapped(text, room, size, layout, bold=bold)), size, bold)


def wrapped(text: str, room: float, size: int, layout: Layout, *, bold: bool = False) -> list[str]:
    """Lines no wider than `room`; broken at spaces, or anywhere in wider words and in scripts that use no spaces."""
    return list(_broken(typeface(layout.fonts, text, size, bold=bold), text, room))


@lru_cache(maxsize=512)  # pages say the same sentences, page after page and job after job
def _broken(font: ImageFont.FreeTypeFont, text: str, room: float) -> tuple[str, ...]:
    lines, line = [], ""
    spaced = " " in text
    for piece in _pieces(text) if spaced else list(text):
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
    return (*lines, line)


def _pieces(text: str) -> list[str]:
    """What lies between spaces at which a line may end: not before the sign of a percentage or a French colon."""
    pieces: list[str] = []
    for piece in text.split(" "):
        if pieces and piece and piece[0] in _NOT_FIRST:
            pieces[-1] += f" {piece}"
        else:
            pieces.append(piece)
    return pieces


def draw_lines(
    draw: ImageDraw.ImageDraw,
    place: tuple[float, float],
    lines: Lines,
    colour: Colour,
    layout: Layout,
    *,
    at: str = "l",
) -> float:
    """Draw lines from `place` down, left (`l`), middle (`m`) or right (`r`) of them there; the end from the top."""
    left, top = place
    for number, line in enumerate(lines.lines):
        if not line:
            continue
        font = typeface(layout.fonts, line, lines.size, bold=lines.bold)
        draw.text((left, top + number * lines.size * LEADING), line, font=font, fill=colour, anchor=f"{at}a")
    return top + lines.height
