"""Model packages that are valid, load, and then don't come back, or ask for more memory than any machine has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from planted import planted_package

HUNG, GREEDY = "hung", "greedy"
_FLOAT = TensorProto.FLOAT


def bad_packages(folder: Path) -> None:
    """Write both below `folder`."""
    for name, graph in ((HUNG, _endless()), (GREEDY, _greedy())):
        path = planted_package(folder, shape=(40, 40), name=name)
        manifest = yaml.safe_load((path / "model.yaml").read_text())
        manifest["output"].pop("features")
        (path / "model.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path / "model.onnx"
        )


def _graph(nodes: list[onnx.NodeProto], *constants: onnx.TensorProto) -> onnx.GraphProto:
    return helper.make_graph(
        nodes,
        "bad",
        [helper.make_tensor_value_info("image", _FLOAT, ["batch", 1, 40, 40])],
        [helper.make_tensor_value_info("logits", _FLOAT, ["batch", 1])],
        list(constants),
    )


def _endless() -> onnx.GraphProto:
    """The mean of the image, added to itself 2^40 times: ONNX Runtime lets nobody interrupt it."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still_going"]),
            helper.make_node("Add", ["sum", "sum"], ["double"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn_number", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", _FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still_going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("double", _FLOAT, None),
        ],
    )
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["mean"]),
        helper.make_node("Loop", ["turns", "", "mean"], ["logits"], body=body),
    ]
    return _graph(nodes, numpy_helper.from_array(np.array(2**40, np.int64), "turns"))


def _greedy() -> onnx.GraphProto:
    """The mean of the image, laid out as 2^22 × 2^22 pixels: 64 TiB."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Expand", ["mean", "shape"], ["huge"]),
        helper.make_node("GlobalAveragePool", ["huge"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    return _graph(nodes, numpy_helper.from_array(np.array([1, 1, 2**22, 2**22], np.int64), "shape"))
