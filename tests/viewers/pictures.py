"""What screenshots show: pictures as arrays, where they lie in a window, and colours laid over grey."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Picture = NDArray[np.uint8]
"""(rows, columns, 3), RGB."""


def decoded(png: bytes) -> Picture:
    """A PNG as a picture."""
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


def fitted(picture: Picture, rows: int, columns: int) -> tuple[Picture, tuple[slice, slice]]:
    """The picture as large as the window allows, and the window's part that it takes when centred."""
    scale = min(rows / picture.shape[0], columns / picture.shape[1])
    height, width = round(picture.shape[0] * scale), round(picture.shape[1] * scale)
    top, left = (rows - height) // 2, (columns - width) // 2
    resized = Image.fromarray(picture).resize(
        (width, height), Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    )
    return np.asarray(resized), (slice(top, top + height), slice(left, left + width))


LIKE_TEXT = 0.8
"""Likeness above which a page of words is the one that was drawn: its letters are thin, and a window scales them in its
own way. 0.88 and 0.92 were seen of the right page, 0.39 of the same mirrored."""


def likeness(window: Picture, picture: Picture) -> float:
    """Correlation of the middle two thirds, where viewers write no text, with the picture fitted into the window."""
    expected, (rows, columns) = fitted(picture, *window.shape[:2])
    shown = window[rows, columns]
    top, left = shown.shape[0] // 6, shown.shape[1] // 6
    middle = (slice(top, -top), slice(left, -left))
    pair = np.corrcoef(shown[middle].ravel().astype(float), expected[middle].ravel().astype(float))
    return float(np.nan_to_num(pair[0, 1]))


def coloured(window: Picture, least: int = 24) -> NDArray[np.bool_]:
    """Where a picture of grey values has been coloured; specks smaller than 9 pixels (icons' edges) do not count."""
    channels = window.astype(int)
    mask = channels.max(-1) - channels.min(-1) >= least
    labels, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, labels, range(1, count + 1))
    return np.isin(labels, 1 + np.flatnonzero(np.asarray(sizes) >= 9))


def head(grey: NDArray[Any]) -> tuple[float, float, float, float]:
    """Top, left, height and width of the skull, the largest bright thing; `grey` in 0..255."""
    ((rows, columns),) = ndimage.find_objects(within_skull(grey).astype(int))
    return rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start


def within_skull(grey: NDArray[Any]) -> NDArray[np.bool_]:
    """The skull and all that it encloses."""
    labels, count = ndimage.label(grey > 200)
    if count == 0:  # a window that is still black
        return np.ones(grey.shape, bool)
    sizes = ndimage.sum_labels(np.ones_like(labels), labels, range(1, count + 1))
    return np.asarray(ndimage.binary_fill_holes(labels == 1 + int(np.argmax(sizes))))


def in_source(mask: NDArray[np.bool_], window: Picture, source: NDArray[Any]) -> NDArray[np.bool_]:
    """A mask over a window that shows a head, on the grid of the source slice: both lie relative to the skull.

    So neither the viewer's geometry nor ours is asked where the mask lies.
    """
    shown, own = head(window.max(-1)), head(source)
    rows, columns = np.indices(source.shape) + 0.5
    down = shown[0] + (rows - own[0]) / own[2] * shown[2]
    across = shown[1] + (columns - own[1]) / own[3] * shown[3]
    inside = (down >= 0) & (down < mask.shape[0]) & (across >= 0) & (across < mask.shape[1])
    return mask[down.astype(int).clip(0, mask.shape[0] - 1), across.astype(int).clip(0, mask.shape[1] - 1)] & inside


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Dice's overlap, 0..1."""
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))


def centre(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(row, column) of the centre of mass."""
    return np.asarray(np.argwhere(mask).mean(0))
