"""One frame as a picture of given size: as displayed, and with a heatmap or a mask laid over it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from whyray.base.arrays import BoolArray, FloatArray
from whyray.results.page.mask_scaling import shrunk
from whyray.results.page.text import LEAST_TEXT, draw_lines, fitted
from whyray.results.template_layout import Layout
from whyray.results.template_parts import Colour

Picture = NDArray[np.uint8]
Size = tuple[int, int]
"""(width, height) in pixels of the page."""
_TABLES = Path(__file__).with_name("colour_tables.npz")
"""What `_table` gives for the maps that the shipped layout names."""
_BAND = 64
"""Rows of a picture that are coloured together."""
_UNSEEN = 0.4
"""Share of its brightness that a place keeps which the model did not see."""


def plain(display: FloatArray, size: Size) -> Picture:
    """A frame as displayed, (rows, columns) or (rows, columns, 3) in 0..1, as RGB of `size`."""
    pixels: Picture = np.empty(display.shape, np.uint8)
    for rows in _bands(len(display)):
        scaled = np.clip(display[rows], 0, 1)
        scaled *= 255
        pixels[rows] = np.rint(scaled, out=scaled)
    shrinks = size[0] < pixels.shape[1] or size[1] < pixels.shape[0]
    resampling = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
    resized = np.asarray(Image.fromarray(pixels).resize(size, resampling))
    return np.repeat(resized[..., np.newaxis], 3, axis=2) if resized.ndim == 2 else resized


def with_heatmap(
    background: Picture, values: FloatArray, region: BoolArray, top: float, layout: Layout, *, signed: bool
) -> Picture:
    """A heatmap and the outline of its region over a picture.

    Parameters
    ----------
    background
        (height, width, 3), from `plain`.
    values, region
        (rows, columns) of the source frame.
    top
        The value at the end of the colour scale; the scale begins at 0, or at -top for a signed map.
    """
    size = (background.shape[1], background.shape[0])
    scaled = _resize(values, size) / top if top > 0 else np.zeros(background.shape[:2], np.float32)
    strength = np.clip(np.abs(scaled), 0, 1)
    start, end = layout.opacity.start, layout.opacity.top
    alpha = np.clip((strength - start) / (1 - start), 0, 1) * end
    return _outlined(_blended(background, scaled, alpha, layout, signed=signed), _resize_mask(region, size), layout)


def with_finding(background: Picture, values: FloatArray, region: BoolArray, top: float, layout: Layout) -> Picture:
    """What speaks for a finding over a picture: in colour inside its region, faint about it, and the region outlined.

    Parameters
    ----------
    background
        (height, width, 3), from `plain`.
    values, region
        (rows, columns) of the source frame; what is negative speaks against the finding and is not drawn.
    top
        The value at the end of the colour scale, which begins at 0.
    """
    size = (background.shape[1], background.shape[0])
    scaled = np.clip(_resize(values, size) / top, 0, 1) if top > 0 else np.zeros(background.shape[:2], np.float32)
    start, end = layout.opacity.start, layout.opacity.top
    inside = _resize_mask(region, size)
    share = np.clip((scaled - start) / (1 - start), 0, 1)
    alpha = np.where(inside, share, share * layout.opacity.around) * end
    return _outlined(_blended(background, scaled, alpha, layout, signed=False), inside, layout)


def with_mask(background: Picture, mask: BoolArray, layout: Layout) -> Picture:
    """A mask as a tint with an outline over a picture."""
    inside = _resize_mask(mask, (background.shape[1], background.shape[0]))
    tinted = background.copy()
    share = layout.opacity.top / 2
    tinted[inside] = np.rint(background[inside] * (1 - share) + np.array(layout.contour.colour) * share)
    return _outlined(tinted, inside, layout)


def with_outline(background: Picture, region: BoolArray, colour: Colour, width: int) -> Picture:
    """The outline of a region, drawn inside it, between two dark lines of half its width.

    By its colour it stays apart from the heat for most readers; by the dark lines for those who see no colours, and on
    grey paper.
    """
    inside = _resize_mask(region, (background.shape[1], background.shape[0]))
    return _with_line(background.copy(), inside, colour, width)


def _outlined(drawn: Picture, inside: BoolArray, layout: Layout) -> Picture:
    return _with_line(drawn, inside, layout.contour.colour, layout.contour.width)


def _with_line(drawn: Picture, inside: BoolArray, colour: Colour, width: int) -> Picture:
    """The picture itself, with the outline of what is inside, (height, width), drawn into it."""
    dark = max(1, width // 2)
    box = _box_of(inside, beside=dark + 1)  # beyond it nothing is drawn
    if box is None:
        return drawn
    inside, part = inside[box], drawn[box]
    left = ndimage.binary_erosion(inside, iterations=width, border_value=1)
    within = inside & ~ndimage.binary_erosion(left, iterations=dark, border_value=1)
    about = ndimage.binary_dilation(inside, iterations=dark) & ~inside
    part[within | about] = 0
    part[inside & ~left] = colour
    return drawn


def _blended(
    background: Picture, scaled: NDArray[np.float32], alpha: NDArray[Any], layout: Layout, *, signed: bool
) -> Picture:
    """A copy of the picture with the colours of a map over it, `alpha` of them at each place."""
    drawn = background.copy()
    box = _box_of(alpha > 0)
    if box is not None:
        part, below, heat, over = drawn[box], background[box], scaled[box], alpha[box][..., np.newaxis]
        for rows in _bands(len(part)):
            colours = map_colours(heat[rows], layout, signed=signed)
            part[rows] = np.rint(below[rows] * (1 - over[rows]) + colours * over[rows])
    return drawn


def _bands(rows: int) -> Iterator[slice]:
    """Rows in bands: colours as float64 are eight times a picture, and whole ones of them more than a radiograph."""
    return (slice(first, first + _BAND) for first in range(0, rows, _BAND))


def _box_of(mask: BoolArray, beside: int = 0) -> tuple[slice, slice] | None:
    """The rows and columns in which a mask is set, and so many beside; None where it is nowhere."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    first, last = (max(0, int(rows[0]) - beside), max(0, int(columns[0]) - beside)), (int(rows[-1]), int(columns[-1]))
    return slice(first[0], last[0] + 1 + beside), slice(first[1], last[1] + 1 + beside)


