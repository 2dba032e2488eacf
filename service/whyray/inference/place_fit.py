"""Where a map lies over the image, told from how it answers to bands of the image: one guess against others.

A map that lies elsewhere is known by contrast: another place (mirrored, turned, cropped, padded) explains where its
answers differ from band to band much better than the image's own place does. Nets that look far around answer almost
alike to every band; then no guess explains much, and none is taken for true.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
Response = tuple[int, float, NDArray[np.float64]]
"""Axis of the image, middle of the band on it (0..1), and how much each cell (*grid) changed."""
_SHIFTS = np.linspace(-0.5, 0.5, 21)
"""Guesses at where the first edge of a map lies, and the last one less 1, as shares of the image's axis."""
_SPREADS = (0.06, 0.12, 0.2, 0.35)
"""Standard deviations of what a band moves, as shares of the axis: guesses at how far a net looks."""
_LEAST_ROLL = 0.15
_MOST_CELLS = 64
_EXPLAINED, _MARGIN, _FARTHER = 0.75, 0.15, 2.0
"""Another place is believed that explains at least so much of the differences between bands, and by such a margin more
than the image's own; another axis that explains so many times as much as the own one. Of 28 nets with random weights,
their fields up to all of the image, none explained 0.7 by another place and a margin of 0.02 at once."""
_SHARP_FEWEST, _SHARP_SPREAD, _SHARP_BEND = 12, 0.06, 0.01
"""Cells from which on, standard deviation of what a band lights up (share of the axis) and bend of the line of its
middles up to which, a map's edges are measured: then, on crops of 3 to 12 %, by 0.5 % of the axis."""
_SHARP_CELLS, _SHARP_SHARE = 1.0, 0.02
"""How far edges that were measured so may lie off the image's, the larger of the two: in cells, and as a share."""
_CELLS, _SHARE, _ROUGHLY = 0.75, 0.06, 0.1
"""Edges of a map may lie off the image's by the largest: parts of a cell, and a share of the axis (of maps that show
some parts of the body alone, the latter)."""


def why_elsewhere(responses: Sequence[Response], *, roughly: bool) -> str | None:
    """What another place explains much better than the image's own; None where none does."""
    for axis in sorted({axis for axis, _, _ in responses}):
        bands = [(place, change) for number, place, change in responses if number == axis]
        places = np.array([place for place, _ in bands])
        axes = range(bands[0][1].ndim)
        contrasts = [_contrast([change for _, change in bands], along) for along in axes]
        own = _explained(contrasts[axis], places)
        strength = [float((contrast**2).sum() * contrast.shape[1]) for contrast in contrasts]
        for other in axes:
            if other == axis or not strength[other]:
                continue
            share = float(_explained(contrasts[other], places).max())
            if share > _EXPLAINED and share * strength[other] > _FARTHER * float(own.max()) * strength[axis]:
                return f"axis {axis + 1} of the image is seen along their axis {other + 1}"
        if not strength[axis]:
            continue
        cells = bands[0][1].shape[axis]
        near = max(_CELLS / cells, _ROUGHLY if roughly else _SHARE) + 1e-6
        here = np.abs(_SHIFTS) <= near
        in_place, best = float(own[0][:, here][:, :, here].max()), float(own.max())
        if best > max(_EXPLAINED, in_place + _MARGIN):
            mirrored, _, first, last = np.unravel_index(int(own.argmax()), own.shape)
            edges = f"from {_SHIFTS[first]:.0%} to {1 + _SHIFTS[last]:.0%} of axis {axis + 1} of the image"
            return f"they seem to lie {edges}{', mirrored' if mirrored else ''}"
        sharp = _sharp_edges(_contrast([change for _, change in bands], axis, most=None), places)
        if sharp is not None:
            off = max(abs(sharp[0]), abs(sharp[1] - 1))
            if off > max(_SHARP_CELLS / bands[0][1].shape[axis], _SHARP_SHARE):
                return f"they seem to lie from {sharp[0]:.1%} to {sharp[1]:.1%} of axis {axis + 1} of the image"
        rolled = _explained_by_rolls(contrasts[axis], places)
        if rolled > max(_EXPLAINED, in_place + _MARGIN):
            return f"they seem to be rolled along axis {axis + 1} of the image"
    return None


