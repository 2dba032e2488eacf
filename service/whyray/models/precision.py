"""Half-precision graphs in single precision: what gradients are taken of, since half of it is lost on the way back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def as_float32(proto: Any) -> Any:
    """The same graph with every float16 tensor, constant and cast in float32; the same object where it has none."""
    import onnx

    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    holders = [*proto.graph.initializer, *(each for _, each in _tensors(proto.graph))]
    values = (*proto.graph.input, *proto.graph.output, *proto.graph.value_info)
    if all(each.data_type != half for each in holders) and all(
        each.type.tensor_type.elem_type != half for each in values
    ):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in [*copy.graph.initializer, *(each for _, each in _tensors(copy.graph))]:
        if tensor.data_type == half:
            values32 = onnx.numpy_helper.to_array(tensor).astype("float32")
            tensor.CopyFrom(onnx.numpy_helper.from_array(values32, tensor.name))
    for node in copy.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == half:
                attribute.i = single
    for value in (*copy.graph.input, *copy.graph.output, *copy.graph.value_info):
        if value.type.tensor_type.elem_type == half:
            value.type.tensor_type.elem_type = single
    return copy


def _tensors(graph: Any) -> Iterator[tuple[Any, Any]]:
    """Tensors held by attributes (Constant, ConstantOfShape), with their nodes."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield node, attribute.t
