"""Graphs whose nodes stand in another order than ONNX asks for, as tools write them and ONNX Runtime runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from inference import nets
from whyray.inference import RuntimeOptions, load_package
from whyray.onboarding import check_package
from whyray.packages import put_in_order

CPU = RuntimeOptions(device="cpu", intra_op_threads=1)


def _model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])  # noqa: E731
    return helper.make_model(helper.make_graph(list(nodes), "g", [value("x")], [value("y")]))


def test_weights_in_half_precision_behind_casts_of_the_converter_are_taken(tmp_path: Path) -> None:
    folder = nets.pack(tmp_path, "plain")
    whole = load_package(folder, options=CPU).logits(nets.image("plain").numpy())
    half = convert_float_to_float16(onnx.load(folder / "model.onnx"), keep_io_types=True)
    onnx.save(half, folder / "model.onnx")
    assert [finding.message for finding in check_package(folder, CPU) if finding.severity == "error"] == []
    model = load_package(folder, options=CPU)
    np.testing.assert_allclose(model.logits(nets.image("plain").numpy()), whole, atol=0.01)


def test_nodes_come_behind_what_they_read_and_those_in_order_stay() -> None:
    last, first = helper.make_node("Neg", ["a"], ["y"]), helper.make_node("Abs", ["x"], ["a"])
    model = _model(last, first)
    put_in_order(model)
    assert [node.op_type for node in model.graph.node] == ["Abs", "Neg"]
    before = model.SerializeToString()
    put_in_order(model)
    assert model.SerializeToString() == before


def test_bodies_are_put_in_order_too_and_what_they_read_from_around_them_comes_first() -> None:
    output = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])
    body = helper.make_graph(
        [helper.make_node("Neg", ["b"], ["z"]), helper.make_node("Abs", ["a"], ["b"])], "body", [], [output]
    )
    choice = helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=body)
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", TensorProto.BOOL, [1], [True]))
    model = _model(choice, yes, helper.make_node("Sigmoid", ["x"], ["a"]))
    put_in_order(model)
    assert [node.op_type for node in model.graph.node] == ["Constant", "Sigmoid", "If"]
    inner = model.graph.node[-1].attribute[0].g
    assert [node.op_type for node in inner.node] == ["Abs", "Neg"]
    onnx.checker.check_model(model)


def test_a_circle_is_left_to_be_refused() -> None:
    model = _model(helper.make_node("Add", ["x", "y"], ["a"]), helper.make_node("Neg", ["a"], ["y"]))
    put_in_order(model)
    assert [node.op_type for node in model.graph.node] == ["Add", "Neg"]