def _contrast(changes: Sequence[NDArray[np.float64]], along: int, *, most: int | None = _MOST_CELLS) -> _Floats:
    """(bands, cells): shares of each band's change along an axis of the map, less what all bands have in common.

    Cells are taken together so that there are no more than `most`.
    """
    profiles = []
    for change in changes:
        profile = change.sum(axis=tuple(other for other in range(change.ndim) if other != along))
        if most is not None:
            profile = np.array([part.mean() for part in np.array_split(profile, min(len(profile), most))])
        profiles.append(profile / (profile.sum() or 1))
    stacked = np.array(profiles)
    contrast: _Floats = stacked - stacked.mean(axis=0)
    contrast[np.abs(contrast) < 1e-9] = 0
    return contrast


def _explained(contrast: _Floats, places: _Floats) -> _Floats:
    """(mirrored or not, spreads, first edges, last edges): how much of a contrast (bands, cells) each guess explains.

    As a coefficient of determination, 0..1; 0 for guesses that are opposite to it.
    """
    cells = contrast.shape[1]
    explained = np.zeros((2, len(_SPREADS), len(_SHIFTS), len(_SHIFTS)))
    if not contrast.any() or cells == 1:
        return explained
    first, last = np.meshgrid(_SHIFTS, 1 + _SHIFTS, indexing="ij")
    wide = last - first >= 0.25
    middles = _middles(cells)
    for mirrored in (0, 1):
        at = first[..., None] + (last - first)[..., None] * (1 - middles if mirrored else middles)
        for number, spread in enumerate(_SPREADS):
            away = at[..., None, :] - places[:, None]
            explained[mirrored, number] = np.where(wide, _fit(contrast, away / spread), 0)
    return explained


def _sharp_edges(contrast: _Floats, places: _Floats) -> tuple[float, float] | None:
    """First and last edge of a map whose cells look at little of the image, as shares of its axis; None of others.

    Each band lights up a few cells, whose middle is the band's place on the map: a straight line through these middles
    is the map's place on the image. Cells that look far around are cut off at the edges, which bends the line.
    """
    lit = np.maximum(contrast, 0)
    middles, amounts = _middles(contrast.shape[1]), lit.sum(axis=1)
    if contrast.shape[1] < _SHARP_FEWEST or not amounts.all():
        return None
    centroids = (lit * middles).sum(axis=1) / amounts
    spreads = np.sqrt((lit * (middles - centroids[:, None]) ** 2).sum(axis=1) / amounts)
    slope, start = np.polyfit(places, centroids, 1)
    bent = float(np.abs(slope * places + start - centroids).max())
    if spreads.max() > _SHARP_SPREAD or bent > _SHARP_BEND or slope < 0.5:
        return None
    return float(-start / slope), float((1 - start) / slope)


def _explained_by_rolls(contrast: _Floats, places: _Floats) -> float:
    """How much the best guess explains by which what leaves the map at one edge comes in at the other."""
    at = _middles(contrast.shape[1]) + _SHIFTS[np.abs(_SHIFTS) >= _LEAST_ROLL, None]
    away = (at[:, None, :] - places[:, None] + 0.5) % 1 - 0.5
    return max(float(_fit(contrast, away / spread).max()) for spread in _SPREADS)


def _middles(cells: int) -> _Floats:
    return np.asarray((np.arange(cells) + 0.5) / cells)


def _fit(contrast: _Floats, away: _Floats) -> _Floats:
    """(...): R² of guesses: bells over `away` (..., bands, cells), the distances of cells from bands in spreads."""
    guess = np.exp(-0.5 * away**2) + 1e-9
    guess /= guess.sum(axis=-1, keepdims=True)
    guess -= guess.mean(axis=-2, keepdims=True)
    sizes = np.sqrt((guess**2).sum(axis=(-1, -2)))
    fits = (guess * contrast).sum(axis=(-1, -2)) / np.maximum(np.sqrt((contrast**2).sum()) * sizes, 1e-12)
    return np.asarray(np.maximum(fits, 0) ** 2)
