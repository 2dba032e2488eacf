"""Legal forms of operators whose gradient no rule gives are refused: a wrong one may hide in what a proof tolerates."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from whyray.inference.differentiation import differentiated
from whyray.inference.way_back import DifferentiationError

Constants = dict[str, NDArray[Any]]
STATISTICS: Constants = {name: np.ones(3, np.float32) for name in ("scale", "bias", "mean", "variance")}
WINDOWS = {"kernel_shape": [2, 2], "strides": [2, 2]}


def graph_of(nodes: list[Any], constants: Constants, opset: int = 20) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """A model from "x" (1, 3, 8, 6) to "y", and the shapes of its tensors."""
    graph = helper.make_graph(
        nodes,
        "operator",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value_info.name: tuple(dim.dim_value for dim in value_info.type.tensor_type.shape.dim)
        for value_info in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    return model, shapes


@pytest.mark.parametrize(
    ("words", "kind", "constants", "settings"),
    [
        ("by columns", "MaxPool", {}, {**WINDOWS, "storage_order": 1}),
        ("statistics of what comes in", "BatchNormalization", STATISTICS, {"training_mode": 1}),
        ("in their order", "Resize", {"roi": [], "by": [1.5, 2]}, {"axes": [3, 2]}),
        ("in their order", "Resize", {"roi": [], "by": [1.5, 2]}, {"axes": [-1, -2]}),
        ("in their order", "Resize", {"roi": [], "by": [2]}, {"axes": [2]}),
        (
            "input's together",
            "Resize",
            {"roi": [], "by": [], "to": np.array([20, 20])},
            {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"},
        ),
    ],
)
def test_a_form_that_a_rule_does_not_know_is_refused(
    words: str, kind: str, constants: dict[str, Any], settings: dict[str, Any]
) -> None:
    values = {name: np.asarray(constant, None if name == "to" else np.float32) for name, constant in constants.items()}
    outputs = ["y", "new mean", "new variance"] if kind == "BatchNormalization" else ["y"]
    if kind == "Resize":
        settings = {"mode": "linear", **settings}
    node = helper.make_node(kind, ["x", *values], outputs, **settings)
    model, shapes = graph_of([node], values)
    with pytest.raises(DifferentiationError, match=words):
        differentiated(model, shapes)


@pytest.mark.parametrize("whole", [TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8, TensorProto.BOOL])
def test_a_gradient_does_not_pass_whole_numbers(whole: int) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["rounded"], to=whole),
        helper.make_node("Cast", ["rounded"], ["back"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["back", "x"], ["y"]),
    ]
    with pytest.raises(DifferentiationError, match="Cast"):
        differentiated(*graph_of(nodes, {}))


def test_scales_of_the_last_axes_in_their_order_are_known() -> None:
    for axes, by in (([2, 3], [1.5, 2]), ([-2, -1], [1.5, 2]), ([3], [2])):
        node = helper.make_node("Resize", ["x", "", "by"], ["y"], mode="linear", axes=axes)
        assert differentiated(*graph_of([node], {"by": np.array(by, np.float32)})).graph.node
