"""A linear classifier beside a linear autoencoder: what a latent shift must find is known in closed form.

Pictures are D(z) = 0.5 + W z, latents E(x) = W⁺ (x - 0.5) + `off`, logits f(x) = V (x - 0.5) + b.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

LATENTS = 6
TARGETS = ("one", "two")
THRESHOLD = 0.4


@dataclass(frozen=True)
class Pair:
    """The classifier's folder and what it and its autoencoder are made of.

    decoder: W (pixels of the autoencoder's grid, latents); weights: V (targets, pixels of the classifier's grid).
    """

    folder: Path
    decoder: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    size: int
    small: int


def linear_pair(
    root: Path, *, size: int = 16, small: int = 16, off: float = 0.0, blind: bool = False, fit: str = "pad"
) -> Pair:
    """Write both packages under `root`. `off` is added to what the encoder says; a `blind` decoder gives back grey."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(LATENTS, 4, 4))
    decoder = (
        np.stack([np.kron(pattern, np.ones((small // 4, small // 4))).ravel() for pattern in coarse], axis=1) * 0.02
    )
    told = np.zeros_like(decoder) if blind else decoder
    encoder = np.linalg.pinv(decoder)
    weights = rng.normal(size=(len(TARGETS), size * size)) * 4 / size
    bias = np.array([-0.4, 0.3])
    write(
        root / "planted-autoencoder" / "1.0.0",
        small,
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Gemm", ["flat", "encoder", "before"], ["latents"], transB=1),
            helper.make_node("Gemm", ["latents", "decoder", "grey"], ["picture"], transB=1),
            helper.make_node("Reshape", ["picture", "shape"], ["reconstruction"]),
        ],
        {
            "encoder": encoder.astype(np.float32),
            "before": (off - encoder @ np.full(small * small, 0.5)).astype(np.float32),
            "decoder": told.astype(np.float32),
            "grey": np.full(small * small, 0.5, np.float32),
            "shape": np.array([-1, 1, small, small]),
        },
        "reconstruction",
        {"task": "autoencoder", "output": {"name": "reconstruction", "activation": "none", "embedding": "latents"}},
        fit,
    )
    folder = root / "planted-linear" / "1.0.0"
    write(
        folder,
        size,
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"], transB=1),
        ],
        {"weights": weights.astype(np.float32), "bias": (bias - weights.sum(axis=1) * 0.5).astype(np.float32)},
        "logits",
        {
            "task": "multi-label",
            "output": {"name": "logits", "activation": "sigmoid"},
            "targets": [{"name": target, "threshold": THRESHOLD} for target in TARGETS],
            "companions": {"autoencoder": "planted-autoencoder@1"},
        },
        "pad",
    )
    return Pair(folder, decoder, weights, bias, size, small)


def write(
    folder: Path,
    size: int,
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    output: str,
    manifest: dict[str, object],
    fit: str = "pad",
) -> None:
    """One planar package of one channel in 0..1."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = ["N", 1, size, size] if manifest["task"] == "autoencoder" else ["N", len(TARGETS)]
    graph = helper.make_graph(
        nodes,
        "planted",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, size, size])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    about = {"name": folder.parent.name, "version": folder.name, "title": "Planted", "manufacturer": "WhyRay tests"}
    about |= {"licence": "Apache-2.0", "intended_use": "Tests only."}
    given = {"input": {"name": "image", "shape": [size, size], "fit": fit}}
    (folder / "model.yaml").write_text(yaml.safe_dump(about | given | manifest, sort_keys=False))
    (folder / "MODEL_CARD.md").write_text("# Planted\n\nFor tests only.\n")
