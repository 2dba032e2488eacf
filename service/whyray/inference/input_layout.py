"""The layout of the image, settled in the graph: whoever runs it, or a part of it, feeds (N, C, *spatial)."""

from __future__ import annotations

from typing import Any

from whyray.packages import InputSpec, rename_reads


def with_channels_first_input(proto: Any, spec: InputSpec) -> Any:
    """The graph with a channels-first image as its input; the same object where it takes that already.

    A graph of the layout NHWC gets a Transpose behind its input, which keeps its name.
    """
    import onnx

    if spec.layout != "NHWC":
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    last = f"{spec.name}__channels_last"
    for node in copy.graph.node:
        rename_reads(node, spec.name, last)
    axes = len(spec.shape) + 2
    there = onnx.helper.make_node("Transpose", [spec.name], [last], perm=[0, *range(2, axes), 1])
    nodes = [there, *(onnx.NodeProto.FromString(node.SerializeToString()) for node in copy.graph.node)]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    value = next(given for given in copy.graph.input if given.name == spec.name)
    sizes = value.type.tensor_type.shape.dim
    if len(sizes) == axes:
        channels = onnx.TensorShapeProto.Dimension.FromString(sizes[-1].SerializeToString())
        del sizes[-1]
        sizes.insert(1, channels)
    return copy
