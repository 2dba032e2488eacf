"""Outlines drawn by hand, by eye, on radiographs that nothing was learned from: what the package is measured on.

Drawn on a grid over the image before any label or answer about these images was seen, once, by one person who is no
radiologist. Percent of width and height of the NIH's file. The mediastinum ends where the heart's outline was begun.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from whyray_training import figures
from whyray_training.cxr_anatomy_labels import CLASSES, HEART, MEDIASTINUM

HandDrawn = dict[str, list[tuple[float, float]]]
"""Structure to its corners (x, y) in percent."""


def hand_drawn(names: Sequence[str]) -> dict[str, HandDrawn]:
    """The outlines of these images, by file name."""
    raw = json.loads(Path(__file__).with_name("cxr_anatomy_outlines.json").read_text(encoding="utf-8"))
    return {
        name: {structure: _corners(text) for structure, text in structures.items()}
        for name, structures in raw.items()
        if name in set(names)
    }


def outline_mask(corners: Sequence[tuple[float, float]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(rows, columns): what an outline in percent encloses."""
    places = np.array([(y / 100 * shape[0] - 0.5, x / 100 * shape[1] - 0.5) for x, y in corners])
    return np.asarray(polygon2mask(shape, places))


def dice_by_structure(pairs: Sequence[tuple[HandDrawn, NDArray[np.uint8]]], seed: int) -> dict[str, Any]:
    """Mean Dice of class indices (h, w) with the outlines, with intervals over images, and the worst image's.

    'heart and mediastinum' is both together: the line between them is a convention that no edge in the image shows.
    """
    dice: dict[str, Any] = {}
    for structure in (*CLASSES[1:], "heart and mediastinum"):
        values = [value for drawn, labels in pairs if (value := _dice(drawn, labels, structure)) is not None]
        if not values:
            continue
        dice[structure] = _mean_and_worst(np.array(values, np.float64), seed)
    return dice


def _mean_and_worst(dice: NDArray[np.float64], seed: int) -> dict[str, Any]:
    return {
        **figures.bootstrap(lambda rows: float(dice[rows].mean()), len(dice), seed),
        "worst": figures.rounded(dice.min()),
        "images": len(dice),
    }


def _dice(drawn: HandDrawn, labels: NDArray[np.uint8], structure: str) -> float | None:
    shape = (labels.shape[0], labels.shape[1])
    if structure == "heart and mediastinum":
        if "heart" not in drawn:
            return None
        truth = outline_mask(drawn["heart"], shape) | outline_mask(drawn["mediastinum"], shape)
        return figures.dice(truth, (labels == HEART) | (labels == MEDIASTINUM))
    if structure not in drawn:
        return None
    return figures.dice(outline_mask(drawn[structure], shape), labels == CLASSES.index(structure))


def _corners(text: str) -> list[tuple[float, float]]:
    pairs = (corner.split(",") for corner in text.split())
    return [(float(x), float(y)) for x, y in pairs]
