"""A scope package of a rule: an ordinary image is dark, a bright one is called inverted; and ordinary images."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from whyray.inference import load_package
from whyray.onboarding.scope_fitting import scope_artefact
from whyray.packages import write_artefact

SIDE = 16
ORDINARY = 0.1
"""Grey of an ordinary image, at most, but for its spot."""


def planted_scope(folder: Path, *, name: str = "scope", artefact: bool = True) -> Path:
    """Write the package as NAME/1.0.0, with what it knows of 60 dark images unless it is to lack that."""
    path = folder / name / "1.0.0"
    path.mkdir(parents=True)
    weights = {
        # odds against an ordinary image grow with the mean grey; what is neither is never thought of
        "w": np.array([[-40.0, 40.0, 0.0]], np.float32),
        "b": np.array([20.0, -20.0, -30.0], np.float32),
        "shape": np.array([0, 4], np.int64),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("AveragePool", ["image"], ["features"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Reshape", ["features", "shape"], ["embedding"]),
        helper.make_node("ReduceMean", ["embedding", "axis"], ["grey"], keepdims=1),
        helper.make_node("Gemm", ["grey", "w", "b"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "scope",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
        value_info=[
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 1, 2, 2]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 4]),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path / "model.onnx")
    manifest = {
        "name": name,
        "version": "1.0.0",
        "title": "Planted scope",
        "manufacturer": "WhyRay tests",
        "task": "classification",
        "licence": "Apache-2.0",
        "intended_use": "Tests only.",
        "input": {"name": "image", "layout": "NCHW", "kind": "planar", "shape": [SIDE, SIDE], "fit": "pad"},
        "output": {"name": "logits", "activation": "softmax", "features": "features", "embedding": "embedding"},
        "targets": [{"name": target} for target in ("ordinary", "inverted", "another")],
    }
    (path / "model.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    (path / "MODEL_CARD.md").write_text("# Planted scope\n\nFor tests only.\n")
    if artefact:
        model = load_package(path)
        rng = np.random.default_rng(0)
        images = [ordinary(rng) for _ in range(60)]
        facts, arrays = scope_artefact(
            model, images[:30], images[30:], source="made by rule", licence="none", made=date(2026, 1, 1)
        )
        write_artefact(path / "scope.npz", facts, arrays)
        (path / "model.yaml").write_text(yaml.safe_dump({**manifest, "artefacts": {"scope": "scope.npz"}}))
    return path


def ordinary(rng: np.random.Generator) -> np.ndarray:
    """(1, 1, SIDE, SIDE): dark with some noise, and a small bright spot in its upper right part."""
    image = rng.normal(0, ORDINARY / 4, (1, 1, SIDE, SIDE)) + rng.uniform(-ORDINARY / 2, ORDINARY)
    row, column = rng.integers(2, 5), rng.integers(8, 11)
    image[..., row : row + 2, column : column + 3] = rng.uniform(0.2, 1)
    return np.clip(image, 0, 1).astype(np.float32)


def with_scope(package: Path, reference: str = "scope@1", **scope: object) -> None:
    """Let a package demand a scope package."""
    path = package / "model.yaml"
    manifest = yaml.safe_load(path.read_text())
    companions = {**manifest.get("companions", {}), "scope": reference}
    path.write_text(yaml.safe_dump({**manifest, "companions": companions, "scope": scope}, sort_keys=False))
