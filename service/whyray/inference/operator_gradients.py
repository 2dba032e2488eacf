"""What arrives at an operator's input from what arrives at its outputs: the rules of `differentiation`.

Where a function has a kink (a rectifier at zero, a clip at its bounds), the side that stands still is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whyray.inference.way_back import DifferentiationError, Rule, WayBack, attribute

NO_GRADIENT = frozenset(
    ["Shape", "Size", "Constant", "ConstantOfShape", "Equal", "Greater", "Less", "Not", "And", "Or"]
)
"""Operators through which nothing arrives: what they give stands still where the input moves a little."""


# --- one number at a time --------------------------------------------------------------------------------------------
def _same(_way: WayBack, _node: Any, _copy: Any, _place: int, arriving: Sequence[str]) -> str:
    return arriving[0]


def _cast(_way: WayBack, node: Any, _copy: Any, _place: int, arriving: Sequence[str]) -> str:
    """Into single precision: the graph is in it already, whatever it was written in. Whole numbers round."""
    from onnx import TensorProto

    if attribute(node, "to") != TensorProto.FLOAT:
        raise DifferentiationError("a Cast to another type than single precision")
    return arriving[0]


def _relu(way: WayBack, _node: Any, copy: Any, _place: int, arriving: Sequence[str]) -> str:
    return _where_open(way, way.node("Greater", copy.output[0], way.number(0.0)), arriving[0])


def _leaky_relu(way: WayBack, node: Any, copy: Any, _place: int, arriving: Sequence[str]) -> str:
    falling = way.node("Mul", arriving[0], way.number(attribute(node, "alpha", 0.01)))
    return way.node("Where", way.node("Greater", copy.input[0], way.number(0.0)), arriving[0], falling)


def _clip(way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    """By what comes out alone, so that ONNX Runtime may compute it within the convolution before."""
    if place:
        raise DifferentiationError("the bounds of a Clip are computed")
    bounds = [way.constant(name) if name else None for name in (*node.input[1:], "", "")[:2]]
    if any(name and bound is None for name, bound in zip(node.input[1:], bounds, strict=False)):
        raise DifferentiationError("the bounds of a Clip are computed")
    sides = [
        way.node(operator, copy.output[0], way.number(float(bound)))
        for operator, bound in zip(("Greater", "Less"), bounds, strict=True)
        if bound is not None
    ]
    if not sides:
        return arriving[0]
    return _where_open(way, sides[0] if len(sides) == 1 else way.node("And", *sides), arriving[0])


def _where_open(way: WayBack, is_open: str, arriving: str) -> str:
    """As a product: ONNX Runtime's Where takes ten times as long."""
    return way.node("Mul", arriving, way.node("Cast", is_open, to=1))


def _neg(way: WayBack, _node: Any, _copy: Any, _place: int, arriving: Sequence[str]) -> str:
    return way.node("Neg", arriving[0])


def _sigmoid(way: WayBack, _node: Any, copy: Any, _place: int, arriving: Sequence[str]) -> str:
    y = copy.output[0]
    return way.node("Mul", arriving[0], way.node("Mul", y, way.node("Sub", way.number(1.0), y)))


def _tanh(way: WayBack, _node: Any, copy: Any, _place: int, arriving: Sequence[str]) -> str:
    square = way.node("Mul", copy.output[0], copy.output[0])
    return way.node("Mul", arriving[0], way.node("Sub", way.number(1.0), square))


def _exp(way: WayBack, _node: Any, copy: Any, _place: int, arriving: Sequence[str]) -> str:
    return way.node("Mul", arriving[0], copy.output[0])


def _log(way: WayBack, _node: Any, copy: Any, _place: int, arriving: Sequence[str]) -> str:
    return way.node("Div", arriving[0], copy.input[0])


def _sqrt(way: WayBack, _node: Any, copy: Any, _place: int, arriving: Sequence[str]) -> str:
    return way.node("Div", arriving[0], way.node("Mul", way.number(2.0), copy.output[0]))


