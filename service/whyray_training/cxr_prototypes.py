"""Train the prototype package: `python -m whyray_training.cxr_prototypes --data DIR --out DIR`."""

from __future__ import annotations

import dataclasses
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from whyray.base.arrays import DoubleArray
from whyray_training.cxr_activations import INPUT_SIZE, HalfArray, activations, frozen_backbone
from whyray_training.cxr_augment import plain
from whyray_training.cxr_data import Radiographs, load_radiographs, load_small_radiographs, patient_folds
from whyray_training.cxr_findings import SMALL_FOLDS, SMALL_HELD_OUT
from whyray_training.cxr_prototypes_card import prototypes_card, prototypes_manifest, target_figures
from whyray_training.cxr_prototypes_fit import Fitted, answers_of, fitted, truth
from whyray_training.cxr_prototypes_net import TARGETS, Recipe, whole
from whyray_training.cxr_student import Judge, embeddings, unfitted_judge
from whyray_training.package import export_graph, write_package
from whyray_training.reference_index import write_prototypes


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr and nih-cxr-64.")],
    out: Annotated[Path, typer.Option(help="Package folder NAME/VERSION to write; made where it is missing.")],
    made: Annotated[str, typer.Option(help="The day that the artefact names.")] = date(2026, 11, 23).isoformat(),
    folds: Annotated[int, typer.Option(help="Cross-validation folds, split by patient.")] = 5,
    limit: Annotated[int | None, typer.Option(help="Only the first so many images of each set: a trial run.")] = None,
    seed: Annotated[int, typer.Option(help="Of splits, candidates and augmentation.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch and of ONNX Runtime.")] = 2,
    pictures: Annotated[
        bool, typer.Option(help="Draw prototypes by the autoencoder that the manifest names, marked synthetic.")
    ] = True,
    keep: Annotated[
        Path | None, typer.Option(help="Folder where activations are left for the next run; outside the project.")
    ] = None,
) -> None:
    """Fit prototypes, measure them by cross-validation, calibrate, and write the package with its artefact.

    The images stay where they are: weights, figures, and drawings of the autoencoder are written.
    """
    torch.set_num_threads(threads)
    console, recipe = Console(), Recipe()
    radiographs = load_radiographs(data / "nih-cxr", limit)
    small = load_small_radiographs(data / "nih-cxr-64", limit)
    held_out = np.isin(patient_folds(small.patients, SMALL_FOLDS, seed), SMALL_HELD_OUT)
    scale, test = small.take(np.flatnonzero(~held_out)), small.take(np.flatnonzero(held_out))
    with Progress(console=console) as progress:
        seen, scale_seen, test_seen = (
            _seen(dataset, count, seed + number, threads, progress, keep)
            for number, (dataset, count) in enumerate([(radiographs, recipe.copies + 1), (scale, 0), (test, 0)])
        )
        judge = unfitted_judge(scale_seen[0])
        pooled = embeddings(judge, seen)
        fold_of = patient_folds(radiographs.patients, folds, seed)
        bar = progress.add_task("folds", total=folds)
        measured = np.full((3, len(radiographs), len(TARGETS)), np.nan)
        for fold in range(folds):
            here = np.flatnonzero(fold_of == fold)
            measured[:, here] = _fold(radiographs, seen, pooled, judge, recipe, here, seed)
            progress.advance(bar)
    final = fitted(radiographs, seen[:-1], pooled[:-1], judge, recipe, seed)
    out.mkdir(parents=True, exist_ok=True)
    student = whole(final.net)
    example = plain(torch.from_numpy(radiographs.images[:1]), INPUT_SIZE)
    parity = export_graph(student, example, out / "model.onnx", ("logits", "maps", "similarities", "features"))
    labels = truth(radiographs)
    metrics = {
        "seed": seed,
        "folds": folds,
        "recipe": dataclasses.asdict(recipe),
        "data": {
            "radiographs": len(radiographs),
            "small_scale": len(scale),
            "prototypes": len(final.images),
            "radiographs_of_prototypes": len(np.unique(final.images)),
        },
        "targets": {
            name: target_figures(labels[:, k], measured[:, :, k], fold_of, seed) for k, name in enumerate(TARGETS)
        },
        "shipped_weights_at_64_pixels": _kept_out(test, answers_of(final.net, test_seen[0]), seed),
        "onnx_parity": parity,
    }
    write_package(out, prototypes_manifest(metrics), metrics, prototypes_card(metrics))
    known = labels[final.images].astype(np.int8)
    write_prototypes(out, radiographs.images[final.images], final.places, known, date.fromisoformat(made), pictures)
    _show(console, metrics)


def _seen(data: Radiographs, copies: int, seed: int, threads: int, progress: Progress, keep: Path | None) -> HalfArray:
    bar = progress.add_task(f"activations of {len(data)} images", total=len(data) * (1 + copies))
    backbone = frozen_backbone(threads)
    return activations(data.images, copies, seed, backbone, lambda count: progress.advance(bar, count), keep)


def _fold(
    data: Radiographs,
    seen: HalfArray,
    pooled: DoubleArray,
    judge: Judge,
    recipe: Recipe,
    here: npt.NDArray[np.int64],
    seed: int,
) -> DoubleArray:
    """(3, n, T): logits of held-out radiographs; of their last augmented copy; by the evidence without prototypes."""
    rest = np.setdiff1d(np.arange(len(data)), here)
    fit: Fitted = fitted(data.take(rest), seen[:-1, rest], pooled[:-1, rest], judge, recipe, seed)
    linear = pooled[0, here] @ fit.linear.T + fit.bias
    return np.stack([answers_of(fit.net, seen[0, here]), answers_of(fit.net, seen[-1, here]), linear])


def _kept_out(data: Radiographs, answers: DoubleArray, seed: int) -> dict[str, Any]:
    from whyray_training import figures

    labels = truth(data)
    return {
        "images": len(data),
        "patients": len(np.unique(data.patients)),
        "targets": {
            name: {
                "positives": int(labels[:, k].sum()),
                "auc": figures.auc_interval(labels[:, k], answers[:, k], seed),
            }
            for k, name in enumerate(TARGETS)
        },
    }


def _show(console: Console, metrics: dict[str, Any]) -> None:
    table = Table("target", "positives", "AUC", "95 % interval", "disturbed", "without prototypes", title="held out")
    for name, measured in metrics["targets"].items():
        auc = measured["auc"]
        interval = f"{auc['low']:.3f} to {auc['high']:.3f}"
        others = (f"{measured['disturbed_auc']:.3f}", f"{measured['linear_auc']:.3f}")
        table.add_row(name, str(measured["positives"]), f"{auc['value']:.3f}", interval, *others)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
