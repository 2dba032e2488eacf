"""The large matrices that a network's answer is computed with, each as the node that reads it multiplies by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.packages import bodies, graphs, reads

_KERNELS = {"Conv": (1,), "ConvTranspose": (1,), "FusedConv": (1,), "ConvInteger": (1,), "QLinearConv": (3,)}
_FACTORS = {
    **dict.fromkeys(("Gemm", "MatMul", "FusedGemm", "FusedMatMul"), (0, 1)),
    **dict.fromkeys(("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"), (0, 1)),
    **dict.fromkeys(("QLinearMatMul", "QGemm"), (0, 3)),
}
_RECURRENT = dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), (1, 2))
_PLACES = {**_KERNELS, **_FACTORS, **_RECURRENT}
"""Inputs that hold weights, by operator (ONNX's, and those that ONNX Runtime puts in their places). What other nodes
read, as tables of words and of positions, has rows that need not be alike however much was learned."""
_KEPT = frozenset({"Identity", "Cast", "QuantizeLinear", "DequantizeLinear"})
"""Nodes between weights and their reader that leave each number in its place."""


def weight_matrices(graph: Any, output: str, least: int) -> Iterator[NDArray[Any]]:
    """Matrices (rows, columns) of `least` numbers or more that `output` of an ONNX graph is computed with, of any type.

    A kernel (out, in, ...) gives (out, rest); a product of stacks (..., rows, columns), as of heads or experts, and a
    recurrent node's weights (directions, rows, columns) give one each. Weights that several nodes read come once.
    What stands beside `output` in the graph, as another head, and what is computed from weights otherwise, is left out.
    """
    from onnx import numpy_helper

    held = {tensor.name: tensor for part in graphs(graph) for tensor in part.initializer}
    nodes = list(_needed(graph, output))
    made_by = {name: node for node in nodes for name in node.output}
    constants = [node for node in nodes if node.op_type == "Constant"]
    held |= {node.output[0]: given.t for node in constants for given in node.attribute if given.name == "value"}
    seen: set[str] = set()
    for node in nodes:
        for place in _PLACES.get(node.op_type, ()):
            if place >= len(node.input):
                continue
            name, turns = _origin(node.input[place], held, made_by)
            tensor = held.get(name)
            if name in seen or tensor is None or np.prod(tensor.dims, dtype=np.int64) < least or len(tensor.dims) < 2:
                continue
            seen.add(name)
            weights = numpy_helper.to_array(tensor)
            for axes in reversed(turns):
                weights = weights.transpose(axes)
            rows = (weights.shape[0], -1) if node.op_type in _KERNELS else weights.shape[-2:]
            for matrix in [weights.reshape(rows)] if node.op_type in _KERNELS else weights.reshape(-1, *rows):
                if matrix.size >= least:
                    yield matrix


def _needed(graph: Any, output: str) -> Iterator[Any]:
    """Nodes that an output is computed by, last first, each followed by those of its bodies."""
    wanted = {output}
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(reads(node))
            yield node
            for body in bodies(node):
                for part in graphs(body):
                    yield from part.node


def _origin(read: str, held: dict[str, Any], made_by: dict[str, Any]) -> tuple[str, list[list[int] | None]]:
    """The name that numbers have before they are cast, scaled or turned, and how they are turned, last first."""
    turns: list[list[int] | None] = []
    while read not in held and read in made_by:
        node = made_by[read]
        if node.op_type == "Transpose":
            turns.append(next((list(given.ints) for given in node.attribute if given.name == "perm"), None))
        elif node.op_type not in _KEPT:
            break
        read = node.input[0]
    return read, turns
