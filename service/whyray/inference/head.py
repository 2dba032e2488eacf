"""The head of a model: what happens between its last feature maps and its logits, and its closed form where it has one.

A head that is affine in the features (global average pooling and a linear layer, a 1 × 1 convolution, flatten and
linear ...) has the same gradient for every image, so class activation maps of all targets need no backward pass:
Zhou et al. 2016 (CAM), and Selvaraju et al. 2017, section 3.1, on Grad-CAM as its generalisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.errors import PackageError
from whyray.inference.graph import Graph
from whyray.inference.session import RuntimeOptions, open_session, run_session, runtime_errors
from whyray.packages import reads

_AFFINE = frozenset(
    [
        "Identity",
        "Dropout",
        "Cast",
        "Flatten",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Slice",
        "Gather",
        "GlobalAveragePool",
        "AveragePool",
        "ReduceMean",
        "ReduceSum",
        "Gemm",
        "MatMul",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Conv",
        "BatchNormalization",
        "Concat",
        "Neg",
    ]
)
_BOTH_MAY_VARY = {"Add", "Sub", "Concat"}
_POOLS = {"GlobalAveragePool", "ReduceMean"}
_RESHAPES = {"Identity", "Dropout", "Flatten", "Reshape", "Squeeze"}
_TYPES: dict[str, type[np.floating[Any]]] = {"tensor(float16)": np.float16, "tensor(double)": np.float64}
_PROBE_BYTES = 1 << 26
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class AffineHead:
    """logits = weight · pooled features + bias.

    Attributes
    ----------
    weight
        (targets, channels): the sum over positions of d logit / d feature. For `pointwise` heads the weight at each
        position.
    bias
        (targets,): the logits of features that are all zero.
    kind
        `pooled`: equal weight at every position (GAP + linear), so the gradient at each is weight / positions.
        `pointwise`: a 1 × 1 convolution, for segmentation. `positional`: affine, with weights that differ by position.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    kind: str


def affine_head(graph: Graph, features: str, logits: str, options: RuntimeOptions) -> AffineHead | None:
    """The head from `features` to `logits` in closed form, or None where it is not affine.

    Found by the operators in between, weights read from the graph or measured with ONNX Runtime, and then checked: the
    closed form must reproduce the head on random features to 1e-3 of their scale, else the answer is None.
    """
    nodes = graph.between(features, logits)
    shape = graph.shapes.get(features)
    if nodes is None or shape is None or None in shape[1:] or not is_affine(nodes, features):
        return None
    sizes = tuple(int(size or 1) for size in shape[1:])
    pointwise = _pointwise_convolution(graph, nodes)
    if pointwise is not None:
        return pointwise
    if graph.shapes.get(logits, (0, 0, 0))[2:]:
        return None
    head = HeadRun(graph, features, logits, options)
    bias = head(np.zeros((1, *sizes), np.float32)).reshape(-1)
    weight = _linear_after_pool(graph, nodes)
    if weight is None or weight.shape != (len(bias), sizes[0]) or not _is_weight(weight, head, sizes, bias):
        weight = _probe(head, sizes, bias)
    random = np.random.default_rng(0).normal(size=(2, *sizes)).astype(np.float32)
    expected = head(random).reshape(len(random), -1)
    axes = tuple(range(2, random.ndim))
    pooled = random.mean(axis=axes) @ weight.T + bias
    scale = float(np.abs(expected - bias).max()) + 1e-12
    uniform = float(np.abs(pooled - expected).max()) <= _TOLERANCE * scale
    return AffineHead(weight, bias, "pooled" if uniform else "positional")


