"""A net of planted detectors, built node by node, whose every unit is known: the ground truth of the room's tests.

Units, 'features' (N, 4, 32, 32): 0 what is bright, 1 what is dark, 2 vertical edges, 3 horizontal edges.
Target 'bright' hears unit 0 (and a little of 3), 'edges' hears 2; nothing hears unit 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import UnitImage

SIZE = 32
HEAD = np.array([[60.0, 0.0, 0.0, 0.5], [0.0, 0.0, 40.0, 0.0]], np.float32)
BIAS = np.array([-1.0, 0.25], np.float32)


def package(folder: Path, *, hidden: bool = False) -> Path:
    """Write the package; with a `hidden` layer in the head it has no closed form."""
    path = folder / "detectors" / "1.0.0"
    path.mkdir(parents=True, exist_ok=True)
    kernels = np.zeros((4, 1, 3, 3), np.float32)
    kernels[0, 0, 1, 1], kernels[1, 0, 1, 1] = 1, -1
    kernels[2, 0, 1] = [-1, 0, 1]
    kernels[3, 0, :, 1] = [-1, 0, 1]
    constants = {
        "kernels": kernels,
        "levels": np.array([-0.6, 0.05, -0.1, -0.1], np.float32),
        "head": HEAD,
        "bias": BIAS,
        "hidden": np.eye(4, dtype=np.float32) * 3,
        "offset": np.full(4, -0.01, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernels", "levels"], ["shifted"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["shifted"], ["features"]),
        helper.make_node("GlobalAveragePool", ["features"], ["means"]),
        helper.make_node("Flatten", ["means"], ["embedding"]),
    ]
    last = "embedding"
    if hidden:
        nodes += [
            helper.make_node("Gemm", ["embedding", "hidden", "offset"], ["mixed"]),
            helper.make_node("Relu", ["mixed"], ["kept"]),
        ]
        last = "kept"
    nodes.append(helper.make_node("Gemm", [last, "head", "bias"], ["logits"], transB=1))
    used = {tensor for node in nodes for tensor in node.input}
    graph = helper.make_graph(
        nodes,
        "detectors",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(value, key) for key, value in constants.items() if key in used],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path / "model.onnx")
    manifest = {
        "name": "detectors",
        "version": "1.0.0",
        "title": "Planted detectors",
        "manufacturer": "tests",
        "task": "multi-label",
        "licence": "Apache-2.0",
        "intended_use": "tests",
        "input": {"name": "image", "shape": [SIZE, SIZE]},
        "output": {"name": "logits", "features": "features", "embedding": "embedding"},
        "targets": [{"name": "bright"}, {"name": "edges"}],
    }
    (path / "model.yaml").write_text(yaml.safe_dump(manifest))
    (path / "MODEL_CARD.md").write_text("for tests")
    return path


def load(path: Path) -> Model:
    return load_package(path, options=RuntimeOptions(intra_op_threads=1))


def picture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey noisy picture with a bright blob somewhere, and where that is."""
    rng = np.random.default_rng(seed)
    values = 0.3 + 0.02 * rng.normal(size=(SIZE, SIZE))
    row, column = rng.integers(6, SIZE - 6, 2)
    rows, columns = np.ogrid[:SIZE, :SIZE]
    blob = (rows - row) ** 2 + (columns - column) ** 2 <= rng.integers(2, 6) ** 2
    values[blob] = 0.9
    return np.clip(values, 0, 1).astype(np.float32), blob


def references(count: int = 24, *, masks: bool = True) -> list[UnitImage]:
    images = []
    for seed in range(count):
        values, blob = picture(seed)
        rng = np.random.default_rng(1000 + seed)
        elsewhere = np.roll(blob, tuple(rng.integers(8, 24, 2)), axis=(0, 1))
        both = {"blob": blob, "elsewhere": elsewhere} if masks else {}
        images.append(UnitImage(values[None, None], values, masks=both))
    return images
