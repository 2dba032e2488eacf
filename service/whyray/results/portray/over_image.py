"""Values on the model's grid, drawn over the image as the model saw it: for the figures of pages."""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.results.page.overlay import Picture, plain, with_heatmap
from whyray.results.portray.portrayal import Look

TOP_SHARE = 0.1
"""Share of the places that count as the region: those of the largest magnitude."""


def strongest_slice(values: FloatArray, display: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of volumes the slice where `values` are largest, and the same slice of `display`; planes as they are."""
    if values.ndim == 2:
        return values, display
    index = int(values.reshape(len(values), -1).max(axis=1).argmax())
    return values[index], display[index]


def over_image(values: FloatArray, display: FloatArray, side: int, look: Look, *, signed: bool = False) -> Picture:
    """`values` (rows, columns) in colour over `display` (rows, columns; 0..1), its longer side `side` pixels."""
    rows, columns = display.shape
    scale = side / max(rows, columns)
    background = plain(display, (max(1, round(columns * scale)), max(1, round(rows * scale))))
    strength = np.abs(values)
    region = strength >= max(float(np.quantile(strength, 1 - TOP_SHARE)), 1e-12)
    return with_heatmap(background, values, region, float(strength.max()), look.layout, signed=signed)