class HeadRun:
    """The head alone in ONNX Runtime: features (N, channels, *grid) → logits (N, targets) or (N, targets, *spatial)."""

    def __init__(self, graph: Graph, features: str, logits: str, options: RuntimeOptions) -> None:
        self._session = open_session(graph.cut(features, logits).SerializeToString(), options, name=graph.where)
        self._input, self._output, self._where = features, logits, graph.where
        self._type = _TYPES.get(self._session.get_inputs()[0].type, np.float32)

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of several items at once, or one by one where the head's batch is fixed."""
        try:
            return self._run(features)
        except runtime_errors() as error:
            if len(features) == 1:
                raise PackageError(
                    f"{self._where}: the graph from {self._input!r} to {self._output!r} does not run alone: {error}",
                    advice="Name a tensor in output.features through which all ways to the answer go.",
                ) from error
            # a batch that is fixed to one inside the head; singles decide
            return np.concatenate([self(features[index : index + 1]) for index in range(len(features))])

    def _run(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        (answer,) = run_session(self._session, [self._output], {self._input: features.astype(self._type)})
        return np.asarray(answer, np.float32)


def is_affine(nodes: list[Any], features: str) -> bool:
    """Whether these nodes, in graph order, are an affine function of the tensor `features` by their operators."""
    varying = {features}
    for node in nodes:
        moving = [tensor for tensor in reads(node) if tensor in varying]
        if not moving or node.op_type == "Shape":
            continue
        if node.op_type not in _AFFINE or (len(moving) > 1 and node.op_type not in _BOTH_MAY_VARY):
            return False
        if moving[0] != node.input[0] and node.op_type in {"Div", "Reshape", "Gather", "Slice"}:
            return False
        varying.update(node.output)
    return True


def _pointwise_convolution(graph: Graph, nodes: list[Any]) -> AffineHead | None:
    core = [node for node in nodes if node.op_type not in {"Identity", "Dropout"}]
    if len(core) != 1 or core[0].op_type != "Conv":
        return None
    weight = graph.constant(core[0].input[1])
    plain = all(
        (attribute.name == "group" and attribute.i == 1)
        or (attribute.name in {"strides", "dilations", "kernel_shape"} and set(attribute.ints) == {1})
        or (attribute.name == "pads" and not any(attribute.ints))
        or attribute.name == "auto_pad"
        for attribute in core[0].attribute
    )
    if weight is None or prod(weight.shape[2:]) != 1 or not plain:
        return None
    bias = graph.constant(core[0].input[2]) if len(core[0].input) > 2 else np.zeros(len(weight))
    if bias is None:
        return None
    return AffineHead(weight.reshape(weight.shape[:2]).astype(np.float32), bias.astype(np.float32), "pointwise")


def _linear_after_pool(graph: Graph, nodes: list[Any]) -> NDArray[np.float32] | None:
    """The weight of pool → reshape … → Gemm or MatMul (+ Add), read from the graph."""
    path = [node for node in nodes if node.op_type not in {"Shape", "Concat", "Gather", "Slice", "Cast"}]
    kinds = [node.op_type for node in path if node.op_type not in _RESHAPES]
    if not kinds or kinds[0] not in _POOLS or kinds[1:] not in (["Gemm"], ["MatMul"], ["MatMul", "Add"]):
        return None
    linear = next(node for node in path if node.op_type in {"Gemm", "MatMul"})
    weight = graph.constant(linear.input[1])
    if weight is None:
        return None
    attributes = {attribute.name: attribute for attribute in linear.attribute}
    if linear.op_type == "Gemm" and "alpha" in attributes and attributes["alpha"].f != 1.0:
        return None
    transposed = linear.op_type == "Gemm" and "transB" in attributes and attributes["transB"].i == 1
    return (weight if transposed else weight.T).astype(np.float32)


def _is_weight(weight: NDArray[np.float32], head: HeadRun, sizes: tuple[int, ...], bias: NDArray[np.float32]) -> bool:
    """Whether a weight read from the graph is the head's: what lies behind the linear layer may turn its rows round."""
    values = np.random.default_rng(0).normal(size=(1, sizes[0])).astype(np.float32)
    flat = np.broadcast_to(values.reshape(1, -1, *[1] * (len(sizes) - 1)), (1, *sizes))
    expected = head(np.ascontiguousarray(flat)).reshape(-1)
    gap = np.abs(values[0] @ weight.T + bias - expected).max()
    return bool(gap <= _TOLERANCE * (np.abs(expected - bias).max() + 1e-12))


def _probe(head: HeadRun, sizes: tuple[int, ...], bias: NDArray[np.float32]) -> NDArray[np.float32]:
    channels = sizes[0]
    chunk = max(1, _PROBE_BYTES // (4 * prod(sizes)))
    rows = []
    for start in range(0, channels, chunk):
        picked = np.arange(start, min(start + chunk, channels))
        ones = np.zeros((len(picked), *sizes), np.float32)
        ones[np.arange(len(picked)), picked] = 1.0
        rows.append(head(ones).reshape(len(ones), -1) - bias)
    return np.concatenate(rows).T.astype(np.float32)
