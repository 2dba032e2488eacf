"""Where the slices of a page lie in their volume: a view across all slices, with a line for each that is shown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from whyray.imaging import SourceImage, derived_orientation, opposite
from whyray.results.page.layout import Panel, panel_letters
from whyray.results.page.overlay import Picture
from whyray.results.page.text import LEAST_TEXT, Lines, draw_lines
from whyray.results.page.typeface import typeface
from whyray.results.template_layout import Layout

_LABELS = 2.6
"""Room for the slices' numbers beside the view, in letters."""
_TALLEST = 1.6
"""Height of the view over its width, at most."""
_UP = "HAR"
"""What is at the top, by the direction in which slices follow each other."""


def locator(image: SourceImage, slices: Sequence[int], width: int, caption: str, layout: Layout) -> Panel | None:
    """The view, `width` pixels wide with the numbers of the slices; None where the slices have no place in the patient.

    The mean along the slices' columns: of an axial series a frontal view. Slices stand where they are in mm, whatever
    their distances, and the patient's head, front or right is at the top.
    """
    affines = [frame.to_patient for frame in image.frames]
    spacing = image.frames[0].spacing
    if spacing is None or any(affine is None for affine in affines):
        return None
    origins = np.array([affine[:3, 3] for affine in affines if affine is not None])
    first = affines[0]
    assert first is not None
    normal = first[:3, 2]
    places = (origins - origins[0]) @ normal
    (along, _), row = derived_orientation(np.column_stack([normal, normal, normal, normal])), first[:3, 0]
    across, _ = derived_orientation(np.column_stack([row, row, row, row]))
    step = float(np.median([after - before for before, after in pairwise(places)]))
    span = float(places[-1] - places[0]) + step
    letters = max(LEAST_TEXT, width // 16)
    wide = width - round(_LABELS * letters)
    high = max(letters * 2, round(wide * min(span / (spacing[1] * image.shape[2]), _TALLEST)))
    tops = (places + step / 2) / span * high
    is_turned = along[:1] in _UP
    if is_turned:
        tops = high - tops
    view = _view(image, tops, (wide, high))
    below = opposite(along[:1]) if is_turned else along[:1]
    view = _with_letters(view, (across[:1], below), letters, layout)
    picture = _with_lines(view, tops, slices, width, letters, layout)
    return Panel(None, False, picture, caption)


def _view(image: SourceImage, tops: np.ndarray, size: tuple[int, int]) -> Picture:
    """The mean along columns, each line of the picture that of the nearest slice."""
    wide, high = size
    flat = image.column_means
    nearest = np.abs(tops[np.newaxis] - (np.arange(high) + 0.5)[:, np.newaxis]).argmin(axis=1)
    lines = flat[nearest] / max(float(flat.max()), 1e-6)
    pixels = np.rint(np.clip(lines, 0, 1) * 255).astype(np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((wide, high), Image.Resampling.BICUBIC).convert("RGB"))


def _with_letters(view: Picture, orientation: tuple[str, str], letters: int, layout: Layout) -> Picture:
    """The view with the patient's directions at its edges."""
    canvas = Image.fromarray(view)
    draw, (wide, high), edge = ImageDraw.Draw(canvas), canvas.size, letters // 3
    at_left, at_right, at_top, at_bottom = panel_letters(orientation)
    for text, place, anchor in (
        (at_left, (edge, high // 2), "lm"),
        (at_right, (wide - edge, high // 2), "rm"),
        (at_top, (wide // 2, edge), "mt"),
        (at_bottom, (wide // 2, high - edge), "mb"),
    ):
        font = typeface(layout.fonts, text, letters, bold=True)
        draw.text(place, text, font=font, fill=layout.colours.on_image, anchor=anchor, stroke_width=2, stroke_fill=0)
    return np.asarray(canvas)


def _with_lines(
    view: Picture, tops: np.ndarray, slices: Sequence[int], width: int, letters: int, layout: Layout
) -> Picture:
    """A line across the view for each slice, and its number beside it, moved where two would touch."""
    high, wide = view.shape[:2]
    leading = round(1.15 * letters)
    ordered = sorted(slices, key=lambda index: float(tops[index]))
    labels: list[float] = []
    for index in ordered:
        labels.append(max(float(tops[index]), labels[-1] + leading if labels else leading / 2))
    over = max(0.0, labels[-1] + leading / 2 - high) if labels else 0.0
    canvas = Image.new("RGB", (width, high), layout.colours.background)
    canvas.paste(Image.fromarray(view), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for index, label in zip(ordered, labels, strict=True):
        at, beside = float(tops[index]), max(label - over, leading / 2)
        draw.line((0, at, wide, at), fill=(0, 0, 0), width=7)
        draw.line((0, at, wide, at), fill=layout.contour.colour, width=3)
        draw.line((wide, at, wide + letters * 0.6, beside), fill=layout.contour.colour, width=3)
        number = Lines((str(index + 1),), letters, bold=True)
        draw_lines(draw, (wide + letters * 0.8, beside - 0.6 * letters), number, layout.colours.text, layout)
    return np.asarray(canvas)
