"""Train the chest package: `python -m whyray_training.cxr_findings --data DIR --out DIR`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from whyray.base.arrays import DoubleArray
from whyray_training.cxr_activations import INPUT_SIZE, HalfArray, activations, frozen_backbone
from whyray_training.cxr_augment import plain
from whyray_training.cxr_card import chest_card, chest_manifest
from whyray_training.cxr_data import Radiographs, load_radiographs, load_small_radiographs, patient_folds
from whyray_training.cxr_goals import goals
from whyray_training.cxr_measure import ENOUGH_POSITIVES, HeldOut, cross_validated, kept_out, share_in_region
from whyray_training.cxr_student import (
    Judge,
    Recipe,
    activation_maps,
    embeddings,
    fitted,
    ridge_regression,
    unfitted_judge,
    wanted,
    whole,
)
from whyray_training.efficientnet_lite import FEATURES
from whyray_training.package import export_graph, write_package

SMALL_FOLDS, SMALL_HELD_OUT = 5, (0, 1)


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr and nih-cxr-64.")],
    out: Annotated[Path, typer.Option(help="Package folder NAME/VERSION to write; made where it is missing.")],
    copies: Annotated[int, typer.Option(help="Augmented copies of each radiograph.")] = Recipe.copies,
    folds: Annotated[int, typer.Option(help="Cross-validation folds, split by patient.")] = 5,
    limit: Annotated[int | None, typer.Option(help="Only the first so many images of each set: a trial run.")] = None,
    seed: Annotated[int, typer.Option(help="Of splits, weights and augmentation.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch and of ONNX Runtime.")] = 2,
    keep: Annotated[
        Path | None,
        typer.Option(help="Folder where activations (1 GB) are left for the next run; outside the project."),
    ] = None,
) -> None:
    """Train the chest student, measure it by cross-validation, calibrate it, and write the package.

    Takes about ten minutes on two cores, nearly all of them for the activations of the frozen backbone.
    The images stay where they are: weights and figures are written.
    """
    torch.set_num_threads(threads)
    console, recipe = Console(), Recipe(copies=copies)
    radiographs = load_radiographs(data / "nih-cxr", limit)
    small = load_small_radiographs(data / "nih-cxr-64", limit)
    held_out_small = np.isin(patient_folds(small.patients, SMALL_FOLDS, seed), SMALL_HELD_OUT)
    small_scale, small_test = small.take(np.flatnonzero(~held_out_small)), small.take(np.flatnonzero(held_out_small))
    fold_of = patient_folds(radiographs.patients, folds, seed)
    with _progress(console) as progress:
        backbone = frozen_backbone(threads)
        seen, scale_seen, test_seen = (
            _seen(dataset.images, copies, seed + number, backbone, progress, keep)
            for number, (dataset, copies) in enumerate(
                [(radiographs, recipe.copies), (small_scale, 0), (small_test, 0)]
            )
        )
        judge = unfitted_judge(scale_seen[0])
        pooled = embeddings(judge, seen)
        held_out = _cross_validate(radiographs, judge, seen[0], pooled, fold_of, recipe)
    weights, biases = ridge_regression(pooled[:-1], wanted(goals(radiographs)), recipe.ridge, recipe.plain_weight)
    fitted(judge, weights, biases)
    answers_small = embeddings(judge, test_seen)[0] @ weights.T + biases
    out.mkdir(parents=True, exist_ok=True)
    student = whole(judge)
    example = plain(torch.from_numpy(radiographs.images[:1]), INPUT_SIZE)
    parity = export_graph(student, example, out / "model.onnx", ("logits", "features", "embedding"))
    metrics = {
        "seed": seed,
        "folds": folds,
        "recipe": dataclasses.asdict(recipe),
        "data": {
            "radiographs": len(radiographs),
            "small_scale": len(small_scale),
            "small_scale_patients": len(np.unique(small_scale.patients)),
            "enough": ENOUGH_POSITIVES,
            "parameters": sum(parameter.numel() for parameter in student.parameters()),
            "trained_parameters": weights.size + biases.size,
        },
        **cross_validated(radiographs, fold_of, held_out, seed),
        "shipped_weights_at_64_pixels": kept_out(small_test, answers_small, seed),
        "onnx_parity": parity,
    }
    write_package(out, chest_manifest(metrics), metrics, chest_card(metrics))
    _show(console, metrics)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(), console=console
    )


def _seen(
    images: npt.NDArray[np.uint8], copies: int, seed: int, backbone: Any, progress: Progress, keep: Path | None
) -> HalfArray:
    bar = progress.add_task(f"activations of {len(images)} images", total=len(images) * (1 + copies))
    return activations(images, copies, seed, backbone, lambda count: progress.advance(bar, count), keep)


def _cross_validate(
    data: Radiographs,
    judge: Judge,
    plain_maps: HalfArray,
    pooled: DoubleArray,
    fold_of: npt.NDArray[np.int64],
    recipe: Recipe,
) -> HeldOut:
    """Everything that is measured on held-out radiographs, by models that had not seen the patient.

    The last augmented copy of each radiograph is never trained on: it is the disturbed one.
    """
    held_out = HeldOut(*(np.full(data.labels.shape, np.nan) for _ in range(5)))
    for fold in np.unique(fold_of):
        test, training = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        answers = wanted(goals(data.take(training)))
        weights, biases = ridge_regression(pooled[:-1, training], answers, recipe.ridge, recipe.plain_weight)
        held_out.answers[test] = pooled[0, test] @ weights.T + biases
        held_out.disturbed[test] = pooled[-1, test] @ weights.T + biases
        held_out.inside[test] = share_in_region(activation_maps(judge, plain_maps[test], weights))
        weights, biases = ridge_regression(pooled[:1, training, :FEATURES], answers, recipe.ridge)
        held_out.probe[test] = pooled[0, test, :FEATURES] @ weights.T + biases
        held_out.disturbed_probe[test] = pooled[-1, test, :FEATURES] @ weights.T + biases
    return held_out


def _show(console: Console, metrics: dict[str, Any]) -> None:
    table = Table("finding", "positives", "AUC", "95 % interval", "probe", "teacher", title="held-out patients")
    for finding, figures in metrics["findings"].items():
        auc = figures["auc"]
        numbers = (auc["value"], figures["probe_auc"], figures["teacher_auc"]["value"])
        value, probe, teacher = (f"{number:.3f}" for number in numbers)
        table.add_row(
            finding, str(figures["positives"]), value, f"{auc['low']:.3f} to {auc['high']:.3f}", probe, teacher
        )
    console.print(table)
    for name in (
        "mean_auc",
        "probe_mean_auc",
        "gain_over_probe",
        "disturbed_mean_auc",
        "disturbed_probe_mean_auc",
        "teacher_mean_auc",
    ):
        console.print(f"{name}: {metrics[name]}")


if __name__ == "__main__":
    typer.run(main)
