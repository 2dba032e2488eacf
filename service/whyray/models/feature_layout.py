"""Feature maps whose channels come last, as transformers on grids of tokens have them, put channels-first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whyray.models.graph import Graph, item_shape
from whyray.models.manifest import InputSpec
from whyray.models.subgraphs import rename_reads

_UNEVEN = 1.6
"""Largest ratio between how much each axis of the input was shrunk; convolutions without padding shrink unevenly."""


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
    """Whether the channels of `features` come last: by the shape of the grid, and where that fits both ways, by what
    acts on its last axis (a layer norm, a linear layer)."""
    sizes = [size or 1 for size in graph.shapes[features]]
    image = item_shape(spec)[:-1] if spec.layout == "NHWC" else item_shape(spec)[1:]
    as_first, as_last = _fits(sizes[2:], image), _fits(sizes[1:-1], image)
    if as_first != as_last:
        return as_last
    around = [graph.producer.get(features), *graph.consumers.get(features, [])]
    return any(each is not None and _acts_on_last_axis(graph, each) for each in around)


def _acts_on_last_axis(graph: Graph, node: Any) -> bool:
    if node.op_type == "LayerNormalization":
        return next((each.i for each in node.attribute if each.name == "axis"), -1) == -1
    return node.op_type == "MatMul" and node.input[1] in graph.constants


def _fits(grid: Sequence[int], image: Sequence[int]) -> bool:
    shrunk = [pixels / size for pixels, size in zip(image, grid, strict=True)]
    return max(shrunk) <= _UNEVEN * min(shrunk) and min(shrunk) >= 1