def _erf(way: WayBack, _node: Any, copy: Any, _place: int, arriving: Sequence[str]) -> str:
    falling = way.node("Exp", way.node("Neg", way.node("Mul", copy.input[0], copy.input[0])))
    return way.node("Mul", arriving[0], way.node("Mul", way.number(2 / np.pi**0.5), falling))


def _gelu(way: WayBack, node: Any, copy: Any, _place: int, arriving: Sequence[str]) -> str:
    if attribute(node, "approximate", b"none") != b"none":
        raise DifferentiationError("a Gelu by tanh")
    x = copy.input[0]
    below = way.node("Mul", way.number(0.5), way.node("Erf", way.node("Mul", x, way.number(0.5**0.5))))
    share = way.node("Add", way.number(0.5), below)
    bell = way.node("Exp", way.node("Mul", way.number(-0.5), way.node("Mul", x, x)))
    along = way.node("Mul", x, way.node("Mul", way.number((2 * np.pi) ** -0.5), bell))
    return way.node("Mul", arriving[0], way.node("Add", share, along))


def _abs(way: WayBack, _node: Any, copy: Any, _place: int, arriving: Sequence[str]) -> str:
    return way.node("Mul", arriving[0], way.node("Sign", copy.input[0]))


# --- two numbers at a time -------------------------------------------------------------------------------------------
def _add(way: WayBack, node: Any, _copy: Any, place: int, arriving: Sequence[str]) -> str:
    return _unspread(way, arriving[0], node, place)


def _sub(way: WayBack, node: Any, _copy: Any, place: int, arriving: Sequence[str]) -> str:
    return _unspread(way, way.node("Neg", arriving[0]) if place else arriving[0], node, place)


