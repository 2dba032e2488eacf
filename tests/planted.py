"""Model packages whose answer depends on one known place only: the ground truth of every geometry test.

The graph: `features = relu(image - level)` by a 1 × 1 convolution, averaged, times a weight. Grad-CAM of the target is
therefore the bright spot itself and nothing else, at the model's full resolution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

BRIGHT = "Bright spot"


def planted_package(
    folder: Path,
    *,
    kind: Literal["planar", "volume"] = "planar",
    shape: tuple[int, ...] = (64, 64),
    level: float = 0.7,
    fit: str = "pad",
    spacing: tuple[float, float, float] | None = None,
    window: tuple[float, float] | None = None,
    unit: str | None = None,
    modalities: tuple[str, ...] = (),
    name: str = "planted",
    broken: Literal["", "nan"] = "",
) -> Path:
    """Write the package under `folder` as NAME/1.0.0 and give its folder back."""
    path = folder / name / "1.0.0"
    path.mkdir(parents=True, exist_ok=True)
    _graph(path / "model.onnx", len(shape), level, broken)
    source: dict[str, object] = {"source": "voi"} if window is None else {"source": "modality", "window": list(window)}
    if unit is not None:
        source["unit"] = unit
    manifest = {
        "name": name,
        "version": "1.0.0",
        "title": "Planted detector",
        "manufacturer": "WhyRay tests",
        "task": "multi-label",
        "licence": "Apache-2.0",
        "intended_use": "Tests only.",
        "input": {
            "name": "image",
            "layout": "NCHW" if kind == "planar" else "NCDHW",
            "kind": kind,
            "shape": list(shape),
            "fit": fit,
            "intensity": source,
            "modalities": list(modalities),
            **({"spacing": list(spacing)} if spacing else {}),
        },
        "output": {"name": "logits", "activation": "sigmoid", "features": "features"},
        "targets": [{"name": BRIGHT, "threshold": 0.5}],
    }
    (path / "model.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    (path / "MODEL_CARD.md").write_text("# Planted detector\n\nFor tests only.\n")
    return path


def _graph(path: Path, axes: int, level: float, broken: str) -> None:
    ones = (1, 1, *[1] * axes)
    weights = {
        "w": np.ones(ones, np.float32),
        "b": np.array([-level], np.float32),
        "scale": np.array([[4000.0]], np.float32),
        "offset": np.array([np.nan if broken == "nan" else -1.0], np.float32),
    }
    spatial = [f"s{axis}" for axis in range(axes)]
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["features"]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "scale", "offset"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "planted",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, *spatial])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
