"""Packages and images whose similar cases and prototypes are known beforehand.

`cases_package`: a convolution with fixed filters, averaged in 4 × 4 blocks: the embedding tells where an image is
bright. The target 'upper left' is the brightness there, 'lower right' that there.
`prototypes_package`: a ProtoPNet-form graph on 4 × 4 blocks of the image with the prototypes 'bright' and 'dark'.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE, BLOCKS, FILTERS = 32, 4, 6
TARGETS = ("upper left", "lower right")
PLACES = {"upper left": (0, 0), "lower right": (20, 20), "upper right": (0, 20)}


def cases_package(folder: Path, *, seed: int = 0, name: str = "planted-cases", embedding: bool = True) -> Path:
    """Write the package under `folder` as NAME/1.0.0 and give its folder back."""
    rng = np.random.default_rng(seed)
    filters = np.concatenate([np.full((1, 1, 3, 3), 1 / 9), 0.2 * rng.normal(size=(FILTERS - 1, 1, 3, 3))])
    width = FILTERS * BLOCKS**2
    weights = np.zeros((width, len(TARGETS)))
    weights[0, 0], weights[BLOCKS**2 - 1, 1] = 12, 12  # the mean filter's first and last block
    weights += 0.3 * rng.normal(size=weights.shape)
    nodes = [
        helper.make_node("Conv", ["image", "filters"], ["convolved"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["convolved"], ["features"]),
        helper.make_node("AveragePool", ["features"], ["blocks"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["blocks"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "weights", "bias"], ["logits"]),
    ]
    held = {"filters": filters, "weights": weights, "bias": np.full(len(TARGETS), -4.0)}
    output: dict[str, Any] = {"name": "logits", "activation": "sigmoid", "features": "features"}
    return _write(folder, name, nodes, held, output | ({"embedding": "embedding"} if embedding else {}))


def prototypes_package(folder: Path, *, name: str = "planted-prototypes", additive: bool = True) -> Path:
    """As above; without `additive` the similarities are squared behind the maximum, so the answer is no sum of them."""
    nodes = [
        helper.make_node("AveragePool", ["image"], ["features"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Sub", ["features", "prototypes"], ["apart"]),
        helper.make_node("Abs", ["apart"], ["distance"]),
        helper.make_node("Sub", ["one", "distance"], ["maps"]),
        helper.make_node("GlobalMaxPool", ["maps"], ["highest"]),
        helper.make_node("Flatten", ["highest"], ["similarities"]),
        *([] if additive else [helper.make_node("Mul", ["similarities", "similarities"], ["squared"])]),
        helper.make_node("Gemm", ["similarities" if additive else "squared", "weights", "bias"], ["logits"]),
    ]
    held = {
        "prototypes": np.array([1.0, 0.0]).reshape(1, 2, 1, 1),
        "one": np.ones((1, 1, 1, 1)),
        "weights": np.array([[6.0, 1.0], [-2.0, 3.0]]),
        "bias": np.array([-3.0, -1.0]),
    }
    output = {"name": "logits", "activation": "sigmoid"}
    more = {"prototypes": {"maps": "maps", "similarities": "similarities"}}
    return _write(folder, name, nodes, held, output, more)


def image_of(place: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """(1, 1, 32, 32) in 0..1: dark and noisy, with a bright square at a place of PLACES."""
    pixels = rng.uniform(0, 0.15, (1, 1, SIZE, SIZE)).astype(np.float32)
    row, column = PLACES[place]
    bright = rng.uniform(0.7, 0.9)
    pixels[..., row + 1 : row + 11, column + 1 : column + 11] += np.float32(bright * rng.uniform(0.9, 1))
    return np.clip(pixels, 0, 1)


def images_of(places: Sequence[str], seed: int = 0) -> list[NDArray[np.float32]]:
    """One image a place."""
    rng = np.random.default_rng(seed)
    return [image_of(place, rng) for place in places]


def _write(
    folder: Path,
    name: str,
    nodes: list[Any],
    held: dict[str, NDArray[Any]],
    output: dict[str, Any],
    more: dict[str, Any] | None = None,
) -> Path:
    path = folder / name / "1.0.0"
    path.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(TARGETS)])],
        [numpy_helper.from_array(np.asarray(value, np.float32), key) for key, value in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), path / "model.onnx")
    manifest = {
        "name": name,
        "version": "1.0.0",
        "title": "Planted",
        "manufacturer": "WhyRay tests",
        "task": "multi-label",
        "licence": "Apache-2.0",
        "intended_use": "Tests only.",
        "input": {"name": "image", "layout": "NCHW", "kind": "planar", "shape": [SIZE, SIZE], "fit": "pad"},
        "output": output,
        "targets": [{"name": target, "threshold": 0.5} for target in TARGETS],
        **(more or {}),
    }
    (path / "model.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    (path / "MODEL_CARD.md").write_text("# Planted\n\nFor tests only.\n")
    return path
