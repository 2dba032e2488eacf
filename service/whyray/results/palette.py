"""Pages in at most 256 colours: a third of the bytes of RGB, and compressed less than half of what RGB comes to.

A page is mostly grey, which RGB tells three times; no lossless compression that common archives show notices that.
Median cut (Heckbert, SIGGRAPH 1982) and the like give rare colours away, which are letters and outlines here. So greys
and the most frequent colours are kept first, and the rest is shared out so that all others are covered (Pillow's
MAXCOVERAGE).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import KDTree

_COLOURS = 256
_TOO_MANY = 1 << 15
"""Colours from which on a picture is taken for a photograph in colour."""
_GREYS = 96
"""At most so many of the colours are greys, of which a page with a radiograph has all 256."""
_FREQUENT = 24
"""Colours that are kept as they are: backgrounds, letters, lines."""
_FAITHFUL = 1.0
"""Of 255: what the colours may differ by on average; a page with more, smooth over many colours, shows terraces."""
_WEIGHTS = np.array([299, 587, 114])
"""Of red, green and blue in brightness (ITU-R BT.601)."""

Colours = NDArray[np.uint8]
"""(colours, 3), RGB."""


@dataclass(frozen=True, eq=False)
class InPalette:
    """A picture of at most 256 colours: `indices` (rows, columns) into `colours` (n, 3), from dark to bright."""

    indices: NDArray[np.uint8]
    colours: Colours

    @property
    def picture(self) -> NDArray[np.uint8]:
        """(rows, columns, 3), RGB."""
        return self.colours[self.indices]


def in_palette(picture: NDArray[np.uint8]) -> InPalette | None:
    """The picture in the 256 colours that suit it; None where it would not look the same.

    A picture that has no more colours is kept as it is; else greys change by 1 of 255 at most.

    Parameters
    ----------
    picture
        (rows, columns, 3), RGB.
    """
    codes = picture[..., 0].astype(np.uint32) << 16 | picture[..., 1].astype(np.uint32) << 8 | picture[..., 2]
    present = np.zeros(1 << 24, bool)
    present[codes] = True
    seen = np.flatnonzero(present).astype(np.uint32)
    if len(seen) > _TOO_MANY:
        return None
    colours = np.stack([seen >> 16, seen >> 8 & 255, seen & 255], axis=1).astype(np.uint8)
    place = np.zeros(1 << 24, np.uint32)
    place[seen] = np.arange(len(seen), dtype=np.uint32)
    indices = place[codes]
    counts = np.bincount(indices.ravel(), minlength=len(colours))
    chosen = colours if len(colours) <= _COLOURS else _chosen(colours, counts)
    chosen = chosen[np.argsort(chosen @ _WEIGHTS, kind="stable")]
    nearest = KDTree(chosen.astype(np.float32)).query(colours.astype(np.float32))[1].astype(np.uint8)
    changes = np.abs(chosen[nearest].astype(np.int16) - colours).max(axis=1)
    return InPalette(nearest[indices], chosen) if np.average(changes, weights=counts) <= _FAITHFUL else None


def _chosen(colours: Colours, counts: NDArray[np.int64]) -> Colours:
    """256 of the colours, or near them."""
    grey = (colours == colours[:, :1]).all(axis=1)
    greys, others = colours[grey], colours[~grey]
    if len(greys) > _GREYS:
        levels = np.linspace(greys.min(), greys.max(), _GREYS)
        greys = np.repeat(np.rint(levels).astype(np.uint8)[:, np.newaxis], 3, axis=1)
    order = np.argsort(-counts[~grey], kind="stable")
    kept, rest = others[order[:_FREQUENT]], others[order[_FREQUENT:]]
    left = _COLOURS - len(greys) - len(kept)
    if len(rest) > left:
        covering = Image.fromarray(rest[np.newaxis]).quantize(left, Image.Quantize.MAXCOVERAGE)
        rest = np.array(covering.getpalette(), np.uint8).reshape(-1, 3)
    return np.unique(np.concatenate([greys, kept, rest]), axis=0)
