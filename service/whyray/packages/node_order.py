"""The order of a graph's nodes: ONNX asks for each behind those whose outputs it reads, and not all tools keep to that.

ONNX Runtime sorts nodes when it loads a graph, so that a graph in another order runs there and is refused by ONNX's
checker: what its own converter to half precision writes with `keep_io_types`, for one.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import Any

from whyray.packages.subgraphs import graphs, reads


def put_in_order(proto: Any) -> None:
    """Sort the nodes of a model's graph, and of the bodies in it, in place (ONNX IR, "Graphs": topologically).

    Nodes that are in order stay where they are. A graph with a cycle is left as it is, to be refused by the checker.
    """
    for graph in reversed(list(graphs(proto.graph))):  # bodies before the nodes that hold them, which are copied
        order = _sorted(list(graph.node))
        if order is not None:
            del graph.node[:]
            graph.node.extend(order)


def _sorted(nodes: list[Any]) -> list[Any] | None:
    """Copies of the nodes in order; None where they are in order, or can't be."""
    made_by = {output: number for number, node in enumerate(nodes) for output in node.output if output}
    read_by = [{made_by[name] for name in reads(node) if name in made_by} for node in nodes]
    if all(number > max(before, default=-1) for number, before in enumerate(read_by)):
        return None
    try:
        order = list(TopologicalSorter(dict(enumerate(read_by))).static_order())
    except CycleError:
        return None
    copies = [type(nodes[number])() for number in order]
    for copy, number in zip(copies, order, strict=True):
        copy.CopyFrom(nodes[number])
    return copies
