"""Shapes of all tensors of a graph, and what the graph computes from sizes alone.

Exporters write sizes as they found them in the code: `x.shape[2] // 8` becomes Shape, Gather and Div, a padding a dozen
nodes that put its numbers in order. An image of a package has one size, so these numbers are known, and with them the
shapes of what they crop, pad or resize.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.packages import InputSpec, reads

_ROUNDS = 16
"""Shapes that follow from computed sizes are known in the round after these."""
_MOST_VALUES = 1 << 12
_UNSETTLED = frozenset(["RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "If"])


@dataclass
class InferredSizes:
    """What is known of a graph for a batch of one.

    Attributes
    ----------
    shapes
        By name of the tensor; a name may be missing, and a size that nothing tells is None.
    types
        ONNX element types, by name.
    numbers
        Values of tensors that are computed from sizes and constants, by name.
    """

    shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, NDArray[Any]] = field(default_factory=dict)


def inferred_sizes(proto: Any, spec: InputSpec) -> InferredSizes:
    """By ONNX's own inference, again and again with what followed from the sizes so far."""
    slim, sizes = _slim(proto, spec), InferredSizes()
    constants = {constant.name: constant for constant in slim.graph.initializer}
    constants |= {node.output[0]: node for node in slim.graph.node if node.op_type == "Constant"}
    for _ in range(_ROUNDS):
        if not _infer(slim, sizes):
            break
        known = _known(slim, sizes, constants)
        if not known:
            break
        sizes.numbers |= known
        _settle(slim, known)
    return sizes


def _slim(proto: Any, spec: InputSpec) -> Any:
    """A copy for an image of the manifest's size, with inputs in place of large constants: their shape is asked."""
    import onnx

    slim = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import, functions=proto.functions)
    whole, graph = proto.graph, slim.graph
    graph.name = whole.name
    graph.node.extend(whole.node)
    graph.input.extend(whole.input)
    graph.output.extend(onnx.ValueInfoProto(name=output.name, type=output.type) for output in whole.output)
    for constant in whole.initializer:
        if prod(constant.dims) <= _MOST_VALUES:
            graph.initializer.append(constant)
        elif all(constant.name != given.name for given in whole.input):
            shape = onnx.helper.make_tensor_value_info(constant.name, constant.data_type, list(constant.dims))
            graph.input.append(shape)
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    value = next(given for given in graph.input if given.name == spec.name)
    if value.type.tensor_type.HasField("shape"):
        for dim, size in zip(value.type.tensor_type.shape.dim, (1, spec.channels, *spec.shape), strict=False):
            dim.dim_value = size
    return slim


def _infer(slim: Any, sizes: InferredSizes) -> bool:
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(slim, data_prop=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError, RuntimeError):
        return False  # a graph that inference can't read may still run; its shapes are then unknown
    for value_info in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
        kind = value_info.type.tensor_type
        if kind.elem_type:
            sizes.types[value_info.name] = kind.elem_type
        if kind.HasField("shape"):
            sizes.shapes[value_info.name] = tuple(
                dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim
            )
    return True


def _known(slim: Any, sizes: InferredSizes, constants: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """What follows from the shapes that are known and was not known before, by name."""
    known: dict[str, NDArray[Any]] = {}
    for node in slim.graph.node:
        if node.op_type == "Constant" or node.op_type in _UNSETTLED or len(node.output) != 1:
            continue
        if node.op_type in {"Shape", "Size"}:
            value = _size(sizes.shapes.get(node.input[0]), node)
        else:
            value = _computed(slim, node, {**sizes.numbers, **known}, constants)
        if value is not None:
            known[node.output[0]] = value
    return known


def _size(shape: tuple[int | None, ...] | None, node: Any) -> NDArray[Any] | None:
    if shape is None or None in shape:
        return None
    whole = np.array(shape, np.int64)
    if node.op_type == "Size":
        return np.array(whole.prod(), np.int64)
    limits = {attribute.name: attribute.i for attribute in node.attribute}
    return whole[slice(limits.get("start", 0), limits.get("end"))]


def _computed(
    slim: Any, node: Any, numbers: Mapping[str, NDArray[Any]], constants: Mapping[str, Any]
) -> NDArray[Any] | None:
    """A node's value where it reads sizes, or whole numbers alone; None where it reads more, and of large ones."""
    import onnx

    given: dict[str, NDArray[Any]] = {}
    for name in reads(node):
        value = numbers.get(name)
        if value is None and name in constants:
            value = constant_value(constants[name])
        if value is None or value.size > _MOST_VALUES:
            return None
        given[name] = value
    whole = all(value.dtype.kind in "iub" for value in given.values())
    if not given or not (whole or any(name in numbers for name in given)):
        return None  # weights that are cast, say: nothing of theirs is a size

    from onnx.reference import ReferenceEvaluator

    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), list(value.shape))
        for name, value in given.items()
    ]
    output = onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.UNDEFINED, None)
    alone = onnx.helper.make_graph([node], "sizes", inputs, [output])
    model = onnx.helper.make_model(alone, opset_imports=slim.opset_import, ir_version=slim.ir_version)
    try:
        (result,) = ReferenceEvaluator(model).run(None, given)
    except Exception:  # whatever a reference does not do: the size then stays unknown
        return None
    array = np.asarray(result)
    return array if array.size <= _MOST_VALUES else None


_NUMBERS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


def constant_value(holder: Any) -> NDArray[Any] | None:
    """The value that an initializer or a Constant node holds; None where it holds none that is known here."""
    from onnx import numpy_helper

    if not hasattr(holder, "op_type"):
        return np.asarray(numpy_helper.to_array(holder))
    for attribute in holder.attribute:
        if attribute.name == "value":
            return np.asarray(numpy_helper.to_array(attribute.t))
        if attribute.name in _NUMBERS:  # since opset 12 a number, or a list of them, without a tensor around it
            import onnx

            return np.asarray(onnx.helper.get_attribute_value(attribute), _NUMBERS[attribute.name])
    return None


def _settle(slim: Any, known: Mapping[str, NDArray[Any]]) -> None:
    """Put constants in place of the nodes that computed them."""
    import onnx

    outputs = {output.name for output in slim.graph.output}
    settled = known.keys() - outputs
    kept = [node for node in slim.graph.node if not settled.intersection(node.output)]
    del slim.graph.node[:]
    slim.graph.node.extend(kept)
    slim.graph.initializer.extend(onnx.numpy_helper.from_array(known[name], name) for name in settled)
