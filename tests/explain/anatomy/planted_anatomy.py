"""A package that finds the same structures in every image, and a detector of a bright spot that has it as companion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from planted import planted_package
from whyray.inference import Model, load_package

SIZE = 64
STRUCTURES = {
    "right lung": ("3341006", slice(10, 50), slice(6, 26)),
    "left lung": ("44029006", slice(10, 50), slice(38, 58)),
    "heart": ("80891009", slice(30, 50), slice(27, 37)),
}
"""Name → SNOMED CT code, rows, columns."""


def mask_of(name: str) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    _, rows, columns = STRUCTURES[name]
    mask[rows, columns] = True
    return mask


def anatomy_package(folder: Path, *, empty: bool = False, swapped: bool = False, size: int = SIZE) -> Path:
    """Writes planted-anatomy/1.0.0: softmax logits that are the structures, whatever the image shows."""
    path = folder / "planted-anatomy" / "1.0.0"
    path.mkdir(parents=True)
    logits = np.zeros((1, 1 + len(STRUCTURES), SIZE, SIZE), np.float32)
    logits[:, 0] = 1
    if not empty:
        for channel, name in enumerate(STRUCTURES, start=1):
            logits[0, channel][mask_of(name)[:, ::-1] if swapped else mask_of(name)] = 5
    logits = logits.repeat(size // SIZE, axis=2).repeat(size // SIZE, axis=3)
    zero = np.zeros((1 + len(STRUCTURES), 1, 1, 1), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "zero"], ["features"]),
            helper.make_node("Add", ["features", "constant"], ["logits"]),
        ],
        "planted-anatomy",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1 + len(STRUCTURES), size, size])],
        [numpy_helper.from_array(zero, "zero"), numpy_helper.from_array(logits, "constant")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path / "model.onnx")
    targets = [{"name": "background", "background": True}]
    for name, (code, *_) in STRUCTURES.items():
        targets.append({"name": name, "code": {"value": code, "scheme": "SCT", "meaning": name}})
    manifest = {
        "name": "planted-anatomy",
        "version": "1.0.0",
        "title": "Planted anatomy",
        "manufacturer": "WhyRay tests",
        "task": "segmentation",
        "licence": "Apache-2.0",
        "intended_use": "Tests only.",
        "input": {"name": "image", "shape": [size, size]},
        "output": {"name": "logits", "activation": "softmax"},
        "targets": targets,
    }
    (path / "model.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    (path / "MODEL_CARD.md").write_text("# Planted anatomy\n\nFor tests only.\n")
    return path


def detector(
    folder: Path,
    *,
    anatomy: tuple[str, str] | None = ("39607008", "Lung"),
    companion: str | None = "planted-anatomy@1",
    name: str = "planted",
) -> Model:
    """The detector of a bright spot, whose finding is looked for in `anatomy`."""
    path = planted_package(folder, name=name)
    manifest = yaml.safe_load((path / "model.yaml").read_text())
    if anatomy is not None:
        manifest["targets"][0]["anatomy"] = {"value": anatomy[0], "scheme": "SCT", "meaning": anatomy[1]}
    if companion is not None:
        manifest["companions"] = {"anatomy": companion}
    (path / "model.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    return load_package(path, search=[folder])


def lit(*places: tuple[slice, slice], value: float = 0.95) -> np.ndarray:
    """(1, 1, 64, 64): dark but for these places."""
    image = np.full((1, 1, SIZE, SIZE), 0.1, np.float32)
    for rows, columns in places:
        image[0, 0, rows, columns] = value
    return image


IN_RIGHT_LUNG = (slice(14, 20), slice(10, 16))
IN_LEFT_LUNG = (slice(40, 46), slice(44, 50))
IN_HEART = (slice(34, 42), slice(29, 35))
OUTSIDE = (slice(55, 61), slice(2, 8))
