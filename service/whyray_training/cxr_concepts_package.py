"""Train the concept-bottleneck package: `python -m whyray_training.cxr_concepts_package --data DIR --out DIR`."""

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

from whyray.base.arrays import DoubleArray
from whyray.base.sources import system_clock
from whyray.explain.concepts import ConceptBank, Outputs
from whyray.inference import RuntimeOptions, load_package
from whyray_training import figures
from whyray_training.cxr_activations import INPUT_SIZE, activations, frozen_backbone
from whyray_training.cxr_augment import plain
from whyray_training.cxr_concepts import write_bank
from whyray_training.cxr_concepts_card import abnormal_card, abnormal_manifest
from whyray_training.cxr_concepts_head import ConceptRecipe, ConceptStudent, abnormal, fit, fit_each, permuted_goals
from whyray_training.cxr_data import FINDINGS, Radiographs, load_radiographs, load_small_radiographs, patient_folds
from whyray_training.cxr_goals import goals
from whyray_training.cxr_measure import SPECIFICITY
from whyray_training.cxr_student import embeddings, ridge_regression, unfitted_judge, wanted
from whyray_training.efficientnet_lite import dense_imagenet_features
from whyray_training.package import export_graph, write_package

SMALL_FOLDS, SMALL_HELD_OUT = 5, (0, 1)
RANDOM_BANKS = 5
SOURCE = (
    "NIH ChestX-ray14 (Wang et al., CVPR 2017; NIH Clinical Center): 399 radiographs; labels mined from reports by the "
    "NIH, opinions of a published CheXNet (jrzech/reproduce-chexnet)"
)


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr and nih-cxr-64.")],
    out: Annotated[Path, typer.Option(help="Package folder NAME/VERSION to write; made where it is missing.")],
    copies: Annotated[int, typer.Option(help="Augmented copies of each radiograph.")] = ConceptRecipe.copies,
    folds: Annotated[int, typer.Option(help="Cross-validation folds, split by patient.")] = 5,
    inner_folds: Annotated[
        int, typer.Option(help="Folds that give the head concepts of unseen images.")
    ] = ConceptRecipe.inner_folds,
    limit: Annotated[int | None, typer.Option(help="Only the first so many images of each set: a trial run.")] = None,
    seed: Annotated[int, typer.Option(help="Of splits, weights and augmentation.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch and of ONNX Runtime.")] = 2,
    keep: Annotated[
        Path | None,
        typer.Option(help="Folder where activations (1 GB) are left for the next run; outside the project."),
    ] = None,
    day: Annotated[str, typer.Option(help="The day that the artefact says it was made on. [default: today]")] = "",
) -> None:
    """Train concepts and head, measure both by cross-validation, and write the package with its artefact 'concepts'.

    Takes about ten minutes on two cores, nearly all of them for the activations of the frozen backbone, which are
    those of cxr-findings. The images stay where they are: weights and figures are written.
    """
    torch.set_num_threads(threads)
    console, recipe = Console(), ConceptRecipe(copies=copies, inner_folds=inner_folds)
    radiographs = load_radiographs(data / "nih-cxr", limit)
    small = load_small_radiographs(data / "nih-cxr-64", limit)
    held_out_small = np.isin(patient_folds(small.patients, SMALL_FOLDS, seed), SMALL_HELD_OUT)
    small_scale, small_test = small.take(np.flatnonzero(~held_out_small)), small.take(np.flatnonzero(held_out_small))
    backbone = frozen_backbone(threads)
    seen, scale_seen, test_seen = (
        activations(dataset.images, count, seed + number, backbone, lambda _: None, keep)
        for number, (dataset, count) in enumerate([(radiographs, recipe.copies), (small_scale, 0), (small_test, 0)])
    )
    judge = unfitted_judge(scale_seen[0])
    pooled = embeddings(judge, seen)[:-1]
    fold_of = patient_folds(radiographs.patients, folds, seed)
    fitted = fit(radiographs, pooled, recipe, seed)
    others = together_with(small_scale, embeddings(judge, scale_seen)[0], small_test, embeddings(judge, test_seen)[0])
    metrics = {
        "seed": seed,
        "folds": folds,
        "recipe": dataclasses.asdict(recipe),
        "data": {
            "radiographs": len(radiographs),
            "abnormal": int(abnormal(radiographs).sum()),
            "small": len(small),
            "small_patients": len(np.unique(small.patients)),
            "small_abnormal": int(abnormal(small).sum()),
        },
        **_cross_validated(radiographs, pooled, fold_of, recipe, seed),
        "head_weights": {
            name: figures.rounded(weight) for name, weight in zip(FINDINGS, fitted.head_weights, strict=True)
        },
        "at_64_pixels": figures.auc_interval(abnormal(others[0]), fitted.answers(others[1]), seed),
    }
    out.mkdir(parents=True, exist_ok=True)
    student = ConceptStudent(dense_imagenet_features(), judge, fitted)
    example = plain(torch.from_numpy(radiographs.images[:1]), INPUT_SIZE)
    names = ("logits", "concepts", "features", "embedding")
    metrics["onnx_parity"] = export_graph(student, example, out / "model.onnx", names)
    write_package(out, abnormal_manifest(metrics), metrics, abnormal_card(metrics))
    _leave_references(out, fitted.concepts(pooled[0]), metrics, day)
    console.print({name: metrics[name] for name in ("auc", "black_box_auc", "random_concepts_auc", "at_64_pixels")})
    for name, measured in metrics["concepts"].items():
        console.print(f"{name}: {measured['auc']}, weight {metrics['head_weights'][name]}")


