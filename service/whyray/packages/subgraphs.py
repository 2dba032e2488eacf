"""What lies beside a graph's own nodes and dense initialisers: bodies of If, Loop and Scan, and sparse constants.

A body reads tensors of the graphs around it without naming them among its node's inputs (ONNX IR, "Graphs", on nested
subgraphs and their outer scope). Who follows connections asks `reads`, never `node.input` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

_LARGEST = 1 << 31
"""Bytes of a sparse tensor when dense: what ONNX's own format can hold in one file."""


def bodies(node: Any) -> Iterator[Any]:
    """The graphs that a node holds."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def reads(node: Any) -> list[str]:
    """Names of all tensors that a node reads, those of its bodies from around them included; each once, in order."""
    names = [name for name in node.input if name]
    for body in bodies(node):
        names += _captured(body)
    return list(dict.fromkeys(names))


def _captured(body: Any) -> list[str]:
    own = {tensor.name for tensor in (*body.input, *body.initializer)} | {
        sparse.values.name for sparse in body.sparse_initializer
    }
    names = []
    for node in body.node:
        names += [name for name in reads(node) if name not in own]
        own.update(node.output)
    # a body may give a tensor from around it as it is
    return names + [output.name for output in body.output if output.name not in own]


def rename_reads(node: Any, old: str, new: str) -> None:
    """Let a node, and its bodies, read `new` instead of `old` (in place)."""
    for place, name in enumerate(node.input):
        if name == old:
            node.input[place] = new
    for body in bodies(node):
        if old in _captured(body):
            for inner in body.node:
                rename_reads(inner, old, new)
            if any(output.name == old for output in body.output):
                raise ValueError(f"a body of {node.op_type} {node.name!r} gives {old!r} as it is")


def graphs(graph: Any) -> Iterator[Any]:
    """A graph and all bodies in it, at any depth."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from graphs(body)


def tensors(proto: Any) -> Iterator[Any]:
    """All tensors that a model holds: initialisers and values of attributes, in bodies and functions too."""
    for graph in graphs(proto.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    holders = [node for graph in graphs(proto.graph) for node in graph.node]
    holders += [node for function in proto.functions for node in function.node]
    for node in holders:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def with_dense_constants(proto: Any) -> Any:
    """The model with sparse initialisers and sparse constants made dense; the same object where it has none.

    Raises ValueError where a tensor would be larger than 2 GiB, or its indices are not those of its shape.
    """
    import onnx

    if not any(
        graph.sparse_initializer or any(_sparse_value(node) for node in graph.node) for graph in graphs(proto.graph)
    ):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for graph in graphs(copy.graph):
        graph.initializer.extend(_dense(sparse, sparse.values.name) for sparse in graph.sparse_initializer)
        del graph.sparse_initializer[:]
        for node in graph.node:
            held = _sparse_value(node)
            if held is not None:
                dense = onnx.helper.make_attribute("value", _dense(held.sparse_tensor, ""))
                kept = [attribute for attribute in node.attribute if attribute.name != held.name]
                del node.attribute[:]
                node.attribute.extend([*kept, dense])
    return copy


def _sparse_value(node: Any) -> Any:
    """The attribute of a Constant that holds a sparse tensor, or None."""
    return next((attribute for attribute in node.attribute if attribute.HasField("sparse_tensor")), None)


def _dense(sparse: Any, name: str) -> Any:
    """A sparse tensor as a dense one; its indices are linear, or one for each axis."""
    import numpy as np
    from onnx import numpy_helper

    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    shape = tuple(sparse.dims)
    if prod(shape) * max(1, values.itemsize) > _LARGEST:
        raise ValueError(f"the sparse tensor {sparse.values.name!r} of shape {shape} is larger than 2 GiB when dense")
    places = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
    dense = np.zeros(prod(shape), values.dtype)
    dense[places] = values
    return numpy_helper.from_array(dense.reshape(shape), name)
