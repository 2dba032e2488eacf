"""Labels lungs, heart and mediastinum of a frontal radiograph by thresholds, shape and symmetry, without a reader.

Lungs are the best pair of dark, closed regions over many thresholds; heart and mediastinum are what lies between them.
Wherever the pair is not plausible there is no label: a radiograph with an opaque lung has none.
All on a grid of 128 x 128; image left is the patient's right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure
from skimage.morphology import closing, disk, opening

from whyray.base.arrays import BoolArray, FloatArray

BACKGROUND, RIGHT_LUNG, LEFT_LUNG, HEART, MEDIASTINUM = range(5)
CLASSES = ("background", "right lung", "left lung", "heart", "mediastinum")
SIZE = 128
THRESHOLDS = 16
HEART_TOP = 0.46
"""Where the heart begins, from the apices (0) to the lower cardiophrenic angle (1): about the left main bronchus."""


@dataclass(frozen=True)
class Candidate:
    """A dark region that may be a lung, and how much it looks like one (0..1)."""

    mask: BoolArray
    score: float


@dataclass(frozen=True)
class Labelled:
    """(128, 128) class indices, and how plausible they are; `why` says what is not."""

    labels: NDArray[np.uint8]
    score: float
    why: str

    @property
    def accepted(self) -> bool:
        """Whether to learn from it."""
        return not self.why


def label(image: NDArray[np.uint8]) -> Labelled:
    """Lungs, heart and mediastinum of one radiograph (256, 256)."""
    halved = image.reshape(SIZE, 2, SIZE, 2).mean(axis=(1, 3)).astype(np.float32) / 255
    right, left = _lungs(ndimage.gaussian_filter(halved, 0.75))
    empty = np.zeros(halved.shape, np.uint8)
    if right is None or left is None:
        return Labelled(empty, 0.0, "no pair of dark regions")
    lungs = np.zeros(halved.shape, np.uint8)
    lungs[right.mask] = RIGHT_LUNG
    lungs[left.mask] = LEFT_LUNG
    labels = with_centre(lungs)
    return Labelled(labels, min(right.score, left.score), implausible(labels))


def _lungs(smooth: FloatArray) -> tuple[Candidate | None, Candidate | None]:
    middle = _spine(smooth)
    gradient = ndimage.gaussian_gradient_magnitude(smooth, 1.0)
    sides: tuple[list[Candidate], list[Candidate]] = ([], [])
    # Beside the image itself one without its slow changes: breasts hide the lower third from a single threshold.
    slow = [ndimage.gaussian_filter1d(smooth, SIZE / 6, axis=axis) for axis in (0,)]
    for values in (smooth, *(smooth - trend for trend in slow), smooth - ndimage.gaussian_filter(smooth, SIZE / 5)):
        inner = values[SIZE // 8 : -SIZE // 8, SIZE // 8 : -SIZE // 8]
        for level in np.quantile(inner, np.linspace(0.1, 0.72, THRESHOLDS)):
            dark = values < level
            dark[:, middle : middle + 1] = False
            for radius in (0, 2):
                for mask in _closed_regions(opening(dark, disk(radius)) if radius else dark):
                    side = 0 if ndimage.center_of_mass(mask)[1] < middle else 1
                    sides[side].append(Candidate(mask, _lung_like(mask, gradient, middle)))
    best = 0.0
    pair: tuple[Candidate, Candidate] | tuple[None, None] = (None, None)
    tops = [sorted(candidates, key=lambda one: -one.score)[:12] for candidates in sides]
    for right in tops[0]:
        for left in tops[1]:
            score = min(right.score, left.score) * _alike(right.mask, left.mask, middle)
            if score > best:
                best, pair = score, (right, left)
    return pair


def _spine(smooth: FloatArray) -> int:
    """The column that is brightest on the whole, in the middle third and the upper two thirds."""
    size = smooth.shape[1]
    profile = ndimage.gaussian_filter1d(smooth[size // 6 : size * 2 // 3].mean(axis=0), 3)
    brightest = int(profile[size * 36 // 100 : size * 64 // 100].argmax())
    return brightest + int(size) * 36 // 100


def _closed_regions(dark: BoolArray) -> list[BoolArray]:
    """Regions of 3 to 30 % of the image that don't reach its border, smoothed, without holes."""
    labelled, count = ndimage.label(dark)
    if not count:
        return []
    edge = set(np.concatenate([labelled[0], labelled[-1], labelled[:, 0], labelled[:, -1]]).tolist())
    areas = ndimage.sum_labels(dark, labelled, np.arange(count + 1)) / dark.size
    regions = []
    for index in np.flatnonzero((areas > 0.03) & (areas < 0.3)):
        if index in edge or index == 0:
            continue
        regions.append(_rounded(labelled == index))
    return regions


