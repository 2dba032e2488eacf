"""Where the axes of an image lie in each tensor of a graph, added up from what its operators say.

Turning, mirroring, cropping and padding are operators with known sizes (Transpose, Slice, Gather, Pad, Resize): what
they do to places is exact arithmetic, and pairs that cancel each other cancel. Where an operator does something that is
not known here, the tensors behind it have no places, and whoever asks has to measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from whyray.inference.graph import Graph
from whyray.inference.resized_axis import resized_axis
from whyray.packages import InputSpec, reads

_BY_ELEMENT = frozenset(
    [
        *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "Sigmoid", "HardSigmoid", "HardSwish", "Mish"),
        *("Tanh", "Softplus", "Softsign", "ThresholdedRelu", "Clip", "Add", "Sub", "Mul", "Div", "Identity", "Dropout"),
        *("Cast", "Sqrt", "Erf", "Pow", "Max", "Min", "Sum", "Mean", "Where", "Swish", "Exp", "Log", "Abs", "Neg"),
        *("Reciprocal", "Expand", "DequantizeLinear", "QuantizeLinear", "BatchNormalization", "InstanceNormalization"),
        *("GroupNormalization", "LRN", "LpNormalization", "LayerNormalization", "Softmax", "LogSoftmax", "Greater"),
        *("Less", "GreaterOrEqual", "LessOrEqual", "Equal", "Not", "And", "Or", "Sign", "Floor", "Ceil", "Round"),
    ]
)
WINDOWS = frozenset(["Conv", "MaxPool", "AveragePool", "LpPool", "QLinearConv", "ConvInteger"])
"""Operators that slide a window over the image: each cell of what they give looks at some of it."""
_SYMMETRIC = 1e-6
_ALIKE = 0.01
"""Share of an axis by which what two ways to a tensor did to it may differ (pixels of odd sizes), and count as one."""


@dataclass(frozen=True)
class Place:
    """Where one axis of the image lies in a tensor.

    `axis` of the tensor; its first edge lies at `first`, in pixels of the image, and each cell is `step` long (below 0:
    mirrored). `ways`: how far before and behind that the ways through the graph lay it that meet here. `moved`: pixels
    by which the first and the last edge were moved inwards by operators that cut and fill; windows (convolutions,
    pooling) count only where they take back a padding.
    """

    axis: int
    first: float
    step: float
    moved: tuple[float, float] = (0.0, 0.0)
    ways: tuple[float, float] = (0.0, 0.0)

    @property
    def apart(self) -> float:
        """Pixels by which ways lay it apart; those that lie alike to both sides of it have their middle in it."""
        return abs(self.ways[0] + self.ways[1])


Places = tuple[Place | None, ...]
"""For each axis of the image where it lies; None where the tensor says nothing of places on it (a mean over it)."""


class _UnknownError(Exception):
    """An operator whose effect on places is not known here."""


@dataclass(frozen=True)
class PlacedMap:
    """Where the image's axes lie in a tensor, and the tensor's shape for a batch of one."""

    places: Places
    shape: tuple[int, ...]


def places_in(graph: Graph, spec: InputSpec, name: str) -> PlacedMap | None:
    """Where the image lies in the tensor `name`; None where the operators on the way do not tell."""
    places = _added_up(graph, spec, name)
    if places is None or not any(places):
        return None
    try:
        return PlacedMap(places, _shape(graph, name))
    except _UnknownError:
        return None


def _added_up(graph: Graph, spec: InputSpec, name: str) -> Places | None:
    axes = len(spec.shape)
    known: dict[str, Places | None] = {graph.input: tuple(Place(2 + axis, 0.0, 1.0) for axis in range(axes))}
    for node in graph.proto.graph.node:
        operands = [tensor for tensor in reads(node) if tensor in known]
        if not operands or node.op_type in {"Shape", "Size"}:
            continue
        places: Places | None = None
        try:
            if all(known[tensor] is not None for tensor in operands):
                places = _after(graph, node, {tensor: known[tensor] or () for tensor in operands}, spec)
        except (_UnknownError, KeyError, IndexError, TypeError, ValueError):
            places = None  # shapes that inference could not tell, or an attribute of another form
        for output in node.output:
            if output:
                known[output] = places
        if name in node.output:
            break
    return known.get(name)


def _after(graph: Graph, node: Any, operands: dict[str, Places], spec: InputSpec) -> Places:
    kind, out = node.op_type, _shape(graph, node.output[0])
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if kind in _BY_ELEMENT or kind == "Concat":
        return _merged(graph, node, attributes, operands, out, spec)
    first = node.input[0]
    if set(operands) != {first}:
        raise _UnknownError(kind)
    places, before = operands[first], _shape(graph, first)
    if kind == "Transpose":
        order = list(attributes["perm"].ints) if "perm" in attributes else list(range(len(before)))[::-1]
        return _each(places, lambda place: replace(place, axis=order.index(place.axis)), out)
    if kind in WINDOWS:
        return _each(places, lambda place: _windowed(graph, node, attributes, place, before, out), out)
    if kind == "ConvTranspose":
        return _each(places, lambda place: _widened(graph, node, attributes, place), out)
    if kind in {"Resize", "Upsample"}:
        return _each(places, lambda place: _resized(place, resized_axis(graph, node, before, out, place.axis)), out)
    if kind in {"DepthToSpace", "SpaceToDepth"}:
        return _each(places, lambda p: replace(p, step=p.step * before[p.axis] / out[p.axis]), out)
    if kind == "Slice":
        return _each(places, lambda place: _taken(place, _sliced(graph, node, attributes, place, before), before), out)
    if kind in {"Gather", "GatherND"}:
        return _gathered(graph, node, attributes, places, before, out)
    if kind == "Pad":
        pads = _numbers(graph, node, attributes, 1, "pads")
        if pads is None:
            raise _UnknownError(kind)
        listed = _numbers(graph, node, attributes, 3, "axes")
        where = [axis % len(before) for axis in (listed or range(len(before)))]
        by = {axis: (pads[at], pads[at + len(where)]) for at, axis in enumerate(where)}
        return _each(places, lambda place: _shifted(place, *by.get(place.axis, (0, 0))), out)
    if kind in {"GlobalAveragePool", "GlobalMaxPool"}:
        return _each(places, lambda place: place, out)
    if kind in {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}:
        return _each(places, lambda place: replace(place, axis=_same_axis(before, out, place.axis)), out, before)
    if kind.startswith("Reduce"):
        return _reduced(graph, node, attributes, places, before)
    if kind == "MatMul" and len(_shape(graph, node.input[1])) == 2:
        if any(place is not None and place.axis == len(before) - 1 for place in places):
            raise _UnknownError(kind)
        return places
    if kind == "Split":
        axis = (attributes["axis"].i if "axis" in attributes else 0) % len(before)
        if any(place is not None and place.axis == axis for place in places):
            raise _UnknownError(kind)
        return places
    raise _UnknownError(kind)


def _each(
    places: Places, change: Callable[[Place], Place], out: Sequence[int], before: Sequence[int] | None = None
) -> Places:
    """Each place changed; an axis of one cell says nothing of places."""
    changed: list[Place | None] = []
    for place in places:
        if place is None or (before is not None and before[place.axis] == 1):
            changed.append(None)
            continue
        after = change(place)
        changed.append(after if out[after.axis] > 1 else None)
    return tuple(changed)


def _merged(
    graph: Graph,
    node: Any,
    attributes: dict[str, Any],
    operands: dict[str, Places],
    out: Sequence[int],
    spec: InputSpec,
) -> Places:
    """Of operands that meet cell by cell, aligned at their last axes; a way that says nothing of places is passed."""
    merged: list[Place | None] = [None] * len(spec.shape)
    for tensor, places in operands.items():
        shift = len(out) - len(_shape(graph, tensor))
        for axis, place in enumerate(places):
            if place is None:
                continue
            here = replace(place, axis=place.axis + shift)
            merged[axis] = _joined(merged[axis], here, spec.shape[axis])
    if node.op_type == "Concat":
        along = attributes["axis"].i % len(out)
        if any(place is not None and place.axis == along for place in merged):
            raise _UnknownError("Concat")
    return tuple(merged)


def _joined(one: Place | None, other: Place, length: int) -> Place:
    if one is None:
        return other
    moved_apart = max(abs(a - b) for a, b in zip(one.moved, other.moved, strict=True))
    if one.axis != other.axis or (one.step < 0) != (other.step < 0) or moved_apart > _ALIKE * length:
        raise _UnknownError("two ways that differ")
    low = min(one.first + one.ways[0], other.first + other.ways[0])
    high = max(one.first + one.ways[1], other.first + other.ways[1])
    straight = min(one, other, key=lambda place: abs(place.first))
    # every second pixel, and those between: both look at all, from the edge on
    first = 0.0 if abs(low + high) < _SYMMETRIC else straight.first
    return replace(straight, first=first, ways=(low - first, high - first))


def _windowed(
    graph: Graph,
    node: Any,
    attributes: dict[str, Any],
    place: Place,
    before: Sequence[int],
    out: Sequence[int],
) -> Place:
    axis, axes = place.axis - 2, len(before) - 2
    if axis < 0:
        raise _UnknownError("a convolution over channels")
    kernel, stride, dilation = _window(graph, node, attributes, axis, axes)
    pads = list(attributes["pads"].ints) if "pads" in attributes else [0] * (2 * axes)
    reach = dilation * (kernel - 1) + 1
    padded = float(pads[axis])
    if "auto_pad" in attributes and attributes["auto_pad"].s.startswith(b"SAME"):
        whole = max(0, (out[place.axis] - 1) * stride + reach - before[place.axis])
        padded = whole // 2 if attributes["auto_pad"].s == b"SAME_UPPER" else whole - whole // 2
    first = (reach - stride) / 2 - padded
    last = before[place.axis] - first - out[place.axis] * stride
    return replace(
        place,
        first=place.first + first * place.step,
        step=place.step * stride,
        # what was padded by an operator of its own, a window without padding takes back
        moved=(
            _taken_back(place.moved[0], first * abs(place.step)),
            _taken_back(place.moved[1], last * abs(place.step)),
        ),
    )


def _taken_back(moved: float, by: float) -> float:
    """What is left of a padding after a window that moves the edge inwards by `by`."""
    return min(0.0, moved + max(0.0, by)) if moved < 0 else moved


def _window(graph: Graph, node: Any, attributes: dict[str, Any], axis: int, axes: int) -> tuple[int, int, int]:
    """(kernel, stride, dilation) along an axis."""
    if "kernel_shape" in attributes:
        kernel = attributes["kernel_shape"].ints[axis]
    else:
        kernel = _shape(graph, node.input[3 if node.op_type == "QLinearConv" else 1])[axis + 2]
    strides, dilations = (
        list(attributes[key].ints) if key in attributes else [1] * axes for key in ("strides", "dilations")
    )
    return int(kernel), int(strides[axis]), int(dilations[axis])


def _widened(graph: Graph, node: Any, attributes: dict[str, Any], place: Place) -> Place:
    axes = len(_shape(graph, node.input[0])) - 2
    axis = place.axis - 2
    kernel, stride, dilation = _window(graph, node, attributes, axis, axes)
    if "auto_pad" in attributes and attributes["auto_pad"].s not in {b"NOTSET", b""}:
        return replace(place, step=place.step / stride)
    padded = attributes["pads"].ints[axis] if "pads" in attributes else 0
    first = (padded - dilation * (kernel - 1) / 2 - 0.5) / stride + 0.5
    return replace(place, first=place.first + first * place.step, step=place.step / stride)


def _resized(place: Place, cells: tuple[float, float]) -> Place:
    first, ratio = cells
    return replace(place, first=place.first + first * place.step, step=place.step * ratio)


def _shifted(place: Place, before: float, after: float) -> Place:
    length = abs(place.step)
    moved = (place.moved[0] - before * length, place.moved[1] - after * length)
    return replace(place, first=place.first - before * place.step, moved=moved)


def _taken(place: Place, cells: range, before: Sequence[int]) -> Place:
    """Of an axis the cells of a range, in its order."""
    if len(cells) < 2 or cells == range(before[place.axis]):
        return place
    length, back = abs(place.step), cells.step < 0
    cut = (min(cells) * length, (before[place.axis] - 1 - max(cells)) * length)
    if abs(cells.step) > 1:
        cut = tuple(max(0.0, edge - (abs(cells.step) - 1) * length) for edge in cut)  # type: ignore[assignment]
    moved = (place.moved[0] + cut[0], place.moved[1] + cut[1])
    return replace(
        place,
        first=place.first + (cells.start + 0.5 - cells.step / 2) * place.step,
        step=place.step * cells.step,
        moved=moved[::-1] if back else moved,
    )


def _sliced(graph: Graph, node: Any, attributes: dict[str, Any], place: Place, before: Sequence[int]) -> range:
    starts, ends = (_numbers(graph, node, attributes, at, key) for at, key in ((1, "starts"), (2, "ends")))
    if starts is None or ends is None:
        raise _UnknownError("Slice")
    axes = _numbers(graph, node, attributes, 3, "axes") or list(range(len(starts)))
    steps = _numbers(graph, node, attributes, 4, "steps") or [1] * len(starts)
    cells = range(before[place.axis])
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if axis % len(before) == place.axis:
            below = end < -len(cells)
            cells = cells[slice(start, None if step < 0 and below else end, step)]
    return cells


def _gathered(
    graph: Graph, node: Any, attributes: dict[str, Any], places: Places, before: Sequence[int], out: Sequence[int]
) -> Places:
    axis = (attributes["axis"].i if "axis" in attributes else 0) % len(before)
    indices = graph.number(node.input[1])
    if node.op_type == "GatherND" and indices is not None:  # of whole slices along the first axis it is a Gather
        if indices.shape[-1] != 1 or ("batch_dims" in attributes and attributes["batch_dims"].i):
            raise _UnknownError("GatherND")
        axis, indices = 0, indices[..., 0]
    on = next((place for place in places if place is not None and place.axis == axis), None)
    if indices is None or (on is not None and indices.ndim != 1):
        raise _UnknownError("Gather")
    if on is None:
        wider = indices.ndim - 1
        return _each(places, lambda p: replace(p, axis=p.axis + (wider if p.axis > axis else 0)), out)
    wanted = [int(index) % before[axis] for index in indices]
    steps = set(np.diff(wanted).tolist())
    if len(steps) != 1 or 0 in steps:
        raise _UnknownError("Gather")
    step = steps.pop()
    cells = range(wanted[0], wanted[-1] + (1 if step > 0 else -1), step)
    return _each(places, lambda place: _taken(place, cells, before) if place is on else place, out)


def _reduced(graph: Graph, node: Any, attributes: dict[str, Any], places: Places, before: Sequence[int]) -> Places:
    listed = _numbers(graph, node, attributes, 1, "axes")
    if listed is None and len(node.input) > 1 and node.input[1]:
        raise _UnknownError("Reduce")
    axes = {axis % len(before) for axis in (listed or range(len(before)))}
    keep = attributes["keepdims"].i if "keepdims" in attributes else 1
    kept: list[Place | None] = []
    for place in places:
        if place is None or place.axis in axes:
            kept.append(None)
        else:
            kept.append(place if keep else replace(place, axis=place.axis - sum(axis < place.axis for axis in axes)))
    return tuple(kept)


def _same_axis(before: Sequence[int], out: Sequence[int], axis: int) -> int:
    """The axis of the new shape that is one of the old: of the same length, after as many values."""
    for candidate, size in enumerate(out):
        if size == before[axis] and prod(out[:candidate]) == prod(before[:axis]):
            return candidate
    raise _UnknownError("Reshape")


def _shape(graph: Graph, name: str) -> tuple[int, ...]:
    if name in graph.shapes:
        shape = graph.shapes[name]
    else:
        constant = graph.number(name)
        shape = None if constant is None else constant.shape  # type: ignore[assignment]
    if shape is None or None in shape:
        raise _UnknownError(f"the shape of {name}")
    return tuple(int(size or 0) for size in shape)


def _numbers(graph: Graph, node: Any, attributes: dict[str, Any], at: int, key: str) -> list[int] | None:
    """Integers from an input, or in older opsets from an attribute; None where there are none or they are computed."""
    if key in attributes:
        return [int(number) for number in attributes[key].ints]
    if len(node.input) <= at or not node.input[at]:
        return None
    constant = graph.number(node.input[at])
    if constant is None:
        raise _UnknownError(f"{node.op_type} by computed numbers")
    return [int(number) for number in np.ravel(constant)]


def mirrors(graph: Graph) -> Iterator[Any]:
    """Slices and gathers that may take an axis backwards: those with a negative step, or indices that fall."""
    for node in graph.proto.graph.node:
        if node.op_type == "Slice" and len(node.input) > 4 and node.input[4]:
            steps = graph.constant(node.input[4])
            if steps is None or (np.ravel(steps) < 0).any():
                yield node
        elif node.op_type == "Gather":
            indices = graph.constant(node.input[1])
            if indices is not None and indices.ndim == 1 and len(indices) > 1 and (np.diff(indices) < 0).all():
                yield node
