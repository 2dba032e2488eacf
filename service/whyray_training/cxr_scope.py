"""Train the scope package for chest radiographs: `python -m whyray_training.cxr_scope --data DIR --out DIR`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from torch.nn import functional

from whyray.base.arrays import FloatArray
from whyray.imaging import read_images, to_model, wrap_picture
from whyray.inference import RuntimeOptions, load_package
from whyray.onboarding.scope_fitting import scope_artefact
from whyray.packages import write_artefact
from whyray.quality.scope import SCOPE, odds_against
from whyray_training.cxr_scope_card import scope_card, scope_manifest
from whyray_training.cxr_scope_foreign import Bytes
from whyray_training.cxr_scope_images import CLASSES, STORED, Examples
from whyray_training.cxr_scope_net import ScopeNet
from whyray_training.package import export_graph, name_artefact, write_package

PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "chelsea.png",
    "coffee.png",
    "grass.png",
    "ihc.png",
    "page.png",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "color.png",
)
"""Of scikit-image's own pictures those that are learned from; others are kept for judging."""
BATCH = 96
RATE = 4e-3
LICENCE = "CC0 1.0: what was learned from ChestX-ray14 (NIH Clinical Center), no image and no picture among it"


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr and nih-cxr-boxes.")],
    out: Annotated[Path, typer.Option(help="Package folder NAME/VERSION to write; made where it is missing.")],
    steps: Annotated[int, typer.Option(help="Steps of training.")] = 2500,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    weights: Annotated[Path | None, typer.Option(help="Weights of an earlier run (.pt) in place of training.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many images: a trial run.")] = None,
) -> None:
    """Learn from three fifths of the patients, set what is usual on one fifth, measure on the last.

    Takes about eight minutes on one core. The images stay where they are: weights and figures are written.
    """
    torch.set_num_threads(1)
    console = Console()
    files, patients = _radiographs(data, limit)
    learned, apart, judged = (parts_by_patient(patients, seed) == part for part in range(3))
    pictures = np.stack([_stored(file) for file in files])
    network = ScopeNet()
    if weights is None:
        network = train(pictures[learned], photographs(), steps, seed, console)
    else:
        network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval()
    by_kind = _by_kind(network, Examples(pictures[judged], photographs(), seed + 1))
    out.mkdir(parents=True, exist_ok=True)
    example = torch.from_numpy(pictures[:1]).float()[:, None] / 255
    parity = export_graph(
        network, functional.avg_pool2d(example, 2), out / "model.onnx", ("logits", "features", "embedding")
    )
    counts = {"learned": learned.sum(), "apart": apart.sum(), "judged": judged.sum(), "patients": len(set(patients))}
    metrics: dict[str, Any] = {
        "seed": seed,
        "recipe": {"steps": steps, "batch": BATCH, "rate": RATE},
        "data": {name: int(value) for name, value in counts.items()},
        "parameters": sum(weights.numel() for weights in network.parameters()),
        "right": by_kind,
        "onnx_parity": parity,
    }
    write_package(out, {**scope_manifest(), "artefacts": {}}, metrics, scope_card(metrics))
    model = load_package(out, options=RuntimeOptions(device="cpu", intra_op_threads=1, cache=None))
    spec = model.manifest.input

    def inputs(chosen: np.ndarray) -> Iterator[FloatArray]:
        for index in np.flatnonzero(chosen):
            (image,) = read_images([wrap_picture(files[index])]).images
            yield to_model(image, spec.model_copy(update={"modalities": ()})).tensor

    facts, arrays = scope_artefact(
        model,
        inputs(learned),
        inputs(apart),
        source="ChestX-ray14, patients kept apart from those that the network learned from",
        licence=LICENCE,
        made=date(2026, 11, 29),
    )
    write_artefact(out / f"{SCOPE}.npz", facts, arrays)
    name_artefact(out, SCOPE, f"{SCOPE}.npz")
    runs = [model.session.run(model.network.checked_input(x)) for x in inputs(judged)]
    odds = np.concatenate([odds_against(run.logits) for run in runs])
    above = {
        f"{percentile:g}": float(np.mean(odds > np.percentile(arrays["odds"], percentile)))
        for percentile in (95, 98, 99)
    }
    metrics["refused"] = {name: round(value, 4) for name, value in above.items()}
    console.print(metrics)
    write_package(out, scope_manifest(), metrics, scope_card(metrics))


def train(radiographs: Bytes, pictures: list[Bytes], steps: int, seed: int, console: Console) -> ScopeNet:
    """The network after `steps` batches of AdamW with a one-cycle rate; cross entropy with labels smoothed by 2 %."""
    torch.manual_seed(seed)
    examples, network = Examples(radiographs, pictures, seed), ScopeNet()
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for step in range(steps):
        images, kinds = examples.batch(BATCH)
        loss = functional.cross_entropy(network(images)[0], kinds, label_smoothing=0.02)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            console.print(f"step {step} of {steps}, loss {loss.item():.3f}")
    return network


def parts_by_patient(patients: np.ndarray, seed: int) -> np.ndarray:
    """For each image 0, 1 or 2: three fifths of the patients to learn from, one fifth apart, one to judge by."""
    shuffled = np.random.default_rng(seed).permutation(np.unique(patients))
    part = {
        int(patient): int(place >= 0.6 * len(shuffled)) + int(place >= 0.8 * len(shuffled))
        for place, patient in enumerate(shuffled)
    }
    return np.array([part[int(patient)] for patient in patients])


def photographs() -> list[Bytes]:
    """Grey pictures that come with scikit-image, which is needed for training alone."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    return [np.asarray(Image.open(folder / name).convert("L")) for name in PHOTOGRAPHS]


def _radiographs(data: Path, limit: int | None) -> tuple[list[Path], np.ndarray]:
    """Files and patient numbers of both folders."""
    import csv

    files: list[Path] = []
    patients: list[int] = []
    for folder in (data / "nih-cxr", data / "nih-cxr-boxes"):
        with (folder / "labels.csv").open(newline="") as file:
            for row in list(csv.DictReader(file))[:limit]:
                files.append(folder / "images" / row["Image Index"])
                patients.append(int(row["Patient ID"]))
    return files, np.array(patients)


def _stored(file: Path) -> Bytes:
    picture = Image.open(file).convert("L").resize((2 * STORED, 2 * STORED), Image.Resampling.BOX)
    quarters = np.asarray(picture, np.float32).reshape(STORED, 2, STORED, 2).mean(axis=(1, 3))
    return np.asarray(quarters.round(), np.uint8)


def _by_kind(network: ScopeNet, examples: Examples, batches: int = 30) -> dict[str, float]:
    """By class: the share of images of patients apart that are named rightly."""
    told, wanted = [], []
    with torch.no_grad():
        for _ in range(batches):
            images, kinds = examples.batch(BATCH)
            told.append(network(images)[0].argmax(dim=1).numpy())
            wanted.append(kinds.numpy())
    named, true = np.concatenate(told), np.concatenate(wanted)
    return {name: round(float(np.mean(named[true == index] == index)), 4) for index, name in enumerate(CLASSES)}


if __name__ == "__main__":
    typer.run(main)
