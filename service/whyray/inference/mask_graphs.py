"""Small graphs without weights: images with parts hidden, sums of masks, scores of regions, on a model's own device.

What they take is the image and its replacement, which stay on the device, and a few numbers a mask. Shapes are settled
when a graph is made, so that there is nothing but arithmetic in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray

SHOWN, HIDDEN = "shown", "hidden"
"""Inputs, float32 (1, C, *spatial): the image, and what is seen where it is hidden."""
CELLS, STARTS, KEEP = "cells", "starts", "keep"
"""Inputs: the numbers of n masks, see `GridMasks` and `SegmentMasks`."""
BATCH, MASKS = "batch", "masks"
"""Outputs: (n, C, *spatial) in the type that the model takes, and, of grids, the masks (n, *spatial) float32."""
WEIGHTS, SUMS, SUMMED = "weights", "sums", "summed"
"""Of sums of masks: inputs (rows, n) float32 and (rows, *spatial) float64, output as the latter."""
LOGITS, REGIONS, TARGETS, SCORES, LEVEL = "logits", "regions", "targets", "scores", "level"
"""Of scores of regions: inputs (n, all targets, *grid), (t, *grid) float32, (t,) int64; outputs (n, t) and (n,)
float32, of which the latter, the sum of an item's logits, is finite where all of them are."""
_OPSET, _IR = 17, 8
"""Of 2022: every ONNX Runtime that WhyRay runs with knows them."""


@dataclass(frozen=True)
class GridMasks:
    """Masks that are upsampled from a coarse grid, along one axis after the other.

    A mask is its CELLS (*counts) float32 under the rows of the axes' tables; with `shifted`, under as many rows as the
    axis is long from its STARTS (axes,) int64 on. The image is then hidden + (shown - hidden) * mask.

    Attributes
    ----------
    shape
        The spatial shape.
    tables
        An axis each, (rows, count) float32: the weight of each cell; without `shifted`, as many rows as the axis.
    shifted
        Whether each mask has rows of its own.
    scaled
        Whether each mask is brought to 0..1 by its own least and largest value (Wang et al. 2020, eq. 7).
    covering
        Whether masks are 0 or 1, and 1 is what is hidden: images are then exactly `shown` or `hidden` everywhere.
    """

    shape: tuple[int, ...]
    tables: tuple[FloatArray, ...]
    shifted: bool = False
    scaled: bool = False
    covering: bool = False

    @property
    def constants(self) -> dict[str, NDArray[Any]]:
        """What stays on the device, by name of the input."""
        return {f"table{axis}": table for axis, table in enumerate(self.tables)}


@dataclass(frozen=True)
class SegmentMasks:
    """Masks of whole segments: KEEP (n, segments) bool says of each whether it is shown.

    Attributes
    ----------
    labels
        (*spatial), whole numbers from 0: the segment of each place.
    """

    labels: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, ...]:
        """The spatial shape."""
        return self.labels.shape

    @property
    def constants(self) -> dict[str, NDArray[Any]]:
        """What stays on the device, by name of the input."""
        return {"labels": self.labels.astype(np.int32)}


MaskRule = GridMasks | SegmentMasks
"""How masks follow from a few numbers."""


def mask_graph(rule: MaskRule, channels: int, input_type: type[Any]) -> bytes:
    """From SHOWN, HIDDEN, the rule's constants and the numbers of n masks to BATCH, and of grids to MASKS."""
    graph, shape = _Graph(), rule.shape
    graph.takes(SHOWN, np.float32, 1, channels, *shape)
    graph.takes(HIDDEN, np.float32, 1, channels, *shape)
    for name, array in rule.constants.items():
        graph.takes(name, array.dtype.type, *array.shape)
    if isinstance(rule, SegmentMasks):
        graph.takes(KEEP, np.bool_, "n", "segments")
        keep = graph.reshaped(graph.add("Gather", KEEP, "labels", axis=1), 0, 1, *shape)
        batch = graph.add("Where", keep, SHOWN, HIDDEN)
    else:
        masks = graph.named(_grid_masks(graph, rule), MASKS, np.float32, "n", *shape)
        mask = graph.reshaped(masks, 0, 1, *shape)
        if rule.covering:
            covered = graph.add("Greater", mask, graph.constant(0.5, np.float32))
            batch = graph.add("Where", covered, HIDDEN, SHOWN)
        else:
            # in numpy's order, so that rounding is the same
            batch = graph.add("Add", graph.add("Mul", graph.add("Sub", SHOWN, HIDDEN), mask), HIDDEN)
    if input_type is not np.float32:
        batch = graph.cast(batch, input_type)
    graph.named(batch, BATCH, input_type, "n", channels, *shape)
    return graph.serialised()


