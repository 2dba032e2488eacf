"""What arrives at the input of convolutions, pools, products with weights and resizing: rules of `differentiation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.inference.way_back import DifferentiationError, Rule, WayBack, attribute


# --- products with weights -------------------------------------------------------------------------------------------
def _gemm(way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    if place != 0 or attribute(node, "transA", 0):
        raise DifferentiationError("the weights of a Gemm are computed")
    turned, alpha = attribute(node, "transB", 0), float(attribute(node, "alpha", 1.0))
    return way.node("Gemm", arriving[0], copy.input[1], transB=0 if turned else 1, alpha=alpha)


def _matmul(way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    left, right = (way.shape(name) for name in node.input)
    if min(len(left), len(right)) < 2 or (
        max(len(left), len(right)) > 2 and len(left) != len(right) and len(right) != 2
    ):
        raise DifferentiationError("a MatMul of vectors, or one that repeats an operand")
    if place and len(left) != len(right):
        raise DifferentiationError("the weights of a MatMul are computed")
    if len(left) == len(right) and left[:-2] != right[:-2]:
        raise DifferentiationError("a MatMul that repeats an operand")
    other = len(right if place == 0 else left)
    turned = way.node("Transpose", copy.input[1 - place], perm=[*range(other - 2), other - 1, other - 2])
    return way.node("MatMul", *((arriving[0], turned) if place == 0 else (turned, arriving[0])))


def _batch_normalization(way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    if place:
        raise DifferentiationError("the statistics of a BatchNormalization are computed")
    if attribute(node, "training_mode", 0):
        raise DifferentiationError("a BatchNormalization by the statistics of what comes in")
    epsilon = way.number(float(attribute(node, "epsilon", 1e-5)))
    spread = way.node("Sqrt", way.node("Add", copy.input[4], epsilon))
    factor = way.node("Div", copy.input[1], spread)
    axes = len(way.shape(node.input[0])) - 2
    return way.node("Mul", arriving[0], way.node("Unsqueeze", factor, way.integers(*range(1, 1 + axes))))


def _layer_normalization(way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    """Ba et al. 2016, eq. 3: what arrives, less its mean and less its part along the normalised values."""
    if place:
        raise DifferentiationError("the scale of a LayerNormalization is computed")
    while len(copy.output) < 3:
        copy.output.append(f"{copy.output[0]}/{('', 'mean', 'inverse')[len(copy.output)]}")
    count = len(way.shape(node.input[0]))
    axes = way.integers(*range(int(attribute(node, "axis", -1)) % count, count))

    def mean(tensor: str) -> str:
        if way.opset < 18:
            raise DifferentiationError("a LayerNormalization before opset 18")
        return way.node("ReduceMean", tensor, axes, keepdims=1)

    normalised = way.node("Mul", way.node("Sub", copy.input[0], copy.output[1]), copy.output[2])
    scaled = way.node("Mul", arriving[0], copy.input[1])
    along = way.node("Mul", normalised, mean(way.node("Mul", scaled, normalised)))
    return way.node("Mul", copy.output[2], way.node("Sub", way.node("Sub", scaled, mean(scaled)), along))


def _conv(way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    """A convolution with the kernel turned round, where every place was visited; else a transposed convolution."""
    if place:
        raise DifferentiationError("the weights of a Conv are computed")
    given, made = way.shape(node.input[0])[2:], way.shape(node.output[0])[2:]
    axes = len(given)
    kernel = way.shape(node.input[1])[2:]
    strides = list(attribute(node, "strides", [1] * axes))
    dilations = list(attribute(node, "dilations", [1] * axes))
    group = int(attribute(node, "group", 1))
    before, after = _pads(node, given, made, kernel, strides, dilations)
    reach = [dilation * (extent - 1) for dilation, extent in zip(dilations, kernel, strict=True)]
    weights = way.constant(node.input[1])
    turned_pads = [span - pad for span, pad in zip(reach * 2, [*before, *after], strict=True)]
    if weights is not None and all(stride == 1 for stride in strides) and min(turned_pads) >= 0:
        outputs, inputs = weights.shape[:2]
        parts = weights.reshape(group, outputs // group, inputs, *kernel)
        turned = np.flip(np.swapaxes(parts, 1, 2), axis=tuple(range(3, 3 + axes)))
        turned = turned.reshape(group * inputs, outputs // group, *kernel)
        settings = {"pads": turned_pads, "dilations": dilations, "group": group, "kernel_shape": list(kernel)}
        return way.node("Conv", arriving[0], way.kept(turned), **settings)
    over = [
        size - (stride * (count - 1) + span + 1 - first - last)
        for size, stride, count, span, first, last in zip(given, strides, made, reach, before, after, strict=True)
    ]
    if min(over) < 0:
        raise DifferentiationError("a Conv whose padding reaches beyond the input")
    return way.node(
        "ConvTranspose",
        arriving[0],
        copy.input[1],
        strides=strides,
        dilations=dilations,
        group=group,
        kernel_shape=list(kernel),
        pads=[*before, *after],
        output_padding=over,
    )


def _conv_transpose(way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    if place:
        raise DifferentiationError("the weights of a ConvTranspose are computed")
    kernel = way.shape(node.input[1])[2:]
    axes = len(kernel)
    strides = list(attribute(node, "strides", [1] * axes))
    dilations = list(attribute(node, "dilations", [1] * axes))
    if attribute(node, "auto_pad", b"NOTSET") != b"NOTSET" or attribute(node, "output_shape") is not None:
        raise DifferentiationError("a ConvTranspose whose padding follows from its output")
    pads = list(attribute(node, "pads", [0] * 2 * axes))
    over = list(attribute(node, "output_padding", [0] * axes))
    # What hangs over at the end was reached by no kernel: the last place of a convolution lies before it.
    ends = [pad - more for pad, more in zip(pads[axes:], over, strict=True)]
    back = arriving[0]
    if min(ends) < 0:
        crops = [0, 0, *[0] * axes, 0, 0, *(min(end, 0) for end in ends)]
        back = way.node("Pad", back, way.integers(*crops))
        ends = [max(end, 0) for end in ends]
    return way.node(
        "Conv",
        back,
        copy.input[1],
        strides=strides,
        dilations=dilations,
        group=int(attribute(node, "group", 1)),
        kernel_shape=list(kernel),
        pads=[*pads[:axes], *ends],
    )


def _pads(
    node: Any,
    given: Sequence[int],
    made: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Padding before and after, by axis."""
    how = attribute(node, "auto_pad", b"NOTSET")
    if how in (b"NOTSET", b"VALID"):
        pads = list(attribute(node, "pads", [0] * 2 * len(given))) if how == b"NOTSET" else [0] * 2 * len(given)
        return pads[: len(given)], pads[len(given) :]
    whole = [
        max(0, stride * (count - 1) + dilation * (extent - 1) + 1 - size)
        for size, count, extent, stride, dilation in zip(given, made, kernel, strides, dilations, strict=True)
    ]
    less = [total // 2 for total in whole]
    more = [total - half for total, half in zip(whole, less, strict=True)]
    return (less, more) if how == b"SAME_UPPER" else (more, less)


# --- pools -----------------------------------------------------------------------------------------------------------
def _average_pool(way: WayBack, node: Any, _copy: Any, _place: int, arriving: Sequence[str]) -> str:
    """As a transposed convolution of each channel with ones, of what arrives divided by how many were averaged."""
    given, made = way.shape(node.input[0]), way.shape(node.output[0])
    axes = len(given) - 2
    kernel = list(attribute(node, "kernel_shape"))
    strides = list(attribute(node, "strides", [1] * axes))
    dilations = list(attribute(node, "dilations", [1] * axes))
    if attribute(node, "ceil_mode", 0) or any(dilation != 1 for dilation in dilations):
        raise DifferentiationError("an AveragePool with windows beyond the border, or with gaps")
    before, after = _pads(node, given[2:], made[2:], kernel, strides, dilations)
    counts = np.array(float(np.prod(kernel)))
    if any((*before, *after)) and not attribute(node, "count_include_pad", 0):
        counts = np.ones([1] * axes)
        for axis in range(axes):
            first = strides[axis] * np.arange(made[2 + axis]) - before[axis]
            inside = np.minimum(first + kernel[axis], given[2 + axis]) - np.maximum(first, 0)
            counts = counts * inside.reshape([-1 if dimension == axis else 1 for dimension in range(axes)])
        counts = counts[None, None]
    share = way.node("Mul", arriving[0], way.kept(np.asarray(1.0 / counts, np.float32)))
    over = [
        size - (stride * (count - 1) + extent - first - last)
        for size, stride, count, extent, first, last in zip(
            given[2:], strides, made[2:], kernel, before, after, strict=True
        )
    ]
    ones = way.kept(np.ones((given[1], 1, *kernel), np.float32))
    pads, group = [*before, *after], given[1]
    return way.node(
        "ConvTranspose", share, ones, strides=strides, group=group, kernel_shape=kernel, pads=pads, output_padding=over
    )


def _max_pool(way: WayBack, node: Any, copy: Any, _place: int, arriving: Sequence[str]) -> str:
    """To where the largest value lay; where windows overlap, what arrives there adds up."""
    if way.opset < 16:
        raise DifferentiationError("a MaxPool before opset 16")
    if attribute(node, "storage_order", 0):
        raise DifferentiationError("a MaxPool that counts its places by columns")
    if len(copy.output) == 1:
        copy.output.append(f"{copy.output[0]}/places")
    whole = way.shape(node.input[0])
    empty = way.node("ConstantOfShape", way.integers(int(np.prod(whole))))
    flat = way.integers(-1)
    places, values = way.node("Reshape", copy.output[1], flat), way.node("Reshape", arriving[0], flat)
    spread = way.node("ScatterElements", empty, places, values, axis=0, reduction="add")
    return way.node("Reshape", spread, way.integers(*whole))


# --- resizing ---------------------------------------------------------------------------------------------------------
def _resize(way: WayBack, node: Any, _copy: Any, place: int, arriving: Sequence[str]) -> str:
    """Each axis by the matrix that it was resized with, turned round."""
    if place:
        raise DifferentiationError("the sizes of a Resize are computed from the input's values")
    given, made = way.shape(node.input[0]), way.shape(node.output[0])
    if len(given) != 4 or given[:2] != made[:2]:
        raise DifferentiationError("Resize of other than pictures")
    if attribute(node, "keep_aspect_ratio_policy", b"stretch") != b"stretch":
        raise DifferentiationError("a Resize whose scales follow from its sizes and the input's together")
    axes = [axis % len(given) for axis in attribute(node, "axes") or range(len(given))]
    if axes != list(range(len(given) - len(axes), len(given))):
        raise DifferentiationError("a Resize whose scales are not those of the last axes in their order")
    back = arriving[0]
    if given[3] != made[3]:
        back = way.node("MatMul", back, way.kept(_resizing(way, node, 3).T))
    if given[2] != made[2]:
        back = way.node("MatMul", way.kept(_resizing(way, node, 2)), back)
    return back


def _resizing(way: WayBack, node: Any, axis: int) -> NDArray[np.float32]:
    """The matrix (given, made) of a Resize along one axis: what ONNX Runtime makes of the identity."""
    import onnx
    import onnxruntime

    given, made = way.shape(node.input[0])[axis], way.shape(node.output[0])[axis]
    scales = way.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if attribute(node, "coordinate_transformation_mode") == b"tf_crop_and_resize":
        raise DifferentiationError("a Resize that crops")
    alone = onnx.NodeProto()
    alone.CopyFrom(node)
    named: dict[str, NDArray[Any]] = {}
    if scales is not None and scales.size:
        named["scales"] = np.array([1, 1, scales[axis - len(way.shape(node.input[0]))], 1], np.float32)
    else:
        named["sizes"] = np.array([given, 1, made, 1], np.int64)
    alone.input[:] = ["x", "", *(["scales"] if "scales" in named else ["", "sizes"])]
    alone.output[:] = ["y"]
    for name in ("axes", "keep_aspect_ratio_policy"):
        for entry in [entry for entry in alone.attribute if entry.name == name]:
            alone.attribute.remove(entry)
    single = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [alone],
        "resize",
        [onnx.helper.make_tensor_value_info("x", single, [given, 1, given, 1])],
        [onnx.helper.make_tensor_value_info("y", single, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in named.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", way.opset)])
    model.ir_version = 8
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    identity = np.eye(given, dtype=np.float32).reshape(given, 1, given, 1)
    return np.asarray(session.run(["y"], {"x": identity})[0], np.float32).reshape(given, made)


KERNEL_RULES: Mapping[str, Rule] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "LayerNormalization": _layer_normalization,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Resize": _resize,
}
