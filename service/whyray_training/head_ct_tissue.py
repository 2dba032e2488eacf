"""Train the head-CT package: `python -m whyray_training.head_ct_tissue --data DIR --out DIR`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import Progress, track
from torch import Tensor
from torch.nn import functional

from whyray.demo.phantom import Scan
from whyray.packages import InputSpec, Manifest
from whyray_training import figures
from whyray_training.head_ct_card import head_card, head_manifest
from whyray_training.head_ct_data import Case, demo_head, label_source, on_grid, random_head, random_scan, read_volume
from whyray_training.head_ct_labels import BONE, BONE_HU, CLASSES, SOFT_TISSUE, TISSUE_HU
from whyray_training.head_ct_patches import patch_of
from whyray_training.package import export_graph, write_package
from whyray_training.unet3d import UNet3d

SERIES = ("ge-human-28-variable-tilt", "philips-phantom-28-5mm")
ZOOMS = (1.0, 0.9, 1.12)
"""Voxel sizes at which a real series is trained on; it is measured at the first."""
RATE, BATCH = 6e-3, 4


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds head-ct/.")],
    out: Annotated[Path, typer.Option(help="Package folder NAME/VERSION to write; made where it is missing.")],
    steps: Annotated[int, typer.Option(help="Steps on phantoms; each of three networks adds half of them.")] = 500,
    phantoms: Annotated[int, typer.Option(help="Procedural heads of each of two kinds to draw.")] = 12,
    seed: Annotated[int, typer.Option(help="Of phantoms, weights, patches.")] = 0,
    threads: Annotated[int, typer.Option(help="Torch threads; on cores that others use, one is the fastest.")] = 1,
) -> None:
    """Train the head-CT network, measure it on each series that it did not see, and write the package.

    Takes about ten minutes on one core. The images stay where they are: weights and figures are written.
    """
    torch.set_num_threads(threads)
    console = Console()
    random = np.random.default_rng(seed)
    spec = Manifest.model_validate(head_manifest()).input
    real = {name: _real_series(data / "head-ct" / name, spec) for name in track(SERIES, "series", console=console)}
    drawn = [random_head(random) for _ in track(range(phantoms), "phantoms", console=console)]
    drawn += [demo_head(random_scan(random), spec) for _ in track(range(phantoms), "demo's heads", console=console)]
    unseen = demo_head(Scan(), spec)
    held_out = {}
    with Progress(console=console) as progress:
        first = train(UNet3d(len(CLASSES)), [drawn], steps, seed, progress, "phantoms")
        for name in SERIES:
            rest = [case for other, cases in real.items() if other != name for case in cases]
            network = train(first, [drawn, rest], steps // 2, seed, progress, f"without {name}")
            held_out[name] = measure(network, real[name][0], seed)
            progress.console.print(name, held_out[name])
        network = train(first, [drawn, *real.values()], steps // 2, seed, progress, "all series")
    seen = {name: measure(network, cases[0], seed) for name, cases in real.items()}
    seen["demo's head (seed not trained on)"] = measure(network, unseen, seed)
    console.print(seen)
    out.mkdir(parents=True, exist_ok=True)
    example = torch.from_numpy(real[SERIES[0]][0].image)[None, None]
    metrics = {
        "recipe": {"steps": steps, "more_steps": steps // 2, "seed": seed, "rate": RATE, "batch": BATCH},
        "data": {"phantoms": phantoms, "parameters": sum(parameter.numel() for parameter in network.parameters())},
        "held_out": held_out,
        "shipped": seen,
        "onnx_parity": export_graph(network, example, out / "model.onnx", ("logits", "features")),
    }
    write_package(out, head_manifest(), metrics, head_card(metrics))


def train(start: UNet3d, sources: list[list[Case]], steps: int, seed: int, progress: Progress, title: str) -> UNet3d:
    """Go on from the weights of `start`, which stays as it is; each of `sources` gives equally many patches."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed + 1)
    network: UNet3d = copy.deepcopy(start)
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1)
    bar = progress.add_task(title, total=steps)
    for step in range(steps):
        chosen = [sources[(step * BATCH + item) % len(sources)] for item in range(BATCH)]
        patches = [patch_of(cases[random.integers(len(cases))], random) for cases in chosen]
        image, truth = (torch.stack(part) for part in zip(*patches, strict=True))
        loss = _loss(network(image)[0], truth)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        progress.update(bar, advance=1, description=f"{title}: loss {float(loss.detach()):.3f}")
        if step % 50 == 0:
            progress.console.print(f"{title}: step {step} loss {float(loss.detach()):.3f}")
    _settle(network, sources)
    network.eval()
    return network


def measure(network: UNet3d, case: Case, seed: int) -> dict[str, Any]:
    """Dice against the derived labels, of the network and of a HU threshold, on the grid that the service uses."""
    with torch.no_grad():
        answer = network(torch.from_numpy(case.image)[None, None])[0][0].argmax(dim=0).numpy()
    rules = {SOFT_TISSUE: (case.hu > TISSUE_HU) & (case.hu <= BONE_HU), BONE: case.hu > BONE_HU}
    dice_by_class = {}
    for number, rule in rules.items():
        mine, right, plain = (mask & case.valid for mask in (answer == number, case.labels == number, rule))
        shown = np.flatnonzero(right.any(axis=(1, 2)))
        per_slice = np.array([figures.dice(right[k], mine[k]) for k in shown])
        dice_by_class[CLASSES[number]] = {
            "whole": figures.rounded(figures.dice(right, mine)),
            "slices": len(shown),
            "mean_of_slices": figures.bootstrap(
                lambda cases, values=per_slice: float(values[cases].mean()),  # type: ignore[misc]
                len(shown),
                seed,
            ),
            "threshold_rule": figures.rounded(figures.dice(right, plain)),
        }
    return dice_by_class


def _real_series(folder: Path, spec: InputSpec) -> list[Case]:
    image = read_volume(folder)
    labels = label_source(image)
    return [on_grid(image, labels, spec, zoom) for zoom in ZOOMS]


def _settle(network: UNet3d, sources: list[list[Case]]) -> None:
    """Take the statistics of batch normalisation from whole heads, as the service sends them."""
    norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm3d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over what follows
    with torch.no_grad():
        for cases in sources:
            for case in cases[:: max(1, len(cases) // 6)]:
                network(torch.from_numpy(case.image)[None, None])
    for norm in norms:
        norm.momentum = 0.1


def _loss(answer: Tensor, truth: Tensor) -> Tensor:
    share = functional.softmax(answer, dim=1)
    wanted = functional.one_hot(truth, len(CLASSES)).movedim(-1, 1).float()
    axes = (0, 2, 3, 4)
    overlap = (2 * (share * wanted).sum(axes) + 10) / (share.sum(axes) + wanted.sum(axes) + 10)
    return functional.cross_entropy(answer, truth) + 1 - overlap.mean()


if __name__ == "__main__":
    typer.run(main)
