"""The input that the bundled packages for chest radiographs share, so that their grids show the same field of view."""

from __future__ import annotations

from typing import Any

SIDE = 224


def film_input(side: int = SIDE) -> dict[str, Any]:
    """`input` of model.yaml: one grey channel in 0..1 as displayed, letterboxed to `side` × `side`."""
    return {
        "name": "image",
        "layout": "NCHW",
        "kind": "planar",
        "shape": [side, side],
        "channels": 1,
        "fit": "pad",
        "pad_value": 0.0,
        "intensity": {"source": "voi", "mean": [0.0], "std": [1.0]},
        "modalities": ["CR", "DX", "RG"],
    }
