"""Whether a map's grid lies over the image as it is drawn there: its first cell over the first corner, edge to edge.

A graph may turn, mirror, crop or pad the image before it looks at it, as one does that brings WhyRay's axes into those
its authors trained with. Its feature maps then lie over what it made of the image, and a class activation map drawn
over the image itself would point elsewhere. Where the operators tell what they do to places, that is added up
(`graph_place`); where they don't, bands of made pictures are changed, and where the map changes tells (`place_fit`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.failures import is_want_of_memory
from whyray.inference.cache import CompiledCache
from whyray.inference.feature_layout import map_layout
from whyray.inference.graph import Graph
from whyray.inference.graph_place import WINDOWS, Place, PlacedMap, mirrors, places_in
from whyray.inference.package_cache import installed_version
from whyray.inference.place_fit import Response, why_elsewhere
from whyray.inference.session import RuntimeOptions, open_session, run_session, runtime_errors
from whyray.packages import InputSpec, reads

_PLACES = (0.25, 0.5, 0.75)
"""Where the bands lie, as shares of an axis; nearer to the edges receptive fields are cut off."""
_WIDTH = 1 / 8
_PICTURES = 2
_JUDGE = 2
"""Raised with every change of how measurements are judged: verdicts of another number are not believed."""
_MOVED, _MOVED_SEGMENTS = 0.05, 0.02
"""Share of an axis by which a graph may cut or fill an edge: of maps of features, and of segments."""
_CELLS, _SHARE = 1.0, 0.06
"""How far windows may leave an edge of a map off the image's, the larger of the two: in cells of its grid (strides and
convolutions without padding move it by parts of a cell) and as a share of the axis."""
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


def why_misplaced(
    graph: Graph, name: str, spec: InputSpec, options: RuntimeOptions, *, roughly: bool = False
) -> str | None:
    """Why the tensor `name`, a map, can't be drawn over the image as it is; None where it can.

    Nothing is run where the operators on the way tell; else the graph is, on made pictures: 14 times, or 20 for a
    volume. What was measured is kept in the cache of `options` by the digest of the graph. `roughly`: of maps that show
    some parts of the body alone, which no made picture has: no answer at all is none to judge by.

    Memory that runs out is no verdict, and goes through as what ONNX Runtime raises.
    """
    if (placed := places_in(graph, spec, name)) is not None:
        return _why_by_graph(placed, spec, segments=roughly)
    if not any(_may_move(graph, node) for node in _ways(graph, name)):
        return None
    proto = graph.with_outputs([name])
    made_of = {
        "graph": hashlib.sha256(proto).hexdigest(),
        "tensor": name,
        "input": spec.model_dump_json(),
        "roughly": str(roughly),
        "judge": str(_JUDGE),
        "onnxruntime": installed_version("onnxruntime"),
    }

    def measured() -> bytes:
        session = open_session(proto, options, name=graph.where)
        responses = _responses(graph, name, spec, session)
        return (_judged(graph, responses, roughly=roughly) or "").encode()

    try:
        return CompiledCache(options.cache).fetch("place", made_of, measured).decode() or None
    except runtime_errors() as error:
        if is_want_of_memory(error):
            raise
        return None  # a graph that doesn't run says so where it is to answer


def _why_by_graph(placed: PlacedMap, spec: InputSpec, *, segments: bool) -> str | None:
    known = [(number, place) for number, place in enumerate(placed.places) if place is not None]
    if [place.axis for _, place in known] != sorted(place.axis for _, place in known):
        return "the axes of the image are exchanged in them"
    for number, place in known:
        why = _why_by_place(place, placed.shape[place.axis], spec.shape[number], segments=segments)
        if why is not None:
            return f"axis {number + 1} of the image {why}"
    return None


def _why_by_place(place: Place, cells: int, length: int, *, segments: bool) -> str | None:
    if place.step < 0:
        return "is mirrored in them"
    last = place.first + cells * place.step
    off, moved = max(abs(place.first), abs(last - length)), max(map(abs, place.moved))
    most = (_MOVED_SEGMENTS if segments else _MOVED) * length
    cut = moved > most and off > most
    if cut or (not segments and off > max(_CELLS * place.step, _SHARE * length)):
        return f"is {length} long, and they lie over what is from {place.first:g} to {last:g} on it"
    return None


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
    if node.op_type in WINDOWS:
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


def _responses(graph: Graph, name: str, spec: InputSpec, session: Any) -> list[Response]:
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
        if values.ndim == len(spec.shape):
            return values[None]
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


def _judged(graph: Graph, responses: list[Response], *, roughly: bool) -> str | None:
    if not any(change.any() for _, _, change in responses):
        if roughly and not any(mirrors(graph)):
            return None
        return "they answer to nothing that made pictures show, so that their places in the image can't be told"
    return why_elsewhere(responses, roughly=roughly)
