"""A package that answers by the sum of local evidence, made by hand so that the right map is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from whyray.inference import Model, RuntimeOptions, load_package

SIZE, CELL = 64, 8
TARGETS = ("bright", "dark")
BIAS = (-2.0, 1.5)
CPU = RuntimeOptions(device="cpu", intra_op_threads=1)


def evidence_package(
    root: Path, *, size: int = SIZE, scale: float = 1.0, missing: float = 0.0, **changes: object
) -> Path:
    """Evidence (N, 2, size/8, size/8): the mean of each 8 × 8 cell, for 'bright', and against 'dark'.

    `scale` multiplies the evidence that is shown, not that which answers; `missing` is added to the answer beside it.
    """
    weights = {
        "kernel": np.stack([np.full((1, CELL, CELL), 3 / CELL**2), np.full((1, CELL, CELL), -2 / CELL**2)]),
        "bias": np.array(BIAS) + missing,
        "shown": np.array(scale),
        "axes": np.array([2, 3]),
    }
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["terms"], strides=[CELL, CELL]),
        helper.make_node("Mul", ["terms", "shown"], ["evidence"]),
        helper.make_node("ReduceSum", ["terms", "axes"], ["sums"], keepdims=0),
        helper.make_node("Add", ["sums", "bias"], ["logits"]),
    ]
    kept = [
        numpy_helper.from_array(array.astype(np.int64 if name == "axes" else np.float32), name)
        for name, array in weights.items()
    ]
    grid = size // CELL
    graph = helper.make_graph(
        nodes,
        "evidence",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, size, size])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2]),
            helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["N", 2, grid, grid]),
        ],
        kept,
    )
    folder = root / "local" / "1.0.0"
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, folder / "model.onnx")
    content: dict[str, object] = {
        "name": "local",
        "version": "1.0.0",
        "title": "local",
        "manufacturer": "tests",
        "task": "multi-label",
        "licence": "Apache-2.0",
        "intended_use": "tests",
        "input": {"name": "x", "shape": [size, size]},
        "output": {"name": "logits", "activation": "sigmoid"},
        "targets": [{"name": name} for name in TARGETS],
        "evidence": {"output": "evidence", "bias": list(BIAS)},
    }
    content.update(changes)
    (folder / "model.yaml").write_text(yaml.safe_dump(content))
    (folder / "MODEL_CARD.md").write_text("for tests")
    return folder


def loaded(folder: Path) -> Model:
    """The package, on one thread."""
    return load_package(folder, options=CPU)


def spot(row: int, column: int, size: int = SIZE, seed: int = 0) -> np.ndarray:
    """(1, 1, size, size) float32: dim noise with one bright cell of 8 × 8 at (row, column) of the evidence grid."""
    x = np.random.default_rng(seed).uniform(0, 0.2, (1, 1, size, size)).astype(np.float32)
    x[..., row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = 1
    return x