def sum_graph(shape: Sequence[int], rows: int) -> bytes:
    """SUMMED = SUMS + WEIGHTS · MASKS: products in single precision, added up in double, as on the host."""
    graph = _Graph()
    graph.takes(MASKS, np.float32, "n", *shape)
    graph.takes(WEIGHTS, np.float32, rows, "n")
    graph.takes(SUMS, np.float64, rows, *shape)
    weighed = graph.add("MatMul", WEIGHTS, graph.reshaped(MASKS, 0, prod(shape)))
    added = graph.add("Add", SUMS, graph.cast(graph.reshaped(weighed, rows, *shape), np.float64))
    graph.named(added, SUMMED, np.float64, rows, *shape)
    return graph.serialised()


def score_graph(count: int, grid: Sequence[int], regions: int, output_type: type[Any]) -> bytes:
    """SCORES = the sum of each target's LOGITS, of `count`, weighed by its own of REGIONS; and LEVEL."""
    graph, places = _Graph(), prod(grid)
    graph.takes(LOGITS, output_type, "n", count, *grid)
    graph.takes(REGIONS, np.float32, regions, *grid)
    graph.takes(TARGETS, np.int64, regions)
    logits = LOGITS if output_type is np.float32 else graph.cast(LOGITS, np.float32)
    flat = graph.reshaped(logits, 0, count, places)
    weighed = graph.add("Mul", graph.add("Gather", flat, TARGETS, axis=1), graph.reshaped(REGIONS, regions, places))
    scores = graph.add("ReduceSum", weighed, graph.constant([2], np.int64), keepdims=0)
    graph.named(scores, SCORES, np.float32, "n", regions)
    level = graph.add("ReduceSum", flat, graph.constant([1, 2], np.int64), keepdims=0)
    graph.named(level, LEVEL, np.float32, "n")
    return graph.serialised()


def _grid_masks(graph: _Graph, rule: GridMasks) -> str:
    """(n, *spatial) from CELLS."""
    counts = [table.shape[1] for table in rule.tables]
    graph.takes(CELLS, np.float32, "n", *counts)
    if rule.shifted:
        graph.takes(STARTS, np.int64, "n", len(counts))
    masks = CELLS
    for axis, (count, length) in enumerate(zip(counts, rule.shape, strict=True)):
        done, left = prod(rule.shape[:axis]), prod(counts[axis + 1 :])
        weights = f"table{axis}"  # (length, count), or with `shifted` (n, length, count)
        if rule.shifted:
            first = graph.add("Gather", STARTS, graph.constant([axis], np.int64), axis=1)
            rows = graph.add("Add", first, graph.constant([range(length)], np.int64))
            weights = graph.add("Gather", weights, rows, axis=0)
        if axis == len(counts) - 1:
            turned = graph.add("Transpose", weights, perm=[0, 2, 1] if rule.shifted else [1, 0])
            masks = graph.add("MatMul", graph.reshaped(masks, 0, done, count), turned)
        else:
            factor = graph.reshaped(weights, 0, 1, length, count) if rule.shifted else weights
            masks = graph.add("MatMul", factor, graph.reshaped(masks, 0, done, count, left))
    if rule.scaled:
        axes = list(range(1, len(counts) + 1))
        flat = graph.reshaped(masks, 0, *rule.shape)
        low, high = (graph.add(operator, flat, axes=axes, keepdims=1) for operator in ("ReduceMin", "ReduceMax"))
        width = graph.add("Add", graph.add("Sub", high, low), graph.constant(1e-8, np.float32))
        return graph.add("Div", graph.add("Sub", flat, low), width)
    return graph.reshaped(masks, 0, *rule.shape)


class _Graph:
    """Nodes, constants, inputs and outputs of a graph, as they are added."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def add(self, operator: str, *given: str, **attributes: Any) -> str:
        """A node; the name of its output."""
        from onnx import helper

        made = f"{operator.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(given), [made], **attributes))
        return made

    def constant(self, values: Any, kind: type[Any]) -> str:
        """A constant; its name."""
        from onnx import numpy_helper

        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def reshaped(self, tensor: str, *sizes: int) -> str:
        """`tensor` in another shape; 0 keeps the size of an axis."""
        return self.add("Reshape", tensor, self.constant(sizes, np.int64))

    def cast(self, tensor: str, kind: type[Any]) -> str:
        """`tensor` in another type of numbers."""
        return self.add("Cast", tensor, to=_onnx_type(kind))

    def takes(self, name: str, kind: type[Any], *shape: int | str) -> None:
        """An input."""
        self._inputs.append(_described(name, kind, shape))

    def named(self, tensor: str, name: str, kind: type[Any], *shape: int | str) -> str:
        """`tensor`, the last that was added, as an output under this name."""
        assert self._nodes[-1].output[0] == tensor
        self._nodes[-1].output[0] = name
        self._outputs.append(_described(name, kind, shape))
        return name

    def serialised(self) -> bytes:
        """The whole as a model."""
        from onnx import helper

        graph = helper.make_graph(self._nodes, "whyray", self._inputs, self._outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        return bytes(model.SerializeToString())


def _described(name: str, kind: type[Any], shape: Sequence[int | str]) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, _onnx_type(kind), list(shape))


def _onnx_type(kind: type[Any]) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
