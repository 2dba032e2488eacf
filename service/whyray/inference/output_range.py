"""Between which bounds a tensor lies whatever the image, by its operators alone: interval arithmetic on the graph.

An output that can't leave 0..1 holds probabilities and no logits, whichever operators made it so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, inf, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.inference.graph import Graph

Bounds = tuple[float, float]
ANY: Bounds = (-inf, inf)
_DEEPEST = 40
"""Operators from the output back that are looked at; behind them a tensor counts as unbounded."""

MOVES = frozenset(
    [
        "Identity",
        "Dropout",
        "Squeeze",
        "Unsqueeze",
        "Reshape",
        "Flatten",
        "Transpose",
        "Slice",
        "Gather",
        "GatherElements",
        "GatherND",
        "Split",
        "Expand",
        "Tile",
        "DepthToSpace",
        "SpaceToDepth",
        "ReverseSequence",
        "Compress",
    ]
)
"""Operators whose outputs are values of their first input, in other places."""
EXTREMES = frozenset({"ReduceMax", "ReduceMin", "GlobalMaxPool", "MaxPool"})
"""Operators whose outputs are values of their first input, picked by size: they commute with what rises throughout."""
_MEANS = frozenset({"ReduceMean", "GlobalAveragePool"})
_FIXED: dict[str, Bounds] = {
    **dict.fromkeys(("Sigmoid", "Softmax", "HardSigmoid", "Hardmax"), (0.0, 1.0)),
    **dict.fromkeys(("Tanh", "Erf", "Sin", "Cos", "Softsign"), (-1.0, 1.0)),
    **dict.fromkeys(("Softplus", "ReduceL1", "ReduceL2", "ReduceSumSquare"), (0.0, inf)),
    "LogSoftmax": (-inf, 0.0),
}
_SPREAD = frozenset(
    {"AveragePool", "ReduceSum", "Neg", "Resize", "Upsample", "Pad", "GridSample", "LeakyRelu", "PRelu"}
)
"""Operators behind which what was free to take any value still is."""
_ROUND = frozenset({"Cast", "QuantizeLinear", "DequantizeLinear"})
"""Operators that keep values up to rounding: a pair that quantises and back keeps its bounds."""
_LINEAR = frozenset({"Gemm", "MatMul", "Conv", "ConvTranspose", "MatMulInteger", "ConvInteger", "QLinearMatMul"})


def bounds(graph: Graph, tensor: str) -> Bounds:
    """The least interval that the operators behind `tensor` show it to lie in; (-inf, inf) where they show none."""
    return _Ranges(graph).of(tensor, 0)


def ends_linear(graph: Graph, tensor: str) -> bool:
    """Whether `tensor` is what a linear layer gave, moved, scaled, averaged or added to: free to take any value."""
    for _ in range(_DEEPEST):
        node = graph.producer.get(tensor)
        if node is None:
            return False
        if node.op_type in _LINEAR or node.op_type == "BatchNormalization":
            return True
        if node.op_type in MOVES or node.op_type in {*_MEANS, *EXTREMES, *_SPREAD, *_ROUND}:
            tensor = node.input[0]
            continue
        if node.op_type not in {"Add", "Sub", "Mul", "Div"}:
            return False
        computed = [operand for operand in node.input if value_of(graph, operand) is None]
        if node.op_type in {"Add", "Sub"} and len(computed) > 1:
            return any(ends_linear(graph, operand) for operand in computed)
        if len(computed) != 1 or (node.op_type == "Div" and computed[0] != node.input[0]):
            return False
        tensor = computed[0]
    return False


def value_of(graph: Graph, name: str) -> NDArray[Any] | None:
    """The value of a tensor that depends on no image: a constant, also behind Identity, Cast or Unsqueeze."""
    for _ in range(_DEEPEST):
        constant = graph.constant(name)
        if constant is not None:
            return constant
        node = graph.producer.get(name)
        if node is None or node.op_type not in {"Identity", "Cast", "Unsqueeze", "Squeeze"}:
            return None
        name = node.input[0]
    return None


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """The value of an attribute of a node, or `default` where it has none of that name."""
    import onnx

    return next((onnx.helper.get_attribute_value(proto) for proto in node.attribute if proto.name == name), default)


def is_constant(graph: Graph, name: str, value: float) -> bool:
    """Whether a tensor is this number at every place."""
    constant = value_of(graph, name)
    return constant is not None and constant.size > 0 and bool(np.all(constant == value))


def clip_limits(graph: Graph, node: Any) -> Bounds:
    """The limits of a Clip, as attributes (before opset 11) or as inputs; infinite where it has none."""
    limits = []
    for place, (name, without) in enumerate((("min", -inf), ("max", inf)), start=1):
        given = attribute(node, name, without)
        if len(node.input) > place and node.input[place]:
            value = value_of(graph, node.input[place])
            given = without if value is None or not value.size else float(value.reshape(-1)[0])
        limits.append(float(given))
    return limits[0], limits[1]


class _Ranges:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[str, Bounds] = {}

    def of(self, tensor: str, depth: int) -> Bounds:
        if tensor not in self._known:
            self._known[tensor] = self._find(tensor, depth)
        return self._known[tensor]

    def _find(self, tensor: str, depth: int) -> Bounds:
        value = value_of(self._graph, tensor)
        if value is not None:
            numbers = value.size and np.issubdtype(value.dtype, np.number) and np.isfinite(value).all()
            return (float(value.min()), float(value.max())) if numbers else ANY
        node = self._graph.producer.get(tensor)
        if node is None or depth > _DEEPEST:
            return ANY
        kind = node.op_type
        if kind in {"QLinearSigmoid", "QLinearSoftmax"}:  # of ONNX Runtime's own; what dequantises them follows
            return 0.0, 1.0
        if node.domain not in ("", "ai.onnx"):
            return ANY
        if kind in _FIXED:
            return _FIXED[kind]
        if kind in {"MatMul", "Gemm"}:
            return self._linear(node, depth)
        rule = _RULES.get(kind)
        if rule is not None:
            return rule([self.of(operand, depth + 1) for operand in node.input if operand])
        if kind in MOVES or kind in EXTREMES or kind in _MEANS or kind in _ROUND:
            return self.of(node.input[0], depth + 1)
        if kind == "Clip":
            low, high = clip_limits(self._graph, node)
            given = self.of(node.input[0], depth + 1)
            return min(max(given[0], low), high), max(min(given[1], high), low)
        if kind == "Resize" and attribute(node, "mode", b"nearest") in (b"nearest", b"linear"):
            return self.of(node.input[0], depth + 1)
        if kind == "AveragePool":  # zeros at the border may count
            low, high = self.of(node.input[0], depth + 1)
            return min(low, 0.0), max(high, 0.0)
        if kind == "Where":
            return _union([self.of(operand, depth + 1) for operand in node.input[1:]])
        if kind == "ReduceProd":
            given = self.of(node.input[0], depth + 1)
            return given if given[0] >= 0 and given[1] <= 1 else ANY
        return ANY

    def _linear(self, node: Any, depth: int) -> Bounds:
        """What goes in lies between bounds, or is a softmax, whose products with a matrix lie between its entries."""
        weight = value_of(self._graph, node.input[1])
        if weight is None or weight.ndim != 2:
            return ANY
        plain = node.op_type == "MatMul" or (
            attribute(node, "alpha", 1.0) == 1.0
            and attribute(node, "beta", 1.0) == 1.0
            and not attribute(node, "transA", 0)
        )
        low, high = self.of(node.input[0], depth + 1)
        if not plain or low == -inf or high == inf:
            return ANY
        matrix = (weight.T if attribute(node, "transB", 0) else weight).astype(np.float64)
        given = self._graph.producer.get(node.input[0])
        if given is not None and given.op_type == "Softmax":
            least, most = matrix.min(axis=0), matrix.max(axis=0)
        else:
            up, down = np.maximum(matrix, 0).sum(axis=0), np.minimum(matrix, 0).sum(axis=0)
            least, most = up * low + down * high, up * high + down * low
        bias = value_of(self._graph, node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
        if bias is None:
            return ANY
        return float((least + bias).min()), float((most + bias).max())


def _union(given: Sequence[Bounds]) -> Bounds:
    return min(interval[0] for interval in given), max(interval[1] for interval in given)


def _product(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def _times(given: Sequence[Bounds]) -> Bounds:
    corners = [_product(a, b) for a in given[0] for b in given[1]]
    return min(corners), max(corners)


def _over(given: Sequence[Bounds]) -> Bounds:
    low, high = given[1]
    if low <= 0 <= high:
        return (0.0, inf) if low == 0 and given[0][0] >= 0 else ANY
    return _times([given[0], (1 / high, 1 / low)])


def _power(given: Sequence[Bounds]) -> Bounds:
    (low, high), (least, most) = given
    if low >= 0 and least == most and least > 0:
        return low**least, inf if high == inf else high**least
    even = least == most and least % 2 == 0
    return (0.0, inf) if low >= 0 or even else ANY


def _log(given: Sequence[Bounds]) -> Bounds:
    low, high = given[0]
    return (log(low) if low > 0 else -inf), (inf if high == inf else log(high) if high > 0 else -inf)


def _exp(given: Sequence[Bounds]) -> Bounds:
    low, high = given[0]
    return exp(min(low, 700.0)), inf if high > 700 else exp(high)


_RULES: dict[str, Callable[[Sequence[Bounds]], Bounds]] = {
    "Relu": lambda given: (max(given[0][0], 0.0), max(given[0][1], 0.0)),
    "Abs": lambda given: (0.0, max(abs(given[0][0]), abs(given[0][1]))),
    "Sqrt": lambda given: (max(given[0][0], 0.0) ** 0.5, max(given[0][1], 0.0) ** 0.5),
    "Neg": lambda given: (-given[0][1], -given[0][0]),
    "Log": _log,
    "Exp": _exp,
    "Reciprocal": lambda given: _over([(1.0, 1.0), given[0]]),
    "Add": lambda given: (given[0][0] + given[1][0], given[0][1] + given[1][1]),
    "Sub": lambda given: (given[0][0] - given[1][1], given[0][1] - given[1][0]),
    "Mul": _times,
    "Div": _over,
    "Pow": _power,
    "Sum": lambda given: (sum(interval[0] for interval in given), sum(interval[1] for interval in given)),
    "Mean": lambda given: (
        sum(interval[0] for interval in given) / len(given),
        sum(interval[1] for interval in given) / len(given),
    ),
    "Concat": _union,
    "Max": lambda given: (max(interval[0] for interval in given), max(interval[1] for interval in given)),
    "Min": lambda given: (min(interval[0] for interval in given), min(interval[1] for interval in given)),
    "ReduceSum": lambda given: (0.0 if given[0][0] >= 0 else -inf, 0.0 if given[0][1] <= 0 else inf),
    "ReduceLogSumExp": lambda given: (given[0][0], inf),
}
