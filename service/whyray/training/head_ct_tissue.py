"""Train the head-CT package: `python -m whyray.training.head_ct_tissue --data DIR --out DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import typer
from rich.console import Console
from rich.progress import Progress, track
from torch import Tensor
from torch.nn import functional

from whyray.imaging import read_images, to_model
from whyray.models.manifest import Manifest
from whyray.training import figures
from whyray.training.head_ct_card import head_card, head_manifest
from whyray.training.head_ct_data import SHAPE, load_series, sample
from whyray.training.head_ct_labels import BONE, BONE_HU, CLASSES, SOFT_TISSUE, TISSUE_HU
from whyray.training.head_ct_patches import Head, Labelled, labelled, patch_of_head, patch_of_series, random_head
from whyray.training.package import export_graph, write_package
from whyray.training.unet3d import UNet3d

SERIES = ("ge-human-28-variable-tilt", "philips-phantom-28-5mm")
RATE = 4e-3


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds head-ct/.")],
    out: Annotated[Path, typer.Option(help="Package folder NAME/VERSION to write; made where it is missing.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps of each of the three trainings.")] = 300,
    phantoms: Annotated[int, typer.Option(help="Procedural heads to draw.")] = 24,
    seed: Annotated[int, typer.Option(help="Of phantoms, weights, patches.")] = 0,
    threads: Annotated[int, typer.Option(help="Torch threads.")] = 2,
) -> None:
    """Train the head-CT network, measure it on each series that it did not see, and write the package.

    Takes about ten minutes on two cores. The images stay where they are: weights and figures are written.
    """
    torch.set_num_threads(threads)
    console = Console()
    random = np.random.default_rng(seed)
    sources = {name: labelled(load_series(data / "head-ct" / name)) for name in SERIES}
    heads = [random_head(random) for _ in track(range(phantoms), "phantoms", console=console)]
    held_out = {}
    with Progress(console=console) as progress:
        for name in SERIES:
            rest = [source for other, source in sources.items() if other != name]
            network = train(rest, heads, steps, seed, progress, f"without {name}")
            held_out[name] = measure(network, data / "head-ct" / name, sources[name], seed)
            progress.console.print(name, held_out[name]["whole"], held_out[name]["dice"])
        network = train(list(sources.values()), heads, steps, seed, progress, "all series")
    out.mkdir(parents=True, exist_ok=True)
    example = torch.from_numpy(_model_input(data / "head-ct" / SERIES[0])[0])
    metrics = {
        "recipe": {"steps": steps, "seed": seed, "rate": RATE},
        "data": {
            "phantoms": phantoms,
            "phantoms_note": "no two patches of them are the same",
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
        },
        "held_out": held_out,
        "onnx_parity": export_graph(network, example, out / "model.onnx", ("logits", "features")),
    }
    write_package(out, head_manifest(), metrics, head_card(metrics))


def train(sources: list[Labelled], heads: list[Head], steps: int, seed: int, progress: Progress, title: str) -> UNet3d:
    """One network, from patches of `sources` and `heads` in equal parts."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed + 1)
    network = UNet3d(len(CLASSES))
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1)
    bar = progress.add_task(title, total=steps)
    for _ in range(steps):
        patches = [
            patch_of_series(sources[random.integers(len(sources))], random),
            patch_of_head(heads[random.integers(len(heads))], random),
        ]
        image, truth = (torch.stack(part) for part in zip(*patches, strict=True))
        loss = _loss(network(image)[0], truth)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        progress.update(bar, advance=1, description=f"{title}: loss {float(loss.detach()):.3f}")
    network.eval()
    return network


def measure(network: UNet3d, folder: Path, source: Labelled, seed: int) -> dict[str, Any]:
    """Dice of one series against its derived labels, on the grid and with the preprocessing of the service."""
    tensor, to_patient, valid = _model_input(folder)
    with torch.no_grad():
        answer = network(torch.from_numpy(tensor))[0][0].argmax(dim=0).numpy()
    indices = np.stack(np.meshgrid(*[np.arange(size) for size in SHAPE], indexing="ij"), axis=-1)
    points = indices @ to_patient[:3, :3].T + to_patient[:3, 3]
    places = source.series.indices(points)
    truth = sample(source.labels.astype(np.float32), places, 0, 0.0).astype(np.uint8)
    hu = sample(source.series.hu, places, 1, -1024.0)
    rules = {"soft-tissue": (hu > TISSUE_HU) & (hu <= BONE_HU), "bone": hu > BONE_HU}
    dice, slices, whole = {}, {}, {}
    for number, name in enumerate(CLASSES):
        mine, right = (answer == number) & valid, (truth == number) & valid
        shown = np.flatnonzero(right.any(axis=(1, 2)))
        per_slice = np.array([figures.dice(right[k], mine[k]) for k in shown])
        dice[name] = figures.bootstrap(lambda cases, values=per_slice: float(values[cases].mean()), len(shown), seed)  # type: ignore[misc]
        slices[name], whole[name] = len(shown), figures.rounded(figures.dice(right, mine))
    return {
        "dice": dice,
        "slices": slices,
        "whole": whole,
        "threshold_rule": {
            name: figures.rounded(figures.dice((truth == number) & valid, rules[name] & valid))
            for number, name in ((SOFT_TISSUE, "soft-tissue"), (BONE, "bone"))
        },
    }


def _model_input(folder: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    image = max(read_images(sorted(folder.iterdir())).images, key=lambda found: len(found.frames))
    prepared = to_model(image, Manifest.model_validate(head_manifest()).input)
    return prepared.tensor, prepared.grid.to_reference, prepared.valid


def _loss(answer: Tensor, truth: Tensor) -> Tensor:
    share = functional.softmax(answer, dim=1)
    wanted = functional.one_hot(truth, len(CLASSES)).movedim(-1, 1).float()
    axes = (0, 2, 3, 4)
    overlap = (2 * (share * wanted).sum(axes) + 10) / (share.sum(axes) + wanted.sum(axes) + 10)
    return functional.cross_entropy(answer, truth) + 1 - overlap.mean()


if __name__ == "__main__":
    typer.run(main)
