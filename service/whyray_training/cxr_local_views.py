"""What frozen networks say of each radiograph and of its copies: computed once, so that heads train in minutes."""

from __future__ import annotations

import hashlib
import inspect
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from whyray.base.arrays import BoolArray
from whyray_training import cxr_augment
from whyray_training.cxr_local_net import (
    CHANNELS,
    GRID,
    INPUT_SIZE,
    Anatomy,
    DenseStages,
    bundled_anatomy,
    lung_field,
    positions,
    standardised,
)
from whyray_training.efficientnet_lite import imagenet_backbone
from whyray_training.package import export_graph

BATCH = 8
_SCALED_ON = 200
Disturbance = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Images (N, 512, 512) uint8 and marks (N, K, 512, 512) to (N, 1, 448, 448) in 0..1 and marks (N, K, ...)."""


@dataclass(frozen=True)
class View:
    """One copy of each radiograph in `rows`, as the frozen networks see it.

    features: (n, 28, 28, 424) float16, standardised; places: (n, 11, 28, 28); field: (n, F, 28, 28), what counts;
    marks: (n, K, 28, 28) share of each cell that boxes cover, moved with the image; at: row of the data to row here.
    """

    features: Tensor
    places: Tensor
    field: Tensor
    marks: Tensor
    at: dict[int, int]


@dataclass(frozen=True)
class Frozen:
    """Features and anatomy as ONNX Runtime sessions, and the features' scale: centre and spread (424,)."""

    stages: onnxruntime.InferenceSession
    anatomy: onnxruntime.InferenceSession
    centre: Tensor
    spread: Tensor


def frozen_networks(images: NDArray[np.uint8], threads: int) -> Frozen:
    """Both networks exported, and the scale of the features on two hundred images as they are (labels play no part)."""
    example = torch.rand(1, 1, INPUT_SIZE, INPUT_SIZE)
    stages = _session(DenseStages(imagenet_backbone()), example, threads)
    anatomy = _session(Anatomy(bundled_anatomy()), example, threads)
    chosen = np.random.default_rng(0).choice(len(images), min(_SCALED_ON, len(images)), replace=False)
    seen = [
        torch.from_numpy(stages.run(None, {"image": cxr_augment.plain(part, INPUT_SIZE).numpy()})[0]).half().float()
        for part in torch.from_numpy(images[np.sort(chosen)]).split(BATCH)
    ]
    every = torch.cat(seen)
    return Frozen(stages, anatomy, every.mean(dim=(0, 2, 3)), every.std(dim=(0, 2, 3), unbiased=False) + 1e-3)


def view(
    frozen: Frozen,
    images: NDArray[np.uint8],
    rows: NDArray[np.int64],
    marks: Callable[[int], Sequence[BoolArray]],
    disturbance: Disturbance,
    name: str,
    tell: Callable[[int], None],
    kept: Path | None = None,
    field: Callable[[Tensor], Tensor] = lung_field,
) -> View:
    """The radiographs `rows`, each moved by `disturbance` together with its `marks(row)`: K masks (512, 512).

    `field` says where answers count: anatomy (N, 5, 56, 56) to (N, F, 28, 28).

    With `kept`, a folder, features of the same images under the same name are read from there, or left there.
    """
    path = None if kept is None else kept / f"{name}-{_digest(images, rows, name)}.npy"
    aside = None if path is None else path.with_suffix(".npz")
    at = {int(row): index for index, row in enumerate(rows)}
    if path is not None and aside is not None and path.exists() and aside.exists():
        features = torch.from_numpy(np.load(str(path), mmap_mode="r+"))
        with np.load(str(aside)) as known:
            anatomy, moved = torch.from_numpy(known["anatomy"]).float(), torch.from_numpy(known["marks"]).float()
        tell(len(rows))
        return View(features, positions(anatomy), field(anatomy), moved, at)
    ready = path is not None and path.exists()
    stored = np.load(str(path), mmap_mode="r+") if ready else np.zeros((len(rows), GRID, GRID, CHANNELS), np.float16)
    centre, spread = frozen.centre.reshape(1, -1, 1, 1), frozen.spread.reshape(1, -1, 1, 1)
    probabilities, moved_marks = [], []
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        masks = torch.from_numpy(np.stack([np.stack(marks(int(row))) for row in part])).float()
        pixels, masks = disturbance(torch.from_numpy(images[part]), masks)
        if not ready:
            seen = torch.from_numpy(frozen.stages.run(None, {"image": pixels.numpy()})[0]).half().float()
            stored[start : start + BATCH] = standardised(seen, centre, spread).permute(0, 2, 3, 1).numpy()
        probabilities.append(torch.from_numpy(frozen.anatomy.run(None, {"image": pixels.numpy()})[0]).half())
        moved_marks.append(functional.adaptive_avg_pool2d(masks, GRID).half())
        tell(len(part))
    anatomy, moved = torch.cat(probabilities), torch.cat(moved_marks)
    if path is not None and aside is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not ready:
            np.save(path, stored)
        np.savez(aside, anatomy=anatomy.numpy(), marks=moved.numpy())
    anatomy = anatomy.float()
    return View(torch.from_numpy(stored), positions(anatomy), field(anatomy), moved.float(), at)


def as_it_is(images: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
    """The image as it is."""
    return cxr_augment.plain(images, INPUT_SIZE), marks


def mirrored(images: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
    """The image mirrored: an opacity is one on either side."""
    return cxr_augment.plain(images, INPUT_SIZE).flip(-1), marks.flip(-1)


def disturbed(seed: int) -> Disturbance:
    """Another pose, window, sharpness, border and noise for every image, half of them mirrored."""
    random = torch.Generator().manual_seed(seed)

    def moved(images: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
        return cxr_augment.augment_with_marks(images, marks, INPUT_SIZE, random)

    return moved


def _session(module: torch.nn.Module, example: Tensor, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frozen.onnx"
        export_graph(module, example, path, ("answer",))
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _digest(images: NDArray[np.uint8], rows: NDArray[np.int64], name: str) -> str:
    sources = [Path(__file__).with_name(file).read_bytes() for file in ("cxr_augment.py", "efficientnet_lite.py")]
    stages = inspect.getsource(DenseStages).encode()
    digest = hashlib.sha256(b"".join([*sources, stages, name.encode(), rows.tobytes()]))
    digest.update(images.tobytes())
    return digest.hexdigest()[:16]
