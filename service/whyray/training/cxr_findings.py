"""Train the chest package: `python -m whyray.training.cxr_findings --data DIR --out DIR`."""

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

from whyray.training import figures
from whyray.training.cxr_augment import expected_regions, plain
from whyray.training.cxr_card import chest_card, chest_manifest
from whyray.training.cxr_data import (
    FINDINGS,
    FloatArray,
    Radiographs,
    load_radiographs,
    load_small_radiographs,
    patient_folds,
)
from whyray.training.cxr_student import GRID, INPUT_SIZE, Recipe, Student, logits, teach
from whyray.training.package import export_graph, write_package

SPECIFICITY = 0.90
ENOUGH_POSITIVES = 20
SMALL_FOLDS, SMALL_HELD_OUT = 5, (0, 1)


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr and nih-cxr-64.")],
    out: Annotated[Path, typer.Option(help="Package folder NAME/VERSION to write; made where it is missing.")],
    epochs: Annotated[
        int, typer.Option(help="Passes over the radiographs, for each fold and for the final model.")
    ] = 8,
    folds: Annotated[int, typer.Option(help="Cross-validation folds, split by patient.")] = 5,
    limit: Annotated[int | None, typer.Option(help="Only the first so many images of each set: a trial run.")] = None,
    seed: Annotated[int, typer.Option(help="Of splits, weights and augmentation.")] = 0,
    threads: Annotated[int, typer.Option(help="Torch threads.")] = 2,
) -> None:
    """Fine-tune the chest student, measure it by cross-validation, calibrate it, and write the package.

    Takes about twenty minutes on two cores. The images stay where they are: weights and figures are written.
    """
    torch.set_num_threads(threads)
    console = Console()
    radiographs = load_radiographs(data / "nih-cxr", limit)
    small = load_small_radiographs(data / "nih-cxr-64", limit)
    kept_out = np.isin(patient_folds(small.patients, SMALL_FOLDS, seed), SMALL_HELD_OUT)
    small_training, small_test = small.take(np.flatnonzero(~kept_out)), small.take(np.flatnonzero(kept_out))
    recipe = Recipe(epochs=epochs)
    console.print(
        f"{len(radiographs)} radiographs, {len(small_training)} small ones to train on, {len(small_test)} kept out"
    )
    fold_of = patient_folds(radiographs.patients, folds, seed)
    with _progress(console) as progress:
        answers, inside = _cross_validate(radiographs, small_training, fold_of, recipe, seed, progress)
        bar = progress.add_task("all images", total=recipe.epochs)
        student = teach(radiographs, small_training, recipe, seed, lambda _, __: progress.advance(bar)).folded()
    out.mkdir(parents=True, exist_ok=True)
    example = plain(torch.from_numpy(radiographs.images[:1]), INPUT_SIZE)
    parity = export_graph(student, example, out / "model.onnx", ("logits", "features", "embedding"))
    metrics = {
        "seed": seed,
        "folds": folds,
        "recipe": dataclasses.asdict(recipe),
        "data": {
            "radiographs": len(radiographs),
            "small_training": len(small_training),
            "small_training_patients": len(np.unique(small_training.patients)),
            "enough": ENOUGH_POSITIVES,
            "parameters": sum(parameter.numel() for parameter in student.parameters()),
        },
        **_figures(radiographs, fold_of, answers, inside, seed),
        "shipped_weights_at_64_pixels": _small_figures(student, small_test, seed),
        "onnx_parity": parity,
    }
    write_package(out, chest_manifest(metrics), metrics, chest_card(metrics))
    _show(console, metrics)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(), console=console
    )


def _cross_validate(
    data: Radiographs, small: Radiographs, fold_of: npt.NDArray[np.int64], recipe: Recipe, seed: int, progress: Progress
) -> tuple[FloatArray, FloatArray]:
    """Logits and the share of evidence in the region, (N, 14) each, of models that had not seen the patient."""
    answers, inside = np.full(data.labels.shape, np.nan), np.full(data.labels.shape, np.nan)
    for fold in np.unique(fold_of):
        bar = progress.add_task(f"fold {fold + 1} of {len(np.unique(fold_of))}", total=recipe.epochs)
        test = np.flatnonzero(fold_of == fold)
        training = data.take(np.flatnonzero(fold_of != fold))
        student = teach(training, small, recipe, seed, lambda _, __, bar=bar: progress.advance(bar))  # type: ignore[misc]
        answers[test] = logits(student, data.images[test])
        inside[test] = _evidence_in_region(student, data.images[test])
        mean = np.nanmean([figures.auc(data.labels[test, k], answers[test, k]) for k in range(len(FINDINGS))])
        progress.console.print(f"fold {fold + 1}: mean AUC {mean:.3f} on {len(test)} held-out patients")
    return answers, inside


