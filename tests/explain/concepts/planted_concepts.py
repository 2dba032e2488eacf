"""Networks whose concepts are known: the brightness of four of 36 cells of the image; the other cells mean nothing."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

from whyray.explain.concepts import KIND, Concept, ConceptBank, held
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import Examples, fit_bank
from whyray.onboarding.concept_fitting import ConceptRecipe
from whyray.packages import ArtefactFacts, graph_digest, write_artefact

CELLS = {"alpha": 7, "beta": 10, "gamma": 25, "delta": 28}
"""Which cell each concept is, counted row by row on a grid of 6 × 6."""
WEIGHTS = np.array([[3.0, -2.0, 0.5, 0.0], [0.0, 0.0, 2.0, 1.0]], np.float32)
"""What each concept weighs in the answers 'first' and 'second'."""
BIAS = np.array([0.25, -1.0], np.float32)
GRID, CELL = 6, 5
SIZE = GRID * CELL
Head = Literal["affine", "curved"]


def concept_package(
    folder: Path, *, named: bool = True, head: Head = "affine", name: str = "cells", embedding: bool = True
) -> Path:
    """image → mean of each cell → rotated embedding → 4 concepts → head → two targets.

    `named`: whether the manifest names the concepts; `embedding`: whether it names the embedding. A `curved` head is
    a leaky bend of each weighted sum.
    """
    path = folder / name / "1.0.0"
    path.mkdir(parents=True)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(GRID**2, GRID**2)))[0].astype(np.float32)
    weights = {
        "kernel": np.full((1, 1, CELL, CELL), 12 / CELL**2, np.float32),
        "shift": np.array([-6.0], np.float32),
        "rotation": rotation,
        "back": np.ascontiguousarray(rotation[:, list(CELLS.values())]),
        "weight": WEIGHTS,
        "offset": BIAS,
        "lean": np.array([0.3], np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "shift"], ["cells"], strides=[CELL, CELL]),
        helper.make_node("Flatten", ["cells"], ["flat"]),
        helper.make_node("Gemm", ["flat", "rotation"], ["embedding"], transB=1),
        helper.make_node("MatMul", ["embedding", "back"], ["concepts"]),
        helper.make_node("Gemm", ["concepts", "weight", "offset"], ["sums"], transB=1),
    ]
    if head == "curved":
        nodes += [
            helper.make_node("Relu", ["sums"], ["bent"]),
            helper.make_node("Mul", ["sums", "lean"], ["leaning"]),
            helper.make_node("Add", ["bent", "leaning"], ["logits"]),
        ]
    else:
        nodes[-1].output[0] = "logits"
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path / "model.onnx")
    manifest = {
        "name": name,
        "version": "1.0.0",
        "title": "Cells",
        "manufacturer": "WhyRay tests",
        "task": "multi-label",
        "licence": "Apache-2.0",
        "intended_use": "Tests only.",
        "input": {"name": "image", "shape": [SIZE, SIZE]},
        "output": {"name": "logits", "activation": "sigmoid", **({"embedding": "embedding"} if embedding else {})},
        "targets": [{"name": "first"}, {"name": "second"}],
    }
    if named:
        manifest["concepts"] = {"output": "concepts", "names": [{"name": cell} for cell in CELLS]}
    (path / "model.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    (path / "MODEL_CARD.md").write_text("# Cells\n")
    return path


def model_of(path: Path) -> Model:
    return load_package(path, options=RuntimeOptions(device="cpu", intra_op_threads=1))


def images(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(N, 1, 30, 30) with cells of random brightness and noise, and the brightness of the four that count (N, 4)."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(0.2, 0.8, (count, GRID, GRID)).astype(np.float32)
    grid = levels.repeat(CELL, axis=1).repeat(CELL, axis=2)[:, None]
    noisy = grid + rng.normal(0, 0.05, grid.shape)
    return noisy.astype(np.float32), levels.reshape(count, -1)[:, list(CELLS.values())]


def examples(count: int = 240, seed: int = 0) -> Examples:
    """Each cell is bright or not, one concept is dealt out at random; and three measures, one of them random."""
    x, levels = images(count, seed)
    rng = np.random.default_rng((seed, 9))
    values = np.column_stack(
        [levels > 0.5, rng.random(count) > 0.5, levels[:, 0] * 100, levels[:, 1], rng.normal(size=count)]
    ).astype(np.float64)
    concepts = (
        *(Concept(name, "presence", 0) for name in (*CELLS, "coin")),
        Concept("alpha level", "measure", 0, unit="%"),
        Concept("beta level", "measure", 0),
        Concept("noise", "measure", 0),
    )
    score = levels @ WEIGHTS.T
    return Examples(
        [image[None] for image in x],
        concepts,
        values,
        (score > np.median(score, axis=0)).astype(np.float64),
        np.arange(count),
    )


def with_bank(
    path: Path, made: Examples | None = None, recipe: ConceptRecipe | None = None
) -> tuple[Model, ConceptBank]:
    """Fit the concepts of a package and leave the artefact in its onboarding folder."""
    model = model_of(path)
    bank = fit_bank(model, made or examples(), recipe or ConceptRecipe(), lambda *_: None)
    details, arrays = held(bank)
    facts = ArtefactFacts(
        kind=KIND,
        graph=graph_digest(model),
        package=model.identity,
        made=date(2026, 1, 2),
        count=bank.count,
        source="planted",
        licence="Apache-2.0",
        details=details,
    )
    write_artefact(path / "onboarding" / f"{KIND}.npz", facts, arrays)
    return model_of(path), bank
