"""A graph on its way to its gradient: what the rules of its operators may ask, and what they add."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_OWN = "graph/"
_BACK = "back/"


class DifferentiationError(ValueError):
    """This graph's gradient can't be written here; its message says why."""


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """The value of a node's attribute."""
    from onnx import helper

    stated = next((entry for entry in node.attribute if entry.name == name), None)
    return default if stated is None else helper.get_attribute_value(stated)


class WayBack:
    """One graph on its way to a gradient: what it has, and the nodes and constants that the rules add.

    Rules name tensors as the graph does; `own` gives the name that such a tensor has in what is written.
    """

    def __init__(self, proto: Any, shapes: Mapping[str, Sequence[int | None]], opset: int) -> None:
        import onnx

        self.opset = opset
        self._shapes = shapes
        self.source = list(proto.graph.node)
        self._constants = {initializer.name: initializer for initializer in proto.graph.initializer}
        self._producer = {output: node for node in self.source for output in node.output if output}
        self.nodes: list[Any] = []
        self.forward: list[Any] = []
        self.initializers: list[Any] = []
        self.arriving: dict[str, list[str]] = {}
        self._kept: dict[bytes, str] = {}
        self._count = 0
        for initializer in proto.graph.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(initializer)
            copy.name = self.own(initializer.name)
            self.initializers.append(copy)
        for node in self.source:
            if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
                raise DifferentiationError(f"{node.op_type} has a body")
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [self.own(name) for name in node.input]
            copy.output[:] = [self.own(name) for name in node.output]
            self.forward.append(copy)

    # --- for the rules ----------------------------------------------------------------------------------------------
    def own(self, name: str) -> str:
        """The graph's tensor under its name in what is written."""
        return name and _OWN + name

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a graph's tensor for a batch of one; DifferentiationError where a size is not known."""
        shape = self._shapes.get(name)
        if shape is None and (value := self.constant(name)) is not None:
            return value.shape
        if shape is None or None in shape:
            raise DifferentiationError(f"the shape of {name!r} is not known")
        return tuple(int(size or 0) for size in shape)

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of a constant of the graph, or None where it is computed from more than a constant."""
        from onnx import helper, numpy_helper

        if name in self._constants:
            return np.asarray(numpy_helper.to_array(self._constants[name]))
        node = self._producer.get(name)
        if node is None:
            return None
        if node.op_type in ("Cast", "Identity"):
            value = self.constant(node.input[0])
            if value is None or node.op_type == "Identity":
                return value
            return value.astype(helper.tensor_dtype_to_np_dtype(attribute(node, "to")))
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            return np.asarray(numpy_helper.to_array(node.attribute[0].t))
        return None

    def kept(self, value: NDArray[Any]) -> str:
        """The name of a constant with this value."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(value)
        key = repr((array.dtype.str, array.shape)).encode() + array.tobytes()
        if key not in self._kept:
            self._kept[key] = self._name()
            self.initializers.append(numpy_helper.from_array(array.reshape(value.shape), self._kept[key]))
        return self._kept[key]

    def integers(self, *values: int) -> str:
        """The name of a constant vector of whole numbers."""
        return self.kept(np.array(values, np.int64))

    def number(self, value: float) -> str:
        """The name of a constant scalar."""
        return self.kept(np.array(value, np.float32))

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The output of a new node."""
        import onnx

        output = self._name()
        self.nodes.append(onnx.helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def _name(self) -> str:
        self._count += 1
        return f"{_BACK}{self._count}"

    def sum_of(self, name: str) -> str:
        """All that arrives at a tensor, added up; empty for nothing."""
        parts = self.arriving.pop(name, [])
        if not parts:
            return ""
        total = parts[0]
        for part in parts[1:]:
            total = self.node("Add", total, part)
        self.arriving[name] = [total]
        return total


Rule = Callable[[WayBack, Any, Any, int, Sequence[str]], str]
"""(way, the graph's node, its copy in what is written, which input, what arrives at its outputs) → what arrives there.

A rule may give the copy further outputs."""
