"""From a trained torch module to a package's files: one ONNX graph, its manifest, its figures, its card."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import yaml

from whyray.packages import ONBOARDING, Manifest

LARGEST = 12_000_000
"""Bytes: a package's graph stays small enough to live in the repository."""
HALVED = 1 << 16


def export_graph(
    module: torch.nn.Module, example: torch.Tensor, path: Path, names: tuple[str, ...], *, half_weights: bool = False
) -> dict[str, float]:
    """Write `module` as ONNX with a dynamic batch, all weights in the one file.

    `names` names the tensors that the module returns; the first is the graph's output, the others stay inside it
    under these names, so that explanations can tap them. With `half_weights`, weights of HALVED numbers and more are
    rounded to float16 in `module`, kept so in the file, and widened to float32 when it loads. Returns the largest
    differences that were measured:
    `torch` (ONNX Runtime against torch) and `batch` (three items at once against one by one).
    Raises RuntimeError where either is above 1e-3 of the answer's scale. An onboarding report beside the file is taken
    away: `python -m whyray_training.onboard_bundled` makes one of the new graph.
    """
    module.eval()
    if half_weights:
        _round_to_half(module)
    batch = torch.cat([example, example.flip(-1), example * 0.5])
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.onnx"
        torch.onnx.export(
            module,
            (batch,),
            draft,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["image"],
            output_names=list(names),
            external_data=False,
            verbose=False,
        )
        model = onnx.load(draft)
    _keep_first_output(model)
    if half_weights:
        halve_weights(model)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    # What onboarding measured was of the graph that lay here; a report of another one is refused wherever it is read.
    shutil.rmtree(path.parent / ONBOARDING, ignore_errors=True)
    if path.stat().st_size > LARGEST:
        raise RuntimeError(f"{path.name} has {path.stat().st_size} bytes, more than {LARGEST}")
    return _parity(module, batch, path)


def write_package(folder: Path, manifest: dict[str, Any], metrics: dict[str, Any], card: str) -> None:
    """Write model.yaml (after validating it), metrics.json and MODEL_CARD.md beside the graph."""
    _write_manifest(folder, manifest)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    (folder / "MODEL_CARD.md").write_text(card)


def name_artefact(folder: Path, kind: str, file: str) -> None:
    """Name an artefact that lies in the package in its model.yaml; whatever else that says stays."""
    manifest = yaml.safe_load((folder / "model.yaml").read_text("utf-8"))
    artefacts = {**manifest.get("artefacts", {}), kind: file}
    _write_manifest(folder, {**manifest, "artefacts": dict(sorted(artefacts.items()))})


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    Manifest.model_validate(manifest)
    text = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    (folder / "model.yaml").write_text(f"# Written by whyray_training; MODEL_CARD.md tells what was measured.\n{text}")


def _keep_first_output(model: onnx.ModelProto) -> None:
    inner = list(model.graph.output)[1:]
    del model.graph.output[1:]
    known = {value.name for value in model.graph.value_info}
    model.graph.value_info.extend(value for value in inner if value.name not in known)
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


def _round_to_half(module: torch.nn.Module) -> None:
    with torch.no_grad():
        for weight in module.parameters():
            if weight.numel() >= HALVED:
                weight.copy_(weight.half().float())


def halve_weights(model: onnx.ModelProto) -> None:
    """Large weights as float16, each with a Cast behind it that gives back its name."""
    casts = []
    for place, weight in enumerate(model.graph.initializer):
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < HALVED:
            continue
        half = onnx.numpy_helper.from_array(values.astype(np.float16), f"{weight.name}_half")
        casts.append(onnx.helper.make_node("Cast", [half.name], [weight.name], to=onnx.TensorProto.FLOAT))
        model.graph.initializer[place].CopyFrom(half)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _parity(module: torch.nn.Module, batch: torch.Tensor, path: Path) -> dict[str, float]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    array = batch.numpy()
    together = session.run(None, {"image": array})[0]
    singles = np.concatenate([session.run(None, {"image": array[i : i + 1]})[0] for i in range(len(array))])
    with torch.no_grad():
        expected = module(batch)[0].numpy()
    scale = float(np.abs(expected).max()) + 1e-12
    differences = {
        "torch": float(np.abs(together - expected).max()) / scale,
        "batch": float(np.abs(together - singles).max()) / scale,
    }
    if max(differences.values()) > 1e-3:
        raise RuntimeError(f"{path.name}: ONNX Runtime differs from torch or from itself: {differences}")
    return {name: float(f"{value:.1e}") for name, value in differences.items()}
