"""Whether a map's grid lies over the image as it is drawn there: its first cell over the first corner, edge to edge.

A graph may turn, mirror, crop or pad the image before it looks at it, as one does that brings WhyRay's axes into those
its authors trained with. Its feature maps then lie over what it made of the image, and a class activation map drawn
over the image itself would point elsewhere. What the graph says (its operators, their sizes) shows where this can't be;
where it can, bands of made pictures are changed, and the map has to change where they lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.inference.feature_layout import map_layout
from whyray.inference.graph import Graph
from whyray.inference.session import RuntimeOptions, open_session, run_session, runtime_errors
from whyray.packages import InputSpec, reads

_PLACES = (0.25, 0.5, 0.75)
"""Where the bands lie, as shares of an axis; nearer to the edges receptive fields are cut off."""
_WIDTH = 1 / 8
_PICTURES = 2
_CELLS, _SHARE = 0.75, 0.06
"""How far a map may answer from where its band lies, the larger of the two: in cells of its grid (strides and
convolutions without padding move a map by parts of a cell) and as a share of the axis."""
_ROUGHLY = 0.2
_SIZES = 0.3
"""Cells by which one sliding window may move a map before this is measured; that of stride 2 moves it by a quarter."""
_KEEP_PLACES = frozenset(
    [
        *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "Sigmoid", "HardSigmoid", "HardSwish", "Mish"),
        *("Tanh", "Softplus", "Clip", "Add", "Sub", "Mul", "Div", "Identity", "Dropout", "Cast", "Sqrt", "Erf", "Pow"),
        *("Max", "Min", "Sum", "Where", "Swish", "Exp", "Log", "Abs", "Neg", "Reciprocal", "Expand", "Upsample"),
        *("DequantizeLinear", "QuantizeLinear", "BatchNormalization", "InstanceNormalization", "GroupNormalization"),
        *("LRN", "LpNormalization", "LayerNormalization", "GlobalAveragePool", "GlobalMaxPool"),
        *("ConvTranspose", "DepthToSpace", "SpaceToDepth"),
    ]
)
"""Operators that leave what they give where it was, edge to edge."""
_WINDOWS = frozenset(["Conv", "MaxPool", "AveragePool", "LpPool", "QLinearConv", "ConvInteger"])


def why_misplaced(
    graph: Graph, name: str, spec: InputSpec, options: RuntimeOptions, *, roughly: bool = False
) -> str | None:
    """Why the tensor `name`, a map, can't be drawn over the image as it is; None where it can.

    Nothing is run where every operator on the way keeps places; else the graph is, on made pictures: 14, or 20 for a
    volume. `roughly`: of maps that show some parts of the body alone, which no made picture has; those that are turned
    or mirrored are told from others, and no answer at all is none to judge by.
    """
    if not any(_may_move(graph, node) for node in _ways(graph, name)):
        return None
    session = open_session(graph.with_outputs([name]), options, name=graph.where)
    try:
        responses = _responses(graph, name, spec, session)
    except runtime_errors():
        return None  # a graph that doesn't run says so where it is to answer
    return _judged(responses, roughly=roughly)


def _ways(graph: Graph, name: str) -> Iterator[Any]:
    """The nodes by which values of the image get to a tensor; what only reads a size off it is none of them."""
    varying, nodes = {graph.input}, []
    for node in graph.proto.graph.node:
        if node.op_type not in {"Shape", "Size"} and varying.intersection(reads(node)):
            varying.update(output for output in node.output if output)
            nodes.append(node)
    wanted = {name}
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(reads(node))
            yield node


def _may_move(graph: Graph, node: Any) -> bool:
    if node.op_type in _WINDOWS:
        return _moves_as_window(graph, node)
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "Concat":
        return bool(attributes["axis"].i != 1)
    if node.op_type == "Resize":
        return "coordinate_transformation_mode" in attributes and (
            attributes["coordinate_transformation_mode"].s == b"tf_crop_and_resize"
        )
    if node.op_type.startswith("Reduce"):
        return not (attributes["keepdims"].i if "keepdims" in attributes else True)
    return node.op_type not in _KEEP_PLACES


def _moves_as_window(graph: Graph, node: Any) -> bool:
    """Whether a convolution or pooling leaves its cells off where they would lie edge to edge."""
    before, after = graph.shapes.get(node.input[0]), graph.shapes.get(node.output[0])
    if before is None or after is None or None in (*before[2:], *after[2:]):
        return True
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if "auto_pad" in attributes and attributes["auto_pad"].s.startswith(b"SAME"):
        return False
    axes = len(before) - 2
    kernel = _sizes(attributes, "kernel_shape", 0, axes)
    strides, dilations = _sizes(attributes, "strides", 1, axes), _sizes(attributes, "dilations", 1, axes)
    pads = _sizes(attributes, "pads", 0, 2 * axes)
    if 0 in kernel:
        return True
    for axis in range(axes):
        length, cells = before[axis + 2] or 0, after[axis + 2] or 1
        first = dilations[axis] * (kernel[axis] - 1) / 2 - pads[axis]
        cell = length / cells
        last = first + (cells - 1) * strides[axis]
        moved = max(abs(first - (cell - 1) / 2), abs(last - (length - (cell + 1) / 2)))
        if moved > _SIZES * cell:
            return True
    return False


def _sizes(attributes: dict[str, Any], name: str, usual: int, count: int) -> list[int]:
    return list(attributes[name].ints) if name in attributes else [usual] * count


def _responses(graph: Graph, name: str, spec: InputSpec, session: Any) -> list[tuple[int, float, NDArray[np.float64]]]:
    """(axis, middle of the band 0..1, how much each cell changed (*grid)), band by band."""
    half = session.get_inputs()[0].type == "tensor(float16)"
    mean, std = (
        np.asarray(values, np.float32).reshape(-1, *[1] * len(spec.shape))
        for values in (spec.intensity.mean, spec.intensity.std)
    )

    def maps(picture: FloatArray) -> NDArray[np.float64]:
        x = ((picture - mean) / std)[None].astype(np.float16 if half else np.float32)
        (values,) = run_session(session, [name], {graph.input: x})
        values = np.asarray(values[0], np.float64)
        if values.ndim != len(spec.shape) + 1:
            raise ValueError(f"{name!r} is no map: it has the shape {values.shape}")
        return np.moveaxis(values, -1, 0) if _channels_last(graph, name, spec, values.shape) else values

    bands = [(axis, _band(length, place)) for axis, length in enumerate(spec.shape) for place in _PLACES]
    changes: list[NDArray[np.float64]] = []
    for seed in range(_PICTURES):
        picture = _picture(spec, seed)
        before = maps(picture)
        for number, (axis, band) in enumerate(bands):
            changed = np.abs(maps(_inverted(picture, axis, band)) - before).sum(axis=0)
            if seed:
                changes[number] += changed
            else:
                changes.append(changed)
    return [
        (axis, (band.start + band.stop) / 2 / spec.shape[axis], change)
        for (axis, band), change in zip(bands, changes, strict=True)
    ]


def _channels_last(graph: Graph, name: str, spec: InputSpec, shape: tuple[int, ...]) -> bool:
    if None in graph.shapes.get(name, (None,)):
        return spec.layout == "NHWC" and shape[:-1] == spec.shape
    return map_layout(graph, name, spec) == "last"


def _picture(spec: InputSpec, seed: int) -> FloatArray:
    """Noise of fine and of coarse grain in 0..1, (C, *spatial): there is something for every layer to answer to."""
    generator = np.random.default_rng(seed)
    size = (spec.channels, *spec.shape)
    coarse = generator.random((spec.channels, *(max(2, length // 8) for length in spec.shape)))
    for axis, length in enumerate(spec.shape, start=1):
        coarse = coarse.take(np.arange(length) * coarse.shape[axis] // length, axis=axis)
    return np.asarray((coarse + generator.random(size)) / 2, np.float32)


def _band(length: int, place: float) -> slice:
    first = max(0, round(length * (place - _WIDTH / 2)))
    return slice(first, max(first + 1, round(length * (place + _WIDTH / 2))))


def _inverted(picture: FloatArray, axis: int, band: slice) -> FloatArray:
    """The picture with black and white exchanged in a band across an axis."""
    changed = picture.copy()
    across = (slice(None),) * (axis + 1) + (band,)
    changed[across] = 1 - changed[across]
    return changed


def _judged(responses: list[tuple[int, float, NDArray[np.float64]]], *, roughly: bool) -> str | None:
    if not any(change.any() for _, _, change in responses):
        return (
            None
            if roughly
            else "they answer to nothing that made pictures show, so that their places in the image can't be told"
        )
    for axis, place, change in responses:
        cells = change.shape[axis]
        profile = change.sum(axis=tuple(other for other in range(change.ndim) if other != axis))
        weights = np.maximum(profile - np.median(profile), 0) ** 2
        if cells == 1:
            continue
        if not weights.any():
            if roughly:
                continue
            return f"what is changed at {place:.0%} of axis {axis + 1} of the image is seen nowhere in them"
        found = float((weights * (np.arange(cells) + 0.5)).sum() / weights.sum() / cells)
        if abs(found - place) > max(_CELLS / cells, _ROUGHLY if roughly else _SHARE):
            return f"what is changed at {place:.0%} of axis {axis + 1} of the image is seen at {found:.0%} of theirs"
    return None
