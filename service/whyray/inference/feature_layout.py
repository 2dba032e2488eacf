"""Feature maps whose channels come last, as transformers on grids of tokens have them, put channels-first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from whyray.inference.graph import Graph
from whyray.packages import InputSpec, rename_reads

_UNEVEN = 1.6
"""Largest ratio between how much each axis of the input was shrunk; convolutions without padding shrink unevenly."""
_DEEPEST = 40
_MAKE_MAPS = frozenset(
    [
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AveragePool",
        "LpPool",
        "BatchNormalization",
        "InstanceNormalization",
        "GroupNormalization",
        "Resize",
        "Upsample",
        "DepthToSpace",
        "SpaceToDepth",
        "QLinearConv",
        "ConvInteger",
        "LRN",
    ]
)
_KEEP_MAPS = frozenset(
    [
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Elu",
        "Selu",
        "Celu",
        "Gelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Mish",
        "Tanh",
        "Softplus",
        "Clip",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Concat",
        "Identity",
        "Dropout",
        "Cast",
        "Pad",
        "Sqrt",
        "DequantizeLinear",
        "QuantizeLinear",
        "Slice",
        "Swish",
        "Erf",
        "Pow",
        "Max",
        "Min",
        "Sum",
        "Where",
    ]
)


def channels_first(graph: Graph, features: str | None, spec: InputSpec) -> Graph:
    """The same graph; where `features` has its channels last, one in which a channels-first tensor stands for it.

    What the features go into gets them as they were, transposed back, so that everything behind them can be cut off at
    the new tensor. `Graph.stands_for` names it.
    """
    import onnx

    shape = None if features is None else graph.shapes.get(features)
    if features is None or shape is None or None in shape or not channels_last(graph, features, spec):
        return graph
    rank = len(shape)
    there, back = [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]
    first, as_was = f"{features}__channels_first", f"{features}__as_was"
    copy = onnx.ModelProto()
    copy.CopyFrom(graph.proto)
    nodes: list[Any] = []
    for node in graph.proto.graph.node:
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        rename_reads(changed, features, as_was)
        nodes.append(changed)
        if features in node.output:
            nodes.append(onnx.helper.make_node("Transpose", [features], [first], perm=there))
            nodes.append(onnx.helper.make_node("Transpose", [first], [as_was], perm=back))
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return Graph(copy, spec, graph.where, stands_for={features: first, as_was: first})


def channels_last(graph: Graph, features: str, spec: InputSpec) -> bool:
    """Whether the channels of `features`, a map, come last."""
    return map_layout(graph, features, spec) == "last"


def map_layout(graph: Graph, name: str, spec: InputSpec) -> Literal["first", "last"] | None:
    """Where the channels of a tensor of as many axes as the image are; None where it is no map of positions.

    By the shape of the grid; where that fits both ways, by what acts on its last axis (a layer norm, a linear layer);
    where it fits neither way, by what made it: convolutions and pooling leave a map, channels first, even where they
    shrank its axes unevenly.
    """
    sizes = [size or 0 for size in graph.shapes[name]]
    image = spec.shape
    if len(sizes) != len(image) + 2 or 0 in sizes[1:]:
        return None
    as_first, as_last = _fits(sizes[2:], image), _fits(sizes[1:-1], image)
    if as_first != as_last:
        return "last" if as_last else "first"
    if as_first:
        around = [graph.producer.get(name), *graph.consumers.get(name, [])]
        return "last" if any(node is not None and _acts_on_last_axis(graph, node) for node in around) else "first"
    smaller = all(size <= pixels for size, pixels in zip(sizes[2:], image, strict=True))
    return "first" if smaller and max(sizes[2:]) > 1 and _convolved(graph, name) else None


def _convolved(graph: Graph, name: str) -> bool:
    """Whether a convolution, or pooling, made a tensor, perhaps with operators behind it that keep places apart."""
    for _ in range(_DEEPEST):
        node = graph.producer.get(name)
        if node is None or node.op_type in _MAKE_MAPS:
            return node is not None
        if node.op_type not in _KEEP_MAPS:
            return False
        computed = [operand for operand in node.input if operand in graph.producer and graph.shapes.get(operand)]
        same = [operand for operand in computed if len(graph.shapes[operand]) == len(graph.shapes[name])]
        if not same:
            return False
        name = same[0]
    return False


def _acts_on_last_axis(graph: Graph, node: Any) -> bool:
    if node.op_type == "LayerNormalization":
        return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), -1) == -1
    return node.op_type == "MatMul" and node.input[1] in graph.constants


def _fits(grid: Sequence[int], image: Sequence[int]) -> bool:
    """Whether a grid of more than one position has the image's proportions and is no finer."""
    shrunk = [pixels / size for pixels, size in zip(image, grid, strict=True)]
    return max(grid) > 1 and max(shrunk) <= _UNEVEN * min(shrunk) and min(shrunk) >= 1
