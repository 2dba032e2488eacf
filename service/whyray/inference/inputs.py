"""Graphs with several inputs: all but the image get the constants that the manifest names, inside the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from whyray.base.errors import PackageError
from whyray.packages import InputSpec, OtherInput, reads


def with_constants(proto: Any, spec: InputSpec, where: str) -> Any:
    """The graph with one input left, the image; the same object where it has no other.

    The constants are of one item. They broadcast over a batch of any size, and are repeated where they meet the image's
    own features in a concatenation. Raises PackageError where the graph has inputs that the manifest does not name, or
    the manifest names some that the graph does not have, or a value does not fit.
    """
    import onnx
    from onnx import numpy_helper

    constants = {initializer.name for initializer in proto.graph.initializer}
    declared = {graph_input.name: graph_input for graph_input in proto.graph.input if graph_input.name not in constants}
    if spec.name not in declared:
        raise PackageError(
            f"{where}: input.name says {spec.name!r}, but the graph's inputs are {list(declared)}",
            advice="Name the image's input in model.yaml.",
        )
    others = [name for name in declared if name != spec.name]
    unnamed = [name for name in others if name not in spec.others]
    if unnamed:
        raise PackageError(
            f"{where}: the graph takes {', '.join(unnamed)} beside {spec.name!r}, and model.yaml gives no value for it",
            advice="Give each a constant under input.others (value, meaning), or export the model without it.",
        )
    strange = sorted(set(spec.others) - set(others))
    if strange:
        raise PackageError(
            f"{where}: input.others names {', '.join(strange)}, and the graph's inputs are {list(declared)}",
            advice="Take them out of model.yaml, or correct their names.",
        )
    if not others:
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for name in others:
        array = _filled(declared[name], spec.others[name], spec, where)
        copy.graph.initializer.append(numpy_helper.from_array(array, name))
    kept = [graph_input for graph_input in copy.graph.input if graph_input.name not in others]
    del copy.graph.input[:]
    copy.graph.input.extend(kept)
    _repeat_in_concatenations(copy, set(others))
    return copy


def _filled(declared: Any, other: OtherInput, spec: InputSpec, where: str) -> Any:
    """The constant for one item in the input's declared shape and type; an open size of an image's is the image's."""
    import onnx

    kind = declared.type.tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    rank = len(spec.shape) + 2
    image = [1, *spec.shape, 1] if spec.layout == "NHWC" else [1, 1, *spec.shape]
    shape = [1 if axis == 0 else size or (image[axis] if len(sizes) == rank else 1) for axis, size in enumerate(sizes)]
    try:
        array = np.broadcast_to(np.asarray(other.value), shape)
    except ValueError as error:
        raise PackageError(
            f"{where}: input.others.{declared.name}: {other.value} does not fit the shape {shape}",
            advice="Give one number, or as many as the input's last axis has.",
        ) from error
    return np.ascontiguousarray(array, dtype=onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))


def _repeat_in_concatenations(model: Any, fixed: set[str]) -> None:
    """Where what depends on the constants alone is joined to what depends on the image, repeat it to the batch."""
    import onnx
    from onnx import numpy_helper

    graph = model.graph
    free = {initializer.name for initializer in graph.initializer} | {
        output for node in graph.node if node.op_type == "Constant" for output in node.output
    }
    inferred = onnx.shape_inference.infer_shapes(model).graph
    ranks = {
        value_info.name: len(value_info.type.tensor_type.shape.dim)
        for value_info in (*inferred.value_info, *inferred.input)
    } | {initializer.name: len(initializer.dims) for initializer in graph.initializer}
    nodes: list[Any] = []
    for node in graph.node:
        given = reads(node)
        if any(tensor in fixed for tensor in given) and all(tensor in fixed or tensor in free for tensor in given):
            fixed.update(node.output)
        varying = next((tensor for tensor in given if tensor not in fixed and tensor not in free), None)
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        if node.op_type == "Concat" and varying is not None and axis != 0:
            for place, name in enumerate(node.input):
                if name not in fixed:
                    continue
                stem = f"{node.output[0]}__repeated{place}"
                for suffix, values in (("first", [0]), ("ones", [1] * (ranks.get(name, 2) - 1))):
                    graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), f"{stem}_{suffix}"))
                nodes += [
                    onnx.helper.make_node("Shape", [varying], [f"{stem}_shape"]),
                    onnx.helper.make_node("Gather", [f"{stem}_shape", f"{stem}_first"], [f"{stem}_batch"]),
                    onnx.helper.make_node("Concat", [f"{stem}_batch", f"{stem}_ones"], [f"{stem}_sizes"], axis=0),
                    onnx.helper.make_node("Expand", [name, f"{stem}_sizes"], [stem]),
                ]
                node.input[place] = stem
        nodes.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
