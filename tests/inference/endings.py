"""Small graphs that end in whatever a test puts behind the logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from inference import nets

Z = "z"
"""The logits, (N, classes), that the ending takes."""
SIZE, WIDTH = 16, 6


def node(kind: str, given: Sequence[str], gives: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(given), [gives], **attributes)


def ending_of(*nodes: onnx.NodeProto, **constants: object) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """Nodes from Z to `logits`, and their constants: whole numbers become int64, others float32."""
    made = {}
    for name, value in constants.items():
        array = np.asarray(value)
        made[name] = array.astype(np.int64 if np.issubdtype(array.dtype, np.integer) else np.float32)
    return list(nodes), made


def write(
    root: Path,
    ending: tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]],
    *,
    activation: str,
    classes: int = 3,
    targets: int | None = None,
    task: str = "multi-label",
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
    **changes: Any,
) -> Path:
    """A package whose graph is that; weights are seeded, and large enough for logits of several units."""
    rng = np.random.default_rng(7)
    nodes, constants = ending
    weights = {
        "kernel": rng.normal(size=(WIDTH, 1, 3, 3)),
        "kernel_bias": rng.normal(size=WIDTH),
        "matrix": 2 * rng.normal(size=(WIDTH, classes)),
        "bias": rng.normal(size=classes),
    }
    graph = helper.make_graph(
        [
            node("Conv", ["x", "kernel", "kernel_bias"], "convolved", pads=[1, 1, 1, 1], strides=[2, 2]),
            node("Relu", ["convolved"], "maps"),
            node("GlobalAveragePool", ["maps"], "pooled"),
            node("Flatten", ["pooled"], "vector"),
            node("Gemm", ["vector", "matrix", "bias"], Z),
            *nodes,
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", kind, [None] * (4 if task == "segmentation" else 2))],
        [
            *(numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()),
            *(numpy_helper.from_array(value, name) for name, value in constants.items()),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    proto.ir_version = 8
    content = nets.manifest("plain") | {
        "task": task,
        "input": {"name": "x", "layout": "NCHW", "kind": "planar", "shape": [SIZE, SIZE], "channels": 1},
        "output": {"name": "logits", "activation": activation},
        "targets": [{"name": f"t{number}"} for number in range(classes if targets is None else targets)],
        **changes,
    }
    folder = nets.write_manifest(root / "plain" / "1.0.0", content)
    onnx.save(proto, folder / "model.onnx")
    return folder


def image(seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(0, 1, (1, 1, SIZE, SIZE)).astype(np.float32)


def answer(folder: Path, x: NDArray[np.float32], tensor: str = "logits") -> NDArray[np.float32]:
    """What the graph itself gives for a tensor, by ONNX Runtime alone."""
    proto = onnx.load(folder / "model.onnx")
    if tensor != "logits":
        proto.graph.output.append(onnx.ValueInfoProto(name=tensor))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([tensor], {"x": x})[0], np.float32)
