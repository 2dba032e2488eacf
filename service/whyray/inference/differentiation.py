"""Writing the way back through an ONNX graph, operator by operator: gradients that ONNX Runtime computes without torch.

Reverse mode (Griewank and Walther 2008, chapter 3): each operator's rule (`operator_gradients`, `kernel_gradients`)
says what arrives at its inputs from what arrives at its outputs. It takes milliseconds, and hangs on the graph alone,
so that nothing is kept. What is written here is believed only where finite differences of the answers prove it (see
`gradient_proof`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whyray.inference.gradient_export import GRADIENT, INPUT, LOGITS, WEIGHTS
from whyray.inference.graph import opset_of
from whyray.inference.kernel_gradients import KERNEL_RULES
from whyray.inference.operator_gradients import NO_GRADIENT, RULES
from whyray.inference.way_back import DifferentiationError, Rule, WayBack

DIFFERENTIATION = 2
"""Raised when what is written here or in the rules changes, so that a proof of before is not taken for it."""
BY = f"whyray differentiation {DIFFERENTIATION}"
"""What made the gradient, in the place where a proof names a converter."""
OLDEST_OPSET = 13
"""Before it, axes of sums and of added dimensions were attributes."""
_RULES = {**RULES, **KERNEL_RULES}
UNKNOWN_FORM = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What Python raises for a form of an operator that a rule, or what reads the graph, does not know."""


def differentiated(proto: Any, shapes: Mapping[str, Sequence[int | None]]) -> Any:
    """An ONNX model of (x, weights) → (logits, d sum(logits · weights) / d x), for one item.

    `proto` has one input (1, ...) and one output (1, ...) and is in single precision; `shapes` are those of its tensors
    for a batch of one. Weights have the output's shape, so that one graph serves every target, region or mixture.
    Raises DifferentiationError where an operator has no rule, or a shape that a rule needs is not known.
    """
    import onnx

    opset = opset_of(proto)
    if opset < OLDEST_OPSET:
        raise DifferentiationError(f"the graph is of opset {opset}, before {OLDEST_OPSET}")
    start, end = proto.graph.input[0].name, proto.graph.output[0].name
    if any(None in shapes.get(name, (None,))[1:] or name not in shapes for name in (start, end)):
        raise DifferentiationError(f"the shape of {start!r} or {end!r} is not known")
    way = WayBack(proto, shapes, opset)
    gradient = _back(way, start, end)
    single = onnx.TensorProto.FLOAT

    def declared(name: str, shape: Sequence[int | None]) -> Any:
        return onnx.helper.make_tensor_value_info(name, single, [1, *shape[1:]])

    nodes = [
        onnx.helper.make_node("Identity", [INPUT], [way.own(start)]),
        *way.forward,
        *way.nodes,
        onnx.helper.make_node("Identity", [way.own(end)], [LOGITS]),
        onnx.helper.make_node("Identity", [gradient], [GRADIENT]),
    ]
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            nodes,
            "gradient",
            [declared(INPUT, shapes[start]), declared(WEIGHTS, shapes[end])],
            [declared(LOGITS, shapes[end]), declared(GRADIENT, shapes[start])],
            way.initializers,
        ),
        opset_imports=proto.opset_import,
    )
    made.ir_version = proto.ir_version
    return made


def _back(way: WayBack, start: str, end: str) -> str:
    """The name of d sum(end · weights) / d start."""
    active = {start}
    for node in way.source:
        if node.op_type not in NO_GRADIENT and active.intersection(node.input):
            active.update(output for output in node.output if output)
    if end not in active:
        raise DifferentiationError(f"{end!r} does not depend on {start!r} by gradients")
    way.arriving[end] = [WEIGHTS]
    for node, copy in zip(reversed(way.source), reversed(way.forward), strict=True):
        if node.op_type in NO_GRADIENT or not active.intersection(node.input):
            continue
        arriving = [way.sum_of(output) for output in node.output]
        if not any(arriving):
            continue
        rule = _RULES.get(node.op_type)
        if rule is None or node.domain not in ("", "ai.onnx"):
            raise DifferentiationError(f"{node.op_type} has no rule")
        for place, name in enumerate(node.input):
            if name in active:
                way.arriving.setdefault(name, []).append(_ruled(rule, way, node, copy, place, arriving))
    return way.sum_of(start)


def _ruled(rule: Rule, way: WayBack, node: Any, copy: Any, place: int, arriving: Sequence[str]) -> str:
    """What a rule says; what it stumbles over is a form of the operator that it does not know."""
    try:
        return rule(way, node, copy, place, arriving)
    except DifferentiationError:
        raise
    except UNKNOWN_FORM as error:
        raise DifferentiationError(
            f"{node.op_type} in a form without a rule: {type(error).__name__}: {error}"
        ) from error
