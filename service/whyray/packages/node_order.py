"""The order of a graph's nodes: ONNX asks for each behind those whose outputs it reads, and not all tools keep to that.

ONNX Runtime sorts nodes when it loads a graph, so that a graph in another order runs there and is refused by ONNX's
checker: what its own converter to half precision writes with `keep_io_types`, for one.
"""

from __future__ import annotations

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
    """Copies of the nodes in order, each as early as its inputs allow; None where they are in order, or can't be."""
    made_here = {output for node in nodes for output in node.output if output}
    waiting: dict[str, list[int]] = {}
    missing = [0] * len(nodes)
    there: set[str] = set()
    in_order = True
    for number, node in enumerate(nodes):
        wanted = [name for name in reads(node) if name in made_here]
        in_order = in_order and there.issuperset(wanted)
        there.update(node.output)
        missing[number] = len(wanted)
        for name in wanted:
            waiting.setdefault(name, []).append(number)
    if in_order:
        return None
    order: list[int] = []
    ready = [number for number in reversed(range(len(nodes))) if not missing[number]]
    while ready:
        number = ready.pop()
        order.append(number)
        freed = []
        for output in nodes[number].output:
            for reader in waiting.get(output, ()) if output else ():
                missing[reader] -= 1
                if not missing[reader]:
                    freed.append(reader)
        ready += reversed(freed)
    if len(order) < len(nodes):
        return None
    copies = [type(nodes[number])() for number in order]
    for copy, number in zip(copies, order, strict=True):
        copy.CopyFrom(nodes[number])
    return copies