def _rounded(mask: BoolArray) -> BoolArray:
    """Without the gaps that ribs and vessels leave, with a smooth outline."""
    margin = 6
    padded = np.pad(mask, margin)
    closed = ndimage.binary_fill_holes(closing(padded, disk(4)))
    opened = _largest(opening(closed, disk(4)))
    smooth = ndimage.gaussian_filter(opened.astype(np.float32), 1.0) > 0.5
    return np.asarray(smooth[margin:-margin, margin:-margin])


def _largest(mask: BoolArray) -> BoolArray:
    labelled, count = ndimage.label(mask)
    if count < 2:
        return np.asarray(mask)
    sizes = ndimage.sum_labels(mask, labelled, np.arange(1, count + 1))
    return np.asarray(labelled == 1 + int(sizes.argmax()))


def _lung_like(mask: BoolArray, gradient: FloatArray, middle: int) -> float:
    if not mask.any():
        return 0.0
    size = mask.shape[0]
    facts = measure.regionprops(mask.astype(np.uint8))[0]
    top, left, bottom, right = facts.bbox
    height, width = (bottom - top) / size, (right - left) / size
    rim = ndimage.binary_dilation(mask) ^ ndimage.binary_erosion(mask)
    inner = ndimage.binary_erosion(mask, iterations=4)
    usual = float(np.median(gradient[inner])) if inner.any() else 1.0
    sharp = float((gradient[rim] > 1.5 * usual).mean())
    near = abs((left + right) / 2 - middle) / size
    return float(
        _bump(facts.area / mask.size, 0.06, 0.2, 0.04)
        * _bump(height, 0.38, 0.8, 0.12)
        * _bump(height / width, 1.25, 3.2, 0.4)
        * _bump(facts.solidity, 0.9, 1.0, 0.04)
        * _bump(near, 0.1, 0.27, 0.05)
        * _bump(top / size, 0.02, 0.35, 0.08)
        * np.clip((sharp - 0.3) / 0.5, 0, 1)
        * (facts.area / mask.size) ** 0.3
    )


def _bump(value: float, low: float, high: float, soft: float) -> float:
    """1 within the bounds, falling to e^-1/2 at `soft` beyond them."""
    beyond = max(low - value, value - high, 0.0)
    return float(np.exp(-0.5 * (beyond / soft) ** 2))


def _alike(right: BoolArray, left: BoolArray, middle: int) -> float:
    if (right & left).any():
        return 0.0
    size = right.shape[0]
    rows_right, rows_left = np.flatnonzero(right.any(axis=1)), np.flatnonzero(left.any(axis=1))
    tops = abs(int(rows_right[0]) - int(rows_left[0])) / size
    bottoms = abs(int(rows_right[-1]) - int(rows_left[-1])) / size
    areas = np.log(right.sum() / left.sum())
    mirrored = abs((middle - ndimage.center_of_mass(right)[1]) - (ndimage.center_of_mass(left)[1] - middle)) / size
    return (
        _bump(tops, 0, 0.05, 0.05)
        * _bump(bottoms, 0, 0.1, 0.08)
        * _bump(areas, -0.2, 0.6, 0.3)
        * _bump(mirrored, 0, 0.05, 0.05)
    )