def _mul(way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    return _unspread(way, way.node("Mul", arriving[0], copy.input[1 - place]), node, place)


def _div(way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    share = way.node("Div", arriving[0], copy.input[1])
    if place:
        share = way.node("Neg", way.node("Mul", share, copy.output[0]))
    return _unspread(way, share, node, place)


def _pow(way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    exponent = way.constant(node.input[1])
    if place or exponent is None or exponent.size != 1:
        raise DifferentiationError("the exponent of a Pow is computed, or there are several")
    power = float(exponent.reshape(()))
    if power == 1.0:
        return arriving[0]
    lower = copy.input[0] if power == 2.0 else way.node("Pow", copy.input[0], way.number(power - 1.0))
    return way.node("Mul", arriving[0], way.node("Mul", way.number(power), lower))


def _unspread(way: WayBack, arriving: str, node: Any, place: int) -> str:
    """Summed over the axes along which this input was repeated to the output's shape."""
    own, whole = way.shape(node.input[place]), way.shape(node.output[0])
    missing = len(whole) - len(own)
    repeated = [axis for axis, size in enumerate(own) if size != whole[axis + missing]]
    if repeated:
        axes = way.integers(*(axis + missing for axis in repeated))
        arriving = way.node("ReduceSum", arriving, axes, keepdims=1)
    if missing:
        arriving = way.node("ReduceSum", arriving, way.integers(*range(missing)), keepdims=0)
    return arriving


def _expand(way: WayBack, node: Any, _copy: Any, place: int, arriving: Sequence[str]) -> str:
    if place:
        raise DifferentiationError("a shape is computed from the input's values")
    return _unspread(way, arriving[0], node, 0)


# --- other orders of the same numbers --------------------------------------------------------------------------------
def _reshaped(way: WayBack, node: Any, _copy: Any, place: int, arriving: Sequence[str]) -> str:
    if place:
        raise DifferentiationError("a shape is computed from the input's values")
    return way.node("Reshape", arriving[0], way.integers(*way.shape(node.input[0])))


def _transpose(way: WayBack, node: Any, _copy: Any, _place: int, arriving: Sequence[str]) -> str:
    axes = len(way.shape(node.input[0]))
    order = attribute(node, "perm") or list(reversed(range(axes)))
    return way.node("Transpose", arriving[0], perm=[int(axis) for axis in np.argsort(order)])


def _concat(way: WayBack, node: Any, _copy: Any, place: int, arriving: Sequence[str]) -> str:
    axis = attribute(node, "axis") % len(way.shape(node.output[0]))
    begin = sum(way.shape(name)[axis] for name in node.input[:place])
    end = begin + way.shape(node.input[place])[axis]
    return way.node("Slice", arriving[0], way.integers(begin), way.integers(end), way.integers(axis))


def _slice(way: WayBack, node: Any, _copy: Any, place: int, arriving: Sequence[str]) -> str:
    values = [way.constant(name) if name else None for name in node.input[1:]]
    if place or any(name and value is None for name, value in zip(node.input[1:], values, strict=True)):
        raise DifferentiationError("places of a Slice are computed")
    begins, ends = values[0], values[1]
    assert begins is not None and ends is not None, "a Slice has places"  # noqa: PT018
    whole = way.shape(node.input[0])
    axes = values[2] if len(values) > 2 and values[2] is not None else np.arange(len(begins))
    steps = values[3] if len(values) > 3 and values[3] is not None else np.ones(len(begins), np.int64)
    kept = [slice(None)] * len(whole)
    for begin, end, axis, step in zip(begins, ends, axes, steps, strict=True):
        stop = None if step < 0 and end < -whole[axis] else int(end)
        kept[axis] = slice(int(begin), stop, int(step))
    size = int(np.prod(whole))
    places = np.arange(size).reshape(whole)[tuple(kept)].reshape(-1)
    arrived = way.node("Reshape", arriving[0], way.integers(-1))
    spread = way.node("ScatterElements", _zeros(way, (size,)), way.kept(places.astype(np.int64)), arrived, axis=0)
    return way.node("Reshape", spread, way.integers(*whole))


def _gather(way: WayBack, node: Any, _copy: Any, place: int, arriving: Sequence[str]) -> str:
    places, whole = way.constant(node.input[1]), way.shape(node.input[0])
    if place or places is None or way.opset < 16:
        raise DifferentiationError("the places of a Gather are computed, or it is before opset 16")
    axis = int(attribute(node, "axis", 0)) % len(whole)
    flat = places.reshape(-1) % whole[axis]
    shape = (*whole[:axis], len(flat), *whole[axis + 1 :])
    spread = flat.reshape([-1 if dimension == axis else 1 for dimension in range(len(whole))])
    values = way.node("Reshape", arriving[0], way.integers(*shape))
    where = way.kept(np.broadcast_to(spread, shape).astype(np.int64))
    return way.node("ScatterElements", _zeros(way, whole), where, values, axis=axis, reduction="add")


def _gather_nd(way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    if place or attribute(node, "batch_dims", 0) or way.opset < 16:
        raise DifferentiationError("a GatherND whose places are computed, of batches, or before opset 16")
    empty = _zeros(way, way.shape(node.input[0]))
    return way.node("ScatterND", empty, copy.input[1], arriving[0], reduction="add")


def _zeros(way: WayBack, shape: Sequence[int]) -> str:
    return way.node("ConstantOfShape", way.integers(*shape))


def _split(way: WayBack, node: Any, _copy: Any, place: int, arriving: Sequence[str]) -> str:
    if place:
        raise DifferentiationError("the sizes of a Split are computed")
    parts = [
        part or _zeros(way, way.shape(output)) for part, output in zip(arriving, node.output, strict=True) if output
    ]
    return way.node("Concat", *parts, axis=attribute(node, "axis", 0))


def _depth_to_space(way: WayBack, node: Any, _copy: Any, _place: int, arriving: Sequence[str]) -> str:
    block = int(attribute(node, "blocksize"))
    _, depth, *sizes = way.shape(node.input[0])
    if len(sizes) != 2:
        raise DifferentiationError("DepthToSpace of other than pictures")
    channels, (height, width) = depth // block**2, sizes
    apart = way.node("Reshape", arriving[0], way.integers(1, channels, height, block, width, block))
    column_row = attribute(node, "mode", b"DCR") == b"CRD"
    order = [0, 1, 3, 5, 2, 4] if column_row else [0, 3, 5, 1, 2, 4]
    return way.node("Reshape", way.node("Transpose", apart, perm=order), way.integers(1, depth, height, width))


# --- sums ------------------------------------------------------------------------------------------------------------
def _reduce_sum(way: WayBack, node: Any, _copy: Any, place: int, arriving: Sequence[str]) -> str:
    if place:
        raise DifferentiationError("axes of a sum are computed")
    whole = way.shape(node.input[0])
    return way.node("Expand", _with_axes(way, node, arriving[0], _axes(way, node, len(whole))), _shape_of(way, node))


def _reduce_mean(way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    whole = way.shape(node.input[0])
    count = int(np.prod([whole[axis] for axis in _axes(way, node, len(whole))]))
    share = way.node("Mul", arriving[0], way.number(1.0 / count))
    return _reduce_sum(way, node, copy, place, [share])


def _global_average_pool(way: WayBack, node: Any, _copy: Any, _place: int, arriving: Sequence[str]) -> str:
    count = int(np.prod(way.shape(node.input[0])[2:]))
    return way.node("Expand", way.node("Mul", arriving[0], way.number(1.0 / count)), _shape_of(way, node))


def _reduce_max(way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    """To the largest; where several are, to each its share."""
    if place:
        raise DifferentiationError("axes of a ReduceMax are computed")
    axes = _axes(way, node, len(way.shape(node.input[0])))
    largest = way.node("Equal", copy.input[0], _with_axes(way, node, copy.output[0], axes))
    here = way.node("Cast", largest, to=1)
    share = way.node("Div", here, way.node("ReduceSum", here, way.integers(*axes), keepdims=1))
    return way.node("Mul", _with_axes(way, node, arriving[0], axes), share)


def _shape_of(way: WayBack, node: Any) -> str:
    return way.integers(*way.shape(node.input[0]))


def _axes(way: WayBack, node: Any, count: int) -> list[int]:
    given = attribute(node, "axes")
    if given is None and len(node.input) > 1 and node.input[1]:
        value = way.constant(node.input[1])
        if value is None:
            raise DifferentiationError("axes of a sum are computed")
        given = value.ravel().tolist()
    axes = sorted(int(axis) % count for axis in given) if given is not None and len(given) else list(range(count))
    if not given and attribute(node, "noop_with_empty_axes", 0):
        raise DifferentiationError("a sum over no axis")
    return axes


def _with_axes(way: WayBack, node: Any, tensor: str, axes: Sequence[int]) -> str:
    """With the summed axes, of size one, where the sum has left them out."""
    if attribute(node, "keepdims", 1):
        return tensor
    return way.node("Unsqueeze", tensor, way.integers(*axes))


def _softmax(way: WayBack, node: Any, copy: Any, _place: int, arriving: Sequence[str]) -> str:
    y, axis = copy.output[0], int(attribute(node, "axis", -1))
    mean = way.node("ReduceSum", way.node("Mul", arriving[0], y), way.integers(axis), keepdims=1)
    return way.node("Mul", y, way.node("Sub", arriving[0], mean))


RULES: Mapping[str, Rule] = {
    "Abs": _abs,
    "Add": _add,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Div": _div,
    "Erf": _erf,
    "Exp": _exp,
    "Expand": _expand,
    "Flatten": _reshaped,
    "Gelu": _gelu,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "GlobalAveragePool": _global_average_pool,
    "Identity": _same,
    "LeakyRelu": _leaky_relu,
    "Log": _log,
    "Mul": _mul,
    "Neg": _neg,
    "Pow": _pow,
    "ReduceMax": _reduce_max,
    "ReduceMean": _reduce_mean,
    "ReduceSum": _reduce_sum,
    "Relu": _relu,
    "Reshape": _reshaped,
    "Sigmoid": _sigmoid,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Sqrt": _sqrt,
    "Squeeze": _reshaped,
    "Sub": _sub,
    "Tanh": _tanh,
    "Transpose": _transpose,
    "Unsqueeze": _reshaped,
}
