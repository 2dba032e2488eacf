"""Which tensor the class activation maps are made of: the last one that is a map, or none, and why.

A map has a channel axis and as many axes of positions as the image. Tokens of a transformer have positions in one axis
and are no maps; what lies before layers of tokens (a patch embedding) says nothing of what these found, so it is never
chosen. A vector after pooling is no map either, whatever its rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from whyray.base.errors import PackageError
from whyray.inference.feature_layout import map_layout
from whyray.inference.feature_place import why_misplaced
from whyray.inference.graph import Graph
from whyray.inference.session import RuntimeOptions, open_session, run_session, runtime_errors
from whyray.packages import InputSpec, reads

WITHOUT_MAPS = "occlusion or rise, or with gradients integrated-gradients"
"""Methods that need no feature maps, in words for advice."""
_SIZES = (
    "the graph reads sizes off a tensor before them (as `view(x.size(0), -1)` does), so that what follows can't be run "
    "by itself: export it with flatten(1), or with sizes that are fixed"
)
_LEARNED = frozenset(
    [
        "MatMul",
        "Gemm",
        "Conv",
        "ConvTranspose",
        "Einsum",
        "LSTM",
        "GRU",
        "RNN",
        "Attention",
        "Scan",
        "Loop",
        "If",
        "MultiHeadAttention",
        "QLinearMatMul",
        "QLinearConv",
        "MatMulInteger",
        "ConvInteger",
        "FFT",
        "DFT",
    ]
)
"""Layers that change what a position means: with one of them behind a map, the map is not the last word on places."""
_CELL_BY_CELL = frozenset(
    [
        *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "Sigmoid", "HardSigmoid", "HardSwish", "Mish"),
        *("Tanh", "Softplus", "Softsign", "ThresholdedRelu", "Swish", "Clip", "BatchNormalization", "Add", "Sub"),
        *("Mul", "Div", "Identity", "Dropout", "Cast", "DequantizeLinear", "QuantizeLinear"),
    ]
)
"""Operators that change each cell by itself: the maps on both sides of them show the same at each place."""


@dataclass(frozen=True)
class Features:
    """The tensor of the class activation maps, or None; and why there is none, or what speaks against the one named."""

    name: str | None
    reason: str = ""


def chosen_features(graph: Graph, logits: str, spec: InputSpec, options: RuntimeOptions) -> Features:
    """The last map before `logits` through which they depend on the image, and through nothing else.

    Walks from the logits back along the graph. None where there is no such map, where layers of tokens come behind it,
    where what follows reads sizes off what comes before it, or where it lies otherwise than the image. Where sizes are
    read off the maps before an activation (`f.size(0)` of `relu(f)`) these are taken, since they are the same layer's.
    For a segmentation that ends in a 1 × 1 convolution this is that convolution's input.
    """
    last: str | None = None  # the last maps, where what follows them can't be run by itself
    for name in _backwards(graph, logits):
        shape = graph.shapes.get(name)
        if shape is None or len(shape) != len(spec.shape) + 2 or map_layout(graph, name, spec) is None:
            continue
        if not _behind(graph, name, logits):
            continue
        tokens = _tokens_behind(graph, name, logits, spec)
        if tokens is not None:
            return Features(None, _before_tokens(graph, name, tokens) if last is None else _sizes_read_off(last))
        nodes = graph.between(name, logits)
        if nodes is None:
            last = last or name
        elif nodes:
            misplaced = why_misplaced(graph, name, spec, options)
            if last is not None and not _cell_by_cell(graph, name, last):
                return Features(None, _sizes_read_off(last, None if misplaced else name))
            if misplaced is None:
                return Features(name)
            return Features(None, f"the last feature maps ({name!r}) {_otherwise(misplaced)}")
    if last is not None:
        return Features(None, _sizes_read_off(last))
    return Features(None, "no tensor before the answer has a grid of positions and channels that all ways pass")


def named_features(graph: Graph, name: str, logits: str, spec: InputSpec, options: RuntimeOptions) -> Features:
    """The tensor that model.yaml names under output.features.

    Raises PackageError where the graph has no such tensor, or where it is no map (N, channels, *grid), with a map that
    there is.
    """
    where = f"{graph.where}: output.features says {name!r}"
    if name not in graph.producer:
        raise PackageError(
            f"{where}, and the graph has no such tensor",
            advice="Name an inner tensor of the graph, or leave output.features out.",
        )
    shape = graph.shapes.get(name)
    if shape is None or None in shape[1:]:
        shape = graph.shapes[name] = _measured(graph, name, spec, options)
    if graph.input not in _ancestors(graph, name):
        raise PackageError(f"{where}, which does not depend on the image", advice=_advice(graph, logits, spec, options))
    axes = len(spec.shape)
    if len(shape) != axes + 2 or map_layout(graph, name, spec) is None:
        tokens = len(shape) > 2 and sum((size or 0) > 1 for size in shape[1:]) > 1
        kind = "tokens or another tensor" if tokens else "a vector"
        raise PackageError(
            f"{where}, {kind} of shape {_words(shape)}; expected a map of {axes} axes of positions and one of "
            f"channels, on a grid that fits the image ({' × '.join(map(str, spec.shape))})",
            advice=_advice(graph, logits, spec, options),
        )
    if (misplaced := why_misplaced(graph, name, spec, options)) is not None:
        raise PackageError(f"{where}, which {_otherwise(misplaced)}", advice=_advice(graph, logits, spec, options))
    behind = _tokens_behind(graph, name, logits, spec)
    return Features(name, "" if behind is None else _before_tokens(graph, name, behind))


def _before_tokens(graph: Graph, name: str, tokens: str) -> str:
    return (
        f"behind the last feature maps ({name!r}, {_words(graph.shapes[name])}) come layers of tokens ({tokens!r}, "
        f"{_words(graph.shapes.get(tokens))}), which are no maps"
    )


def _sizes_read_off(last: str, earlier: str | None = None) -> str:
    named = "" if earlier is None else f". An earlier map can be named: output.features: {earlier}"
    return f"behind the last feature maps ({last!r}) {_SIZES}{named}"


def _otherwise(misplaced: str) -> str:
    what = "which the graph turns, mirrors, crops or pads before it looks at it"
    return f"lie otherwise than the image, {what}: {misplaced}"


def _advice(graph: Graph, logits: str, spec: InputSpec, options: RuntimeOptions) -> str:
    chosen = chosen_features(graph, logits, spec, options)
    if chosen.name is not None:
        return f"Leave output.features out: {chosen.name!r} is then taken. Or name another map."
    return (
        "Leave output.features out: class activation maps are then refused for this package. "
        f"Explain it with {WITHOUT_MAPS}."
    )


def _backwards(graph: Graph, logits: str) -> Iterator[str]:
    """Tensors that the values of `logits` come from, the latest to be read first.

    What other outputs read, as the decoder behind a classifier does, and where sizes are read off, is no way to them.
    """
    passed, wanted = {graph.input, logits, *graph.constants}, {logits}
    for node in reversed(graph.proto.graph.node):
        if node.op_type in {"Shape", "Size"} or not wanted.intersection(node.output):
            continue
        for name in reads(node):
            wanted.add(name)
            if name in graph.producer and name not in passed:
                passed.add(name)
                yield str(name)


def _tokens_behind(graph: Graph, features: str, logits: str, spec: InputSpec) -> str | None:
    """A later tensor that has positions and is no map, with a learned layer between `features` and it; None without.

    Looked for up to where the positions are gone: a vector through which all ways go. Where shapes are not known,
    products of two computed tensors, as attention has them, count as layers of tokens.
    """
    nodes = _behind(graph, features, logits) or []
    varying = {features}
    learned = False
    for node in nodes:
        moving = [tensor for tensor in reads(node) if tensor in varying]
        if not moving or node.op_type == "Shape":
            continue
        varying.update(output for output in node.output if output)
        learned = learned or node.op_type in _LEARNED
        if "Attention" in node.op_type:
            return str(node.output[0])
        for name in node.output:
            shape = graph.shapes.get(name)
            if shape is None or None in shape[1:]:
                if node.op_type in {"MatMul", "Einsum"} and len(moving) > 1:
                    return str(name)
                continue
            if name == logits or _behind(graph, name, logits) is None:
                continue
            positions = len(shape) > 2 and sum((size or 0) > 1 for size in shape[1:]) > 1
            if not positions:
                return None
            if len(shape) == len(spec.shape) + 2 and map_layout(graph, str(name), spec) is not None:
                learned = False  # a later map: what it is flattened to are its own places
            elif learned:
                return str(name)
    return None


def _cell_by_cell(graph: Graph, start: str, end: str) -> bool:
    """Whether `end` comes of `start` alone, and each of its cells of the one at the same place."""
    nodes = _behind(graph, start, end)
    if nodes is None or graph.shapes[start] != graph.shapes[end]:
        return False
    computed = {start}
    for node in nodes:
        if computed.intersection(reads(node)):
            if node.op_type not in _CELL_BY_CELL:
                return False
            computed.update(output for output in node.output if output)
    return end in computed


def _behind(graph: Graph, start: str, end: str) -> list[Any] | None:
    """As `Graph.between`, for values alone: that a size is read off another tensor is no way for them."""
    wanted, nodes = {end}, []
    for node in reversed(graph.proto.graph.node):
        if start in node.output or not wanted.intersection(node.output):
            continue
        nodes.append(node)
        if node.op_type not in {"Shape", "Size"}:
            wanted.update(tensor for tensor in reads(node) if tensor != start)
    return None if graph.input in wanted else nodes[::-1]


def _ancestors(graph: Graph, name: str) -> set[str]:
    ancestors, left = set(), [name]
    while left:
        node = graph.producer.get(left.pop())
        for tensor in () if node is None else reads(node):
            if tensor not in ancestors:
                ancestors.add(tensor)
                left.append(tensor)
    return ancestors


def _measured(graph: Graph, name: str, spec: InputSpec, options: RuntimeOptions) -> tuple[int, ...]:
    """The shape of a tensor for one image, where the graph does not tell: from a run."""
    session = open_session(graph.with_outputs([name]), options, name=graph.where)
    half = session.get_inputs()[0].type == "tensor(float16)"
    x = np.zeros((1, spec.channels, *spec.shape), np.float16 if half else np.float32)
    try:
        (activation,) = run_session(session, [name], {graph.input: x})
    except runtime_errors() as error:
        raise PackageError(
            f"{graph.where}: the graph does not run up to {name!r}: {error}",
            advice="Leave output.features out, or name a tensor of a graph that runs.",
        ) from error
    return tuple(np.shape(activation))


def _words(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "of a shape that the graph does not tell"
    return "(" + ", ".join(["N", *(str(size or "?") for size in shape[1:])]) + ")"