def with_centre(lungs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same with heart and mediastinum: what lies between the lungs, from their apices to the diaphragm.

    The border between both runs across at HEART_TOP of the lungs' height; the heart ends below on the arc between the
    lowest places where each lung still borders on it.
    """
    labels = lungs.copy()
    spans = _between(lungs)
    if spans is None:
        return labels
    rows, starts, ends, bottom_right, bottom_left = spans
    top = int(rows[0])
    border = top + HEART_TOP * (0.5 * (bottom_right + bottom_left) - top)
    for row, start, end in zip(rows, starts, ends, strict=True):
        columns = np.arange(start, end)
        if not columns.size:
            continue
        along = (columns - start + 0.5) / columns.size
        floor = bottom_right + (bottom_left - bottom_right) * along + 0.06 * (end - start) * 4 * along * (1 - along)
        inside = (row <= floor) & (lungs[row, columns] == BACKGROUND)
        labels[row, columns[inside]] = MEDIASTINUM if row < border else HEART
    heart = opening(labels == HEART, disk(3))
    labels[(labels == HEART) & ~heart] = BACKGROUND
    return labels


def _between(
    lungs: NDArray[np.uint8],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], int, int] | None:
    """Rows from the lower apex down; for each the columns between the lungs; the cardiophrenic angles' rows."""
    right, left = lungs == RIGHT_LUNG, lungs == LEFT_LUNG
    if not right.any() or not left.any():
        return None
    rows_right, rows_left = np.flatnonzero(right.any(axis=1)), np.flatnonzero(left.any(axis=1))
    top = max(int(rows_right[0]), int(rows_left[0])) + 2
    bottom_right, bottom_left = _angle(right, inner_is_high=True), _angle(left, inner_is_high=False)
    rows = np.arange(top, max(bottom_right, bottom_left) + 6)
    rows = rows[rows < lungs.shape[0]]
    starts = _inner_edge(right, rows, bottom_right, high=True)
    ends = _inner_edge(left, rows, bottom_left, high=False)
    return rows, starts, ends, bottom_right, bottom_left


def _angle(lung: BoolArray, *, inner_is_high: bool) -> int:
    """Row of the cardiophrenic angle: the last row whose inner edge is still the lung's medial border.

    Below it, the diaphragm's dome takes the inner edge outwards, pixel by pixel faster than a heart does.
    """
    rows = np.flatnonzero(lung.any(axis=1))
    edge = np.array([np.flatnonzero(lung[row])[-1 if inner_is_high else 0] for row in rows], np.float64)
    inner = edge if inner_is_high else -edge
    inner = ndimage.gaussian_filter1d(inner, 1.0)
    half = len(rows) // 2
    slope = np.diff(inner)
    steep = np.flatnonzero(slope[half:] < -2.2)
    return int(rows[half + steep[0]]) if steep.size else int(rows[-1])


def _inner_edge(lung: BoolArray, rows: NDArray[np.intp], last: int, *, high: bool) -> NDArray[np.intp]:
    """The column next to the lung's medial border in each row; below `last` that of `last`."""
    edge_columns = []
    for row in rows:
        columns = np.flatnonzero(lung[min(row, last)])
        edge_columns.append((columns[-1] + 1 if high else columns[0]) if columns.size else -1)
    edges = np.array(edge_columns)
    known = np.flatnonzero(edges >= 0)
    return np.asarray(np.interp(np.arange(len(edges)), known, edges[known]).astype(np.intp))


def implausible(labels: NDArray[np.uint8]) -> str:
    """What speaks against the labels, in words; empty where nothing does."""
    size = labels.size
    side = labels.shape[0]
    areas = {name: float((labels == index).sum()) / size for index, name in enumerate(CLASSES)}
    right, left = labels == RIGHT_LUNG, labels == LEFT_LUNG
    if min(areas["right lung"], areas["left lung"]) < 0.045 or max(areas["right lung"], areas["left lung"]) > 0.24:
        return "area of a lung"
    if not 0.75 <= areas["right lung"] / areas["left lung"] <= 2.2:
        return "one lung is much larger"
    for mask in (right, left):
        facts = measure.regionprops(mask.astype(np.uint8))[0]
        if facts.solidity < 0.85:
            return "outline of a lung"
        if not 1.2 <= (facts.bbox[2] - facts.bbox[0]) / (facts.bbox[3] - facts.bbox[1]) <= 3.6:
            return "aspect of a lung"
        if facts.bbox[2] - facts.bbox[0] < 0.33 * side:
            return "height of a lung"
    rows_right, rows_left = np.flatnonzero(right.any(axis=1)), np.flatnonzero(left.any(axis=1))
    if abs(int(rows_right[0]) - int(rows_left[0])) > 0.08 * side:
        return "apices"
    if abs(int(rows_right[-1]) - int(rows_left[-1])) > 0.14 * side:
        return "bases"
    if not 0.02 <= areas["heart"] <= 0.17:
        return "area of the heart"
    if not 0.01 <= areas["mediastinum"] <= 0.12:
        return "area of the mediastinum"
    heart = ndimage.center_of_mass(labels == HEART)[1]
    chest = (np.flatnonzero(right.any(axis=0))[0] + np.flatnonzero(left.any(axis=0))[-1]) / 2
    if heart < chest - 0.03 * side:
        return "heart on the right"
    return ""
