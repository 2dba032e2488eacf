"""Lung zones on a frontal radiograph: thirds of each lung's height, computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whyray.base.coded_concept import CodedConcept
from whyray.explain.anatomy.allowed import LEFT_LUNG, RIGHT_LUNG
from whyray.explain.typed import Structure

RIGHT = CodedConcept(value="24028007", scheme="SCT", meaning="Right")
LEFT = CodedConcept(value="7771000", scheme="SCT", meaning="Left")
ZONES = ("upper", "mid", "lower")


def with_zones(structures: Sequence[Structure]) -> tuple[Structure, ...]:
    """Each lung of a planar image replaced by its upper, mid and lower zone; the first row is taken to be cranial.

    A zone keeps its lung's code and laterality; its name tells it. Other structures, and volumes, stay as they are.
    """
    return tuple(part for structure in structures for part in _parts(structure))


def _parts(structure: Structure) -> tuple[Structure, ...]:
    side = {RIGHT_LUNG: "right", LEFT_LUNG: "left"}.get(structure.code.value if structure.code else "")
    if side is None or structure.mask.ndim != 2 or not structure.mask.any():
        return (structure,)
    rows = np.flatnonzero(structure.mask.any(axis=1))
    edges = np.linspace(rows[0], rows[-1] + 1, len(ZONES) + 1)
    height = np.arange(structure.mask.shape[0])[:, None]
    parts = []
    for zone, low, high in zip(ZONES, edges, edges[1:], strict=False):
        mask = structure.mask & (height >= round(low)) & (height < round(high))
        if mask.any():
            parts.append(
                Structure(
                    f"{side} {zone} zone",
                    mask,
                    structure.code,
                    structure.laterality or (RIGHT if side == "right" else LEFT),
                    structure.allowed,
                )
            )
    return tuple(parts)
