"""What the frozen ImageNet backbone says about augmented copies of each radiograph: computed once, trained on often.

ONNX Runtime computes them, several times faster than torch on a CPU.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from whyray_training.cxr_augment import augment, plain
from whyray_training.efficientnet_lite import dense_imagenet_features
from whyray_training.package import export_graph

INPUT_SIZE = 224
GRID = INPUT_SIZE // 16
BATCH = 16
HalfArray = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Backbone:
    """The frozen features as an ONNX Runtime session: (N, 1, 224, 224) in 0..1 to (N, 304, 14, 14)."""

    session: onnxruntime.InferenceSession

    def __call__(self, pixels: torch.Tensor) -> HalfArray:
        """Activations as float16: their range is small, and thousands of them stay in memory."""
        return np.asarray(self.session.run(None, {"image": pixels.numpy()})[0], np.float16)


@lru_cache(maxsize=1)
def frozen_backbone(threads: int) -> Backbone:
    """The ImageNet backbone, exported and checked against torch, once in a process: the export takes ten seconds."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "backbone.onnx"
        export_graph(dense_imagenet_features(), torch.rand(1, 1, INPUT_SIZE, INPUT_SIZE), path, ("features",))
        return Backbone(onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"]))


def activations(
    images: npt.NDArray[np.uint8],
    copies: int,
    seed: int,
    backbone: Backbone,
    tell: Callable[[int], None],
    kept: Path | None = None,
) -> HalfArray:
    """(N, H, W) uint8 to (1 + copies, N, 304, 14, 14): the image as it is, then augmented ones.

    `tell(images)` after each batch. With `kept`, a folder, the answer for the same images, copies and seed is read
    from there, or left there for the next run.
    """
    path = None if kept is None else kept / f"{_digest(images, copies, seed)}.npy"
    if path is not None and path.exists():
        tell((1 + copies) * len(images))
        return np.asarray(np.load(path))
    random = torch.Generator().manual_seed(seed)
    by_copy = []
    for copy in range(1 + copies):
        parts = []
        for batch in torch.from_numpy(images).split(BATCH):
            parts.append(backbone(augment(batch, INPUT_SIZE, random) if copy else plain(batch, INPUT_SIZE)))
            tell(len(batch))
        by_copy.append(np.concatenate(parts))
    answer = np.stack(by_copy)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, answer)
    return answer


def _digest(images: npt.NDArray[np.uint8], copies: int, seed: int) -> str:
    sources = [Path(__file__).with_name(name).read_bytes() for name in ("cxr_augment.py", "efficientnet_lite.py")]
    return hashlib.sha256(b"".join([*sources, images.tobytes(), f"{copies} {seed}".encode()])).hexdigest()[:20]