def together_with(
    first: Radiographs, first_seen: DoubleArray, second: Radiographs, second_seen: DoubleArray
) -> tuple[Radiographs, DoubleArray]:
    """Both halves of the small set and their embeddings."""
    from whyray_training.cxr_data import together

    return together(first, second), np.concatenate([first_seen, second_seen])


def _cross_validated(
    data: Radiographs, seen: DoubleArray, fold_of: npt.NDArray[np.int64], recipe: ConceptRecipe, seed: int
) -> dict[str, Any]:
    """Everything that is measured on radiographs whose patients had no part in concepts nor head."""
    truth, random = abnormal(data), np.random.default_rng(seed)
    logits, black, calibrated, present = (np.zeros(len(data)) for _ in range(4))
    concepts = np.zeros(data.labels.shape)
    by_chance = np.zeros((RANDOM_BANKS, len(data)))
    for fold in np.unique(fold_of):
        rest, here = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        training, embedded = data.take(rest), seen[:, rest]
        concept_goals = [wanted(goals(training)), *(permuted_goals(training, random) for _ in range(RANDOM_BANKS))]
        fitted, *others_by_chance = fit_each(training, embedded, recipe, seed, concept_goals)
        logits[here], concepts[here] = fitted.answers(seen[0, here]), fitted.concepts(seen[0, here])
        weights, biases = ridge_regression(embedded, truth[rest, None], recipe.ridge, recipe.plain_weight)
        black[here] = seen[0, here] @ weights[0] + biases[0]
        by_chance[:, here] = [permuted.answers(seen[0, here]) for permuted in others_by_chance]
    for fold in np.unique(fold_of):
        others, here = fold_of != fold, fold_of == fold
        a, b = figures.platt(logits[others], truth[others])
        calibrated[here] = figures.sigmoid(a * logits[here] + b)
        level = figures.threshold_at_specificity(truth[others], figures.sigmoid(a * logits[others] + b), SPECIFICITY)
        present[here] = calibrated[here] >= level
    a, b = figures.platt(logits, truth)
    return {
        "auc": figures.auc_interval(truth, logits, seed),
        "black_box_auc": figures.auc_interval(truth, black, seed),
        "gain_over_black_box": figures.bootstrap(
            lambda cases: figures.auc(truth[cases], logits[cases]) - figures.auc(truth[cases], black[cases]),
            len(data),
            seed,
        ),
        "random_concepts_auc": figures.rounded(
            float(np.mean([figures.auc(truth, concept_logits) for concept_logits in by_chance]))
        ),
        "ece": figures.expected_calibration_error(truth, calibrated),
        "calibration": [a, b],
        "threshold": figures.threshold_at_specificity(truth, figures.sigmoid(a * logits + b), SPECIFICITY),
        "sensitivity": figures.rounded(present[truth == 1].mean(), 2),
        "specificity": figures.rounded(1 - present[truth == 0].mean(), 2),
        "concepts": {
            finding: {
                "positives": int(data.labels[:, index].sum()),
                "auc": figures.auc_interval(data.labels[:, index], concepts[:, index], seed),
                "ece": figures.expected_calibration_error(data.labels[:, index], figures.sigmoid(concepts[:, index])),
                "threshold": figures.threshold_at_specificity(
                    data.labels[:, index], figures.sigmoid(concepts[:, index]), SPECIFICITY
                ),
            }
            for index, finding in enumerate(FINDINGS)
        },
    }


def _leave_references(out: Path, concepts: DoubleArray, metrics: dict[str, Any], day: str) -> None:
    """The artefact: how the concepts are distributed over the radiographs, and how well each is known held out."""
    model = load_package(out, options=RuntimeOptions(device="cpu", intra_op_threads=1))
    low, high = np.percentile(concepts, [5, 95], axis=0)
    known = [metrics["concepts"][name]["auc"]["value"] for name in FINDINGS]
    arrays = (np.asarray(array, np.float32) for array in (concepts.mean(axis=0), low, high, known))
    bank = ConceptBank(model.targets, outputs=Outputs(*arrays), count=len(concepts))
    made = date.fromisoformat(day) if day else system_clock().date()
    write_bank(out, model, bank, made, SOURCE)


if __name__ == "__main__":
    typer.run(main)