def dimmed_where_unseen(background: Picture, covered: BoolArray) -> Picture:
    """The picture, darker where the model's field of view does not reach: no attribution there means nothing."""
    if covered.all():
        return background
    seen = _resize_share(covered, (background.shape[1], background.shape[0]))[..., np.newaxis]
    dimmed = np.empty_like(background)
    for rows in _bands(len(background)):
        dimmed[rows] = np.rint(background[rows] * (_UNSEEN + (1 - _UNSEEN) * seen[rows])).astype(np.uint8)
    return dimmed


def strip(width: int, words: str, layout: Layout) -> Picture:
    """Words on a strip to stand above a picture of this width, as large as that allows: what nobody may overlook."""
    lines = fitted(words, max(LEAST_TEXT, width // 18), width - 8, layout, bold=True)
    edge = round(0.2 * lines.size)
    image = Image.new("RGB", (width, lines.height + 2 * edge), layout.colours.amber)
    draw_lines(ImageDraw.Draw(image), (width / 2, edge), lines, (0, 0, 0), layout, at="m")
    return np.asarray(image)


def map_colours(scaled: NDArray[np.float32], layout: Layout, *, signed: bool) -> NDArray[np.float64]:
    """RGB 0..255 of values scaled to 0..1, or to -1..1 for a signed map."""
    name = layout.colour_maps.signed if signed else layout.colour_maps.unsigned
    share = (scaled + 1) / 2 if signed else scaled
    table = _table(name)
    return table.take((np.clip(share, 0, 1) * len(table)).astype(np.intp), axis=0, mode="clip")


@lru_cache(maxsize=8)
def _table(name: str) -> NDArray[np.float64]:
    """The colours (number, 3) of one of matplotlib's maps, 0..255."""
    with np.load(_TABLES, allow_pickle=False) as shipped:
        if name in shipped:
            table: NDArray[np.float64] = shipped[name]
            return table
    import matplotlib  # late: it takes longer than a page

    colours = matplotlib.colormaps[name]
    return np.asarray(colours(np.arange(colours.N))[:, :3], dtype=np.float64) * 255


def _resize(values: FloatArray, size: Size) -> NDArray[np.float32]:
    image = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))


def _resize_mask(mask: BoolArray, size: Size) -> BoolArray:
    grows = size[0] >= mask.shape[1] and size[1] >= mask.shape[0]
    if not grows and (counted := shrunk(mask, size)) is not None:
        return counted
    share = _resize(mask.astype(np.float32), size) if grows else _resize_share(mask, size)
    # A region too thin for any page pixel to be half inside stays visible.
    return share >= 0.5 if (share >= 0.5).any() else share > 0


def _resize_share(mask: BoolArray, size: Size) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX))