def _evidence_in_region(student: Student, images: npt.NDArray[np.uint8]) -> FloatArray:
    regions = torch.nn.functional.adaptive_avg_pool2d(expected_regions()[None], GRID)[0]
    weight = student.head.weight / student.spread
    shares = []
    with torch.no_grad():
        for part in torch.from_numpy(images).split(32):
            maps = torch.einsum("kc,nchw->nkhw", weight, student(plain(part, INPUT_SIZE))[1]).relu()
            shares.append((maps * regions).sum(dim=(2, 3)) / maps.sum(dim=(2, 3)).clamp_min(1e-6))
    return np.asarray(torch.cat(shares).double().numpy())


def _figures(
    data: Radiographs, fold_of: npt.NDArray[np.int64], answers: FloatArray, inside: FloatArray, seed: int
) -> dict[str, Any]:
    findings = {}
    for k, finding in enumerate(FINDINGS):
        truth, teacher = data.labels[:, k], figures.sigmoid(data.teacher[:, k])
        against_labels = truth.sum() >= ENOUGH_POSITIVES
        goal = truth if against_labels else teacher
        crossed = np.zeros(len(truth))
        for fold in np.unique(fold_of):
            rest = fold_of != fold
            a, b = figures.platt(answers[rest, k], goal[rest])
            crossed[~rest] = figures.sigmoid(a * answers[~rest, k] + b)
        a, b = figures.platt(answers[:, k], goal)
        probability = figures.sigmoid(a * answers[:, k] + b)
        threshold = figures.threshold_at_specificity(truth, probability, SPECIFICITY)
        present = probability >= threshold
        findings[finding] = {
            "positives": int(truth.sum()),
            "auc": figures.auc_interval(truth, answers[:, k], seed),
            "teacher_auc": figures.rounded(figures.auc(truth, data.teacher[:, k])),
            "agreement": figures.rounded(np.corrcoef(answers[:, k], data.teacher[:, k])[0, 1], 2),
            "calibration": [a, b],
            "calibrated_on": "NIH labels" if against_labels else "teacher",
            "ece": figures.expected_calibration_error(truth, crossed),
            "threshold": threshold,
            "sensitivity": figures.rounded(present[truth == 1].mean(), 2) if truth.any() else float("nan"),
            "specificity": figures.rounded((~present)[truth == 0].mean(), 2),
            "evidence_in_region": figures.rounded(inside[:, k].mean(), 2),
        }
    return {
        "mean_auc": figures.mean_auc_interval(data.labels, answers, seed),
        "teacher_mean_auc": figures.rounded(
            float(np.nanmean([figures.auc(data.labels[:, k], data.teacher[:, k]) for k in range(len(FINDINGS))]))
        ),
        "findings": findings,
    }


def _small_figures(student: Student, data: Radiographs, seed: int) -> dict[str, Any]:
    answers = logits(student, data.images)
    return {
        "images": len(data),
        "patients": len(np.unique(data.patients)),
        "findings": {
            finding: {
                "positives": int(data.labels[:, k].sum()),
                "auc": figures.auc_interval(data.labels[:, k], answers[:, k], seed),
            }
            for k, finding in enumerate(FINDINGS)
            if data.labels[:, k].sum() >= ENOUGH_POSITIVES
        },
    }


def _show(console: Console, metrics: dict[str, Any]) -> None:
    table = Table("finding", "positives", "AUC", "95 % interval", "teacher", title="held-out patients")
    for finding, each in metrics["findings"].items():
        auc = each["auc"]
        table.add_row(
            finding,
            str(each["positives"]),
            f"{auc['value']:.3f}",
            f"{auc['low']:.3f} to {auc['high']:.3f}",
            f"{each['teacher_auc']:.3f}",
        )
    console.print(table)
    console.print(f"mean AUC {metrics['mean_auc']}, teacher {metrics['teacher_mean_auc']}")


if __name__ == "__main__":
    typer.run(main)
