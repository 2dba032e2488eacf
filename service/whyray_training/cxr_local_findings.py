"""Train the second chest package: `python -m whyray_training.cxr_local_findings --data DIR --out DIR`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from whyray_training import cxr_augment
from whyray_training.cxr_boxed_data import load_boxed_radiographs
from whyray_training.cxr_data import FINDINGS, patient_folds
from whyray_training.cxr_local_findings_card import findings_card, findings_manifest
from whyray_training.cxr_local_findings_fit import Recipe, fitted, lesson
from whyray_training.cxr_local_findings_measure import HeldOut, measured
from whyray_training.cxr_local_net import FLOOR, INPUT_SIZE, Head, LocalEvidence, local_evidence
from whyray_training.cxr_local_views import Disturbance, View, as_it_is, disturbed, frozen_networks, mirrored, view
from whyray_training.cxr_opacity import NAMES, Task, marks_of
from whyray_training.cxr_opacity_fit import local_logits
from whyray_training.cxr_parallel_fits import fitted_in_parallel
from whyray_training.cxr_regions import finding_fields
from whyray_training.figures import with_interval
from whyray_training.package import export_graph, write_package


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr and nih-cxr-boxes.")],
    out: Annotated[Path, typer.Option(help="Package folder NAME/VERSION to write; made where it is missing.")],
    folds: Annotated[int, typer.Option(help="Cross-validation folds, split by patient over both folders.")] = 5,
    epochs: Annotated[int, typer.Option(help="Epochs of each head.")] = Recipe.epochs,
    limit: Annotated[int | None, typer.Option(help="Only so many images of each folder: a trial run.")] = None,
    seed: Annotated[int, typer.Option(help="Of splits, weights and augmentation.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of ONNX Runtime, and heads that are taught at once.")] = 2,
    keep: Annotated[
        Path | None,
        typer.Option(help="Folder where features (2.6 GB) are left for the next run; outside the project."),
    ] = None,
) -> None:
    """Cache what the frozen networks see, teach heads, measure them by cross-validation, write the package.

    Takes about half an hour on two cores. The images stay where they are: weights and figures are written.
    """
    torch.set_num_threads(1)
    console, recipe = Console(), Recipe(epochs=epochs)
    radiographs = load_boxed_radiographs(data, limit)
    frozen = frozen_networks(radiographs.images, threads)
    every = np.arange(len(radiographs))

    def seen(name: str, disturbance: Disturbance) -> View:
        console.print(f"features of {len(every)} images, {name}")
        marks = marks_of(radiographs)
        images = radiographs.images
        return view(frozen, images, every, marks, disturbance, name, lambda _: None, keep, finding_fields)

    # A heart is on one side: mirrored radiographs are for findings that either side can have, which most can.
    views = (seen("as-it-is", as_it_is), seen("mirrored", mirrored), seen("disturbed", disturbed(seed)))
    taught = lesson(views, radiographs)
    fold_of = patient_folds(radiographs.patients, folds, seed)
    tasks = [Task(np.flatnonzero(fold_of != fold), 1000 * seed + fold) for fold in range(folds + 1)]
    heads: list[Head] = []
    for head in fitted_in_parallel(
        lambda task: fitted(taught, task.rows, recipe, task.seed),
        tasks,
        threads,
        lambda: Head(len(FINDINGS), recipe.width),
    ):
        heads.append(head)
        console.print(f"{len(heads)} of {len(tasks)} heads")
    if keep is not None:
        torch.save([head.state_dict() for head in heads], keep / "findings-heads.pt")
    held_out = judged(views[0], fold_of, heads[:folds])
    figures = measured(radiographs, held_out, seed)
    answered = [FINDINGS.index(name) for name in figures["answered"]]
    if not answered:
        raise RuntimeError(f"no finding was told from chance on {len(every)} radiographs: nothing to ship")

    def fields(probabilities: Tensor) -> Tensor:
        return finding_fields(probabilities)[:, answered]

    student = LocalEvidence(frozen.centre, frozen.spread, [heads[-1].only(answered)], fields)
    student.eval()
    out.mkdir(parents=True, exist_ok=True)
    example = cxr_augment.plain(torch.from_numpy(radiographs.images[:1]), INPUT_SIZE)
    metrics = {
        "seed": seed,
        "folds": folds,
        "recipe": dataclasses.asdict(recipe),
        "data": {
            "radiographs": len(radiographs),
            "patients": len(np.unique(radiographs.patients)),
            "with_teacher": int((~np.isnan(radiographs.teacher)).any(axis=1).sum()),
            "parameters": sum(weights.numel() for weights in student.parameters()),
            "trained_parameters": sum(weights.numel() for weights in student.heads.parameters()),
        },
        **figures,
        "onnx_parity": export_graph(student, example, out / "model.onnx", NAMES, half_weights=True),
    }
    write_package(out, findings_manifest(metrics), metrics, findings_card(metrics))
    _show(console, metrics)


def judged(plain: View, fold_of: NDArray[np.int64], heads: list[Head]) -> HeldOut:
    """Answers and maps of each radiograph as it is, by the head of its fold, which had not seen the patient."""
    logits = np.zeros((len(fold_of), len(FINDINGS)))
    evidence = np.zeros((len(fold_of), *plain.field.shape[1:]), np.float32)
    for fold, head in enumerate(heads):
        test = np.flatnonzero(fold_of == fold)
        terms = local_evidence(*local_logits([head], plain, test))
        evidence[test] = terms.numpy()
        logits[test] = (terms.sum(dim=(2, 3)) + FLOOR).numpy()
    return HeldOut(logits, evidence, plain.places[:, -4:-2].sum(dim=1).numpy(), fold_of)


def _show(console: Console, metrics: dict[str, Any]) -> None:
    table = Table("finding", "AUC", "ECE", "threshold", "sensitivity", "normals called", title="held-out patients")
    for finding, auc in metrics["auc"].items():
        told = metrics["findings"].get(finding, {})
        cells = [str(told.get(name, "")) for name in ("ece", "threshold", "sensitivity", "normals_called")]
        table.add_row(finding, with_interval(auc), *cells)
    console.print(table)
    for name in (
        "mean_auc",
        "mean_auc_of_all",
        "mean_auc_over_both_folders",
        "normals_called",
        "not_answered",
        "nih_maps",
        "rsna_maps",
    ):
        console.print(f"{name}: {metrics[name]}")


if __name__ == "__main__":
    typer.run(main)
