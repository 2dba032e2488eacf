"""The image's own input: its shape as the manifest has it, and a cast in the graph where it takes no single precision.

With the cast inside, whatever runs a graph or a part of it feeds single precision, and an integer input gets whole
numbers of its own range from every image, those that a perturbation method has changed too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from whyray.base.errors import PackageError
from whyray.packages import InputSpec, rename_reads

_CAST = "whyray.input.cast"
_FEWEST = 16
"""Whole numbers that an image must be told apart by, at least: fewer mean that its values were never scaled."""


def with_float_input(proto: Any, spec: InputSpec, where: str) -> Any:
    """The graph with an input in single (or half) precision; the same object where it has one already.

    An integer input gets the nearest whole number within its type's range. Raises PackageError where the input is no
    numeric tensor, where its shape is not the manifest's, or where the manifest's intensities do not fit an integer.
    """
    import onnx
    from onnx import TensorProto, helper

    value = next(graph_input for graph_input in proto.graph.input if graph_input.name == spec.name)
    if not value.type.HasField("tensor_type"):
        raise PackageError(
            f"{where}: expected a tensor as input {spec.name!r}, found {value.type.WhichOneof('value') or 'no type'}",
            advice="Export the model with the image as a tensor.",
        )
    _refuse_other_shape(value, spec, where)
    kind = value.type.tensor_type.elem_type
    if kind in (TensorProto.FLOAT, TensorProto.FLOAT16):
        return proto
    limits = _limits(kind, spec, where)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    cast = f"{spec.name}__cast"
    for node in copy.graph.node:
        rename_reads(node, spec.name, cast)
    nodes, last = [], spec.name
    if limits is not None:
        # Floor(x + 1/2), since Round came with opset 11 only; then what the type holds
        steps = (("Add", 0.5), ("Floor", None), ("Max", limits[0]), ("Min", limits[1]))
        for number, (operator, constant) in enumerate(steps):
            given = [last]
            if constant is not None:
                given.append(f"{cast}_{number}")
                array = np.array(constant, np.float32)
                copy.graph.initializer.append(onnx.numpy_helper.from_array(array, given[1]))
            last = f"{cast}_{operator}"
            nodes.append(helper.make_node(operator, given, [last]))
    nodes.append(helper.make_node("Cast", [last], [cast], name=_CAST, to=kind))
    nodes += copy.graph.node
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    image_input = next(graph_input for graph_input in copy.graph.input if graph_input.name == spec.name)
    image_input.type.tensor_type.elem_type = TensorProto.FLOAT
    return copy


def cast_to(proto: Any) -> str | None:
    """numpy's name of the type that the image is cast to inside the graph; None where it is not."""
    import onnx

    for node in proto.graph.node:
        if node.name == _CAST:
            return _name(next(attribute.i for attribute in node.attribute if attribute.name == "to"), onnx)
    return None


def _limits(kind: int, spec: InputSpec, where: str) -> tuple[float, float] | None:
    """The range of an integer input in single precision, or None for floating point."""
    import onnx
    from onnx import TensorProto

    name = _name(kind, onnx)
    if kind in (TensorProto.DOUBLE, TensorProto.BFLOAT16):
        return None
    try:
        info = np.iinfo(name)
    except (TypeError, ValueError):
        raise PackageError(
            f"{where}: expected numbers as input {spec.name!r}, found {name}",
            advice="Export the model with the image in float32.",
        ) from None
    low, high = _intensities(spec)
    if low < info.min - 0.5 or high > info.max + 0.5 or high - low < _FEWEST - 1:
        raise PackageError(
            f"{where}: input {spec.name!r} takes {name}, whole numbers from {info.min} to {info.max}, and by "
            f"model.yaml the image's values go from {low:.6g} to {high:.6g}",
            advice="Set input.intensity to what the model takes: for 0 to 255, mean: [0] and std: [0.0039215686].",
        )
    largest = np.float32(info.max)
    while int(largest) > info.max:
        largest = np.nextafter(largest, np.float32(0))
    return float(info.min), float(largest)


def _intensities(spec: InputSpec) -> tuple[float, float]:
    """The smallest and the largest value of an image by the manifest: 0 and 1 less the mean, by the deviation."""
    mean, deviation = (np.asarray(statistic, np.float64) for statistic in (spec.intensity.mean, spec.intensity.std))
    return float(((0 - mean) / deviation).min()), float(((1 - mean) / deviation).max())


def _refuse_other_shape(value: Any, spec: InputSpec, where: str) -> None:
    if not value.type.tensor_type.HasField("shape"):
        return
    declared = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in value.type.tensor_type.shape.dim]
    item = (*spec.shape, spec.channels) if spec.layout == "NHWC" else (spec.channels, *spec.shape)
    if len(declared) == len(item) + 1 and all(
        size < 1 or size == given for size, given in zip(declared, (1, *item), strict=True)
    ):
        return
    accepted = ", ".join(str(size) if size > 0 else "any" for size in declared)
    expected = ", ".join(map(str, (1, *item)))
    raise PackageError(
        f"{where}: input {spec.name!r} takes the shape ({accepted}), and model.yaml gives ({expected})",
        advice="Correct layout, channels and shape in model.yaml; a batch must be of any size, or of one.",
    )


def _name(kind: int, onnx: Any) -> str:
    """'uint8', 'bfloat16', 'string': a type of ONNX by its own name in lower case, a double as numpy calls it."""
    name = str(onnx.TensorProto.DataType.Name(kind)).lower()
    return "float64" if name == "double" else name
