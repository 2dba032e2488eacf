"""Graphs in half or double precision in single: what gradients are taken of.

Half of the bits of half precision is lost on the way back, and what runs parts of a graph in torch feeds single.
"""

from __future__ import annotations

from typing import Any

from whyray.packages import graphs, tensors


def as_float32(proto: Any) -> Any:
    """The same graph with every half, bfloat16 and double tensor, constant and cast in float32, in bodies too.

    The same object where it has none.
    """
    import onnx

    single = onnx.TensorProto.FLOAT
    others = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    if all(tensor.data_type not in others for tensor in tensors(proto)) and all(
        value_info.type.tensor_type.elem_type not in others
        for graph in graphs(proto.graph)
        for value_info in (*graph.input, *graph.output, *graph.value_info)
    ):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in tensors(copy):
        if tensor.data_type in others:
            values = onnx.numpy_helper.to_array(tensor).astype("float32")
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    for graph in graphs(copy.graph):
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.name == "to" and attribute.i in others:
                    attribute.i = single
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.type.tensor_type.elem_type in others:
                value.type.tensor_type.elem_type = single
    return copy
