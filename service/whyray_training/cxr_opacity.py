"""Train the package for lung opacities: `python -m whyray_training.cxr_opacity --data DIR --out DIR`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from whyray.base.arrays import BoolArray
from whyray_training import cxr_augment
from whyray_training.cxr_boxed_data import BoxedRadiographs, load_boxed_radiographs
from whyray_training.cxr_data import patient_folds
from whyray_training.cxr_local_net import INPUT_SIZE, Head, LocalEvidence, by_expected_overlap, local_evidence
from whyray_training.cxr_local_views import (
    Disturbance,
    Frozen,
    View,
    as_it_is,
    disturbed,
    frozen_networks,
    mirrored,
    view,
)
from whyray_training.cxr_opacity_card import opacity_card, opacity_manifest
from whyray_training.cxr_opacity_fit import FLOOR, Lesson, Recipe, fitted, local_logits
from whyray_training.cxr_opacity_measure import BASELINES, HeldOut, measured
from whyray_training.cxr_opacity_truth import (
    OPACITY,
    OTHER_OPACITY,
    OTHER_SOURCE,
    SOURCE,
    opacity_truth,
)
from whyray_training.cxr_parallel_fits import fitted_in_parallel
from whyray_training.figures import with_interval
from whyray_training.package import export_graph, write_package


@dataclasses.dataclass(frozen=True)
class Task:
    """One head to teach: by which radiographs (the last fold's number leaves none out), from which seed."""

    rows: NDArray[np.int64]
    seed: int


NAMES = ("logits", "evidence", "features", "embedding")
HEADS = "opacity-heads.pt"
"""In the folder that is kept: weights of the heads, those of fold 0 first, those of all radiographs last."""
_FIRST_DISTURBANCE = 100


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr and nih-cxr-boxes.")],
    out: Annotated[Path, typer.Option(help="Package folder NAME/VERSION to write; made where it is missing.")],
    folds: Annotated[int, typer.Option(help="Cross-validation folds, split by patient over both folders.")] = 5,
    epochs: Annotated[int, typer.Option(help="Epochs of each head.")] = Recipe.epochs,
    seeds: Annotated[int, typer.Option(help="Heads that are averaged.")] = Recipe.seeds,
    copies: Annotated[int, typer.Option(help="Disturbed copies of each boxed radiograph.")] = 6,
    limit: Annotated[
        int | None, typer.Option(help="Only the first so many images of each folder: a trial run.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of splits, weights and augmentation.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of ONNX Runtime, and heads that are taught at once.")] = 2,
    keep: Annotated[
        Path | None,
        typer.Option(help="Folder where features (2.3 GB) are left for the next run; outside the project."),
    ] = None,
    taught: Annotated[
        Path | None,
        typer.Option(help="Heads that a run with the same folds, seeds and seed has kept: none are taught."),
    ] = None,
) -> None:
    """Cache what the frozen networks see, teach heads, measure them by cross-validation, write the package.

    Takes about half an hour on two cores. The images stay where they are: weights and figures are written.
    """
    torch.set_num_threads(1)
    console = Console()
    recipe = Recipe(epochs=epochs, seeds=seeds)
    radiographs = load_boxed_radiographs(data, limit)
    truth = opacity_truth(radiographs)
    frozen = frozen_networks(radiographs.images, threads)
    every, boxed = np.arange(len(radiographs)), np.flatnonzero(truth.opacity)

    def seen(name: str, rows: NDArray[np.int64], disturbance: Disturbance) -> View:
        console.print(f"features of {len(rows)} images, {name}")
        return view(frozen, radiographs.images, rows, marks_of(radiographs), disturbance, name, lambda _: None, keep)

    lesson = Lesson(
        (
            seen("as-it-is", every, as_it_is),
            seen("mirrored", every, mirrored),
            seen("disturbed", every, disturbed(seed)),
        ),
        tuple(seen(f"boxed-{k}", boxed, disturbed(_FIRST_DISTURBANCE + k)) for k in range(copies)),
        truth,
    )
    fold_of = patient_folds(radiographs.patients, folds, seed)
    if taught is None:
        heads = _taught(console, lesson, fold_of, recipe, seed, threads, keep)
    else:
        heads = kept_heads(taught, folds, seeds)
    held_out = judged(lesson.views[0], fold_of, heads[:folds])
    student = answering(frozen, heads[folds])
    out.mkdir(parents=True, exist_ok=True)
    example = cxr_augment.plain(torch.from_numpy(radiographs.images[:1]), INPUT_SIZE)
    metrics = {
        "seed": seed,
        "folds": folds,
        "recipe": {**dataclasses.asdict(recipe), "copies": copies, "floor": FLOOR},
        "data": {
            "radiographs": len(radiographs),
            "patients": len(np.unique(radiographs.patients)),
            "parameters": sum(weights.numel() for weights in student.parameters()),
            "trained_parameters": sum(weights.numel() for head in student.heads for weights in head.parameters()),
        },
        **measured(radiographs, truth, held_out, seed),
        "onnx_parity": export_graph(student, example, out / "model.onnx", NAMES, half_weights=True),
    }
    write_package(out, opacity_manifest(metrics), metrics, opacity_card(metrics))
    _show(console, metrics)


