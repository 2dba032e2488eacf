"""Which cells a Resize or Upsample looks at along an axis, by its rules (ONNX, operators Resize and Upsample).

Upsample, and Resize of opset 10, know only 'asymmetric', and take the cell before a place as nearest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor
from typing import Any

import numpy as np

from whyray.inference.graph import Graph, opset_of

_SAME = 1e-6
_NEAREST: dict[str, Callable[[float], int]] = {
    "floor": floor,
    "ceil": ceil,
    "round_prefer_floor": lambda place: ceil(place - 0.5),
    "round_prefer_ceil": lambda place: floor(place + 0.5),
}


def resized_axis(graph: Graph, node: Any, before: Sequence[int], out: Sequence[int], axis: int) -> tuple[float, float]:
    """(first, ratio): the new cells' first edge and their length, in cells of before.

    `before` and `out` are the shapes. Nearest cells lie at the mean of those that are taken. Raises ValueError where
    that is not told: rules unknown here, scales that the graph computes, or nearest cells whose pattern doesn't repeat.
    """
    attributes = {attribute.name: attribute for attribute in node.attribute}
    modern = node.op_type == "Resize" and opset_of(graph.proto) > 10

    def said(key: str, default: str) -> str:
        return str(attributes[key].s.decode()) if key in attributes else default

    rule = said("coordinate_transformation_mode", "half_pixel" if modern else "asymmetric")
    if said("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise ValueError("Resize that keeps the aspect")
    ratio, first = 1 / _scale(graph, node, attributes, before, out, axis, modern=modern), 0.0
    if rule == "align_corners" and out[axis] > 1:
        ratio = (before[axis] - 1) / (out[axis] - 1)
        first = 0.5 - 0.5 * ratio
    elif rule == "asymmetric":
        first = 0.5 - 0.5 * ratio
    elif rule == "tf_half_pixel_for_nn":
        first = 0.5
    elif rule == "half_pixel_symmetric":
        first = (before[axis] - ratio * out[axis]) / 2
    elif rule not in {"half_pixel", "pytorch_half_pixel"}:
        raise ValueError(f"Resize by {rule}")
    if said("mode", "nearest") == "nearest" and abs(ratio - 1) > _SAME:
        first += _taken_behind(said("nearest_mode", "round_prefer_floor" if modern else "floor"), first, ratio)
    return first, ratio


def _taken_behind(rounding: str, first: float, ratio: float) -> float:
    """How far nearest cells lie behind the places that are asked for, in the mean; of ratios n and 1/n."""
    whole = ratio if ratio > 1 else 1 / ratio
    if abs(whole - round(whole)) > _SAME:
        raise ValueError("nearest cells whose pattern does not repeat")
    asked = [first + (cell + 0.5) * ratio - 0.5 for cell in range(1 if ratio > 1 else round(whole))]
    return float(np.mean([_NEAREST[rounding](round(place, 6)) - place for place in asked]))


def _scale(
    graph: Graph,
    node: Any,
    attributes: dict[str, Any],
    before: Sequence[int],
    out: Sequence[int],
    axis: int,
    *,
    modern: bool,
) -> float:
    """Cells out of one: as the node has it, which need not divide; by the sizes where it names these."""
    by_sizes = out[axis] / before[axis]
    if "scales" in attributes:
        return float(attributes["scales"].floats[axis])
    if "height_scale" in attributes:
        raise ValueError("Upsample of opset 1")
    at = 2 if modern else 1
    if len(node.input) <= at or not node.input[at]:
        return by_sizes
    scales = graph.number(node.input[at])
    if scales is None:
        raise ValueError(f"{node.op_type} by computed numbers")
    if not scales.size:
        return by_sizes
    axes = [a % len(before) for a in attributes["axes"].ints] if "axes" in attributes else list(range(len(before)))
    return float(np.ravel(scales)[axes.index(axis)]) if axis in axes else by_sizes
