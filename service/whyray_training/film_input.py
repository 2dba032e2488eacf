"""The input that the bundled packages for chest radiographs share, so that their grids show the same field of view."""

from __future__ import annotations

from typing import Any

SIDE = 224
SCOPE_COMPANION = {"scope": "cxr-scope@1"}
"""What compares an image with ordinary ones: goes into `companions` of every package for chest radiographs."""


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


def film_scope() -> dict[str, Any]:
    """`scope` of model.yaml: upright frontal radiographs of the chest, by what the header says where it says so."""
    return {"body_parts": ["CHEST", "THORAX", "LUNG", "HEART", "RIB"], "views": ["PA", "AP"]}