def _taught(
    console: Console,
    lesson: Lesson,
    fold_of: NDArray[np.int64],
    recipe: Recipe,
    seed: int,
    threads: int,
    keep: Path | None,
) -> list[list[Head]]:
    """Heads of each fold, which have not seen it, and last those of all radiographs; left in `keep`, too."""
    tasks = [
        Task(np.flatnonzero(fold_of != fold), 1000 * seed + 10 * number + fold)
        for fold in range(int(fold_of.max()) + 2)
        for number in range(recipe.seeds)
    ]
    heads: list[Head] = []
    for head in fitted_in_parallel(lambda task: fitted(lesson, task.rows, recipe, task.seed), tasks, threads, Head):
        heads.append(head)
        console.print(f"{len(heads)} of {len(tasks)} heads")
    if keep is not None:
        torch.save([head.state_dict() for head in heads], keep / HEADS)
    return [heads[first : first + recipe.seeds] for first in range(0, len(heads), recipe.seeds)]


def kept_heads(path: Path, folds: int, seeds: int) -> list[list[Head]]:
    """The heads that a run left, `seeds` for each fold, and last those of all. Raises ValueError for other numbers."""
    kept = torch.load(path, weights_only=True)
    if len(kept) != (folds + 1) * seeds:
        raise ValueError(f"{path} has {len(kept)} heads; expected {seeds} for each of {folds} folds and for all")
    heads = []
    for weights in kept:
        head = Head()
        head.load_state_dict(weights)
        head.eval()
        heads.append(head)
    return [heads[first : first + seeds] for first in range(0, len(heads), seeds)]


def answering(frozen: Frozen, heads: list[Head]) -> LocalEvidence:
    """What the package holds: these heads over the frozen networks."""
    student = LocalEvidence(frozen.centre, frozen.spread, heads, floor=FLOOR, attention=by_expected_overlap)
    student.eval()
    return student


def judged(plain: View, fold_of: NDArray[np.int64], heads: list[list[Head]]) -> HeldOut:
    """Answers and maps of each radiograph as it is, by the heads of its fold, which had not seen the patient."""
    logits = np.zeros(len(fold_of))
    evidence = np.zeros((len(fold_of), *plain.field.shape[2:]), np.float32)
    for fold, of_fold in enumerate(heads):
        test = np.flatnonzero(fold_of == fold)
        terms = local_evidence(*local_logits(of_fold, plain, test), FLOOR, by_expected_overlap)
        evidence[test] = terms[:, 0].numpy()
        logits[test] = (terms.sum(dim=(2, 3))[:, 0] + FLOOR).numpy()
    return HeldOut(logits, evidence, plain.places[:, -4:-2].sum(dim=1).numpy(), fold_of)


def marks_of(data: BoxedRadiographs) -> Callable[[int], tuple[BoolArray, BoolArray]]:
    """For the number of a radiograph, what RSNA's and what the NIH's readers marked as an opacity: (512, 512) each."""
    return lambda row: (data.marked(row, SOURCE, OPACITY), data.marked(row, OTHER_SOURCE, OTHER_OPACITY))


def _show(console: Console, metrics: dict[str, Any]) -> None:
    for name, figure in metrics["auc"].items():
        console.print(f"AUC against {name}: {with_interval(figure)}")
    for name in ("calibration", "threshold", "prevalence", "ece", "sensitivity", "others_called", "normals_called"):
        console.print(f"{name}: {metrics[name]}")
    for source in ("maps", "nih_maps"):
        table = Table("map", "hits", "overlap", "AUPRC", "AUPRC above it", title=source)
        for way in ("evidence", *BASELINES):
            figures = metrics[source][way]
            above = with_interval(figures["auprc_above"]) if "auprc_above" in figures else ""
            table.add_row(way, *(with_interval(figures[name]) for name in ("hits", "overlap", "auprc")), above)
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
