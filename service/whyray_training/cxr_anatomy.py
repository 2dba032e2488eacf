"""Train the anatomy package for radiographs: `python -m whyray_training.cxr_anatomy --data DIR --out DIR`."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from torch.nn import functional

from whyray_training import figures
from whyray_training.cxr_anatomy_card import anatomy_card, anatomy_manifest
from whyray_training.cxr_anatomy_hand import HandDrawn, dice_by_structure, hand_drawn
from whyray_training.cxr_anatomy_labels import CLASSES, Labelled, implausible, label
from whyray_training.cxr_anatomy_student import BATCH, INPUT_SIZE, RATE, Images, Labels, predicted, tidied, train
from whyray_training.cxr_data import load_radiographs
from whyray_training.package import export_graph, write_package
from whyray_training.unet2d import UNet2d

SURE = 0.42
"""Score from which the rules' labels are learned from."""
AGREED = 0.9
"""Dice of both lungs from which a label that the network repeats is kept as it is."""


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr.")],
    out: Annotated[Path, typer.Option(help="Package folder NAME/VERSION to write; made where it is missing.")],
    steps: Annotated[int, typer.Option(help="Steps of each of the two rounds.")] = 600,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    threads: Annotated[int, typer.Option(help="Torch threads; on cores that others use, one is the fastest.")] = 1,
    limit: Annotated[int | None, typer.Option(help="Only the first so many images: a trial run.")] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="File (.npz) where the rules' labels are left for the next run; outside the project."),
    ] = None,
) -> None:
    """Label by rules, learn, label again by what was learned, learn again, measure on outlines drawn by hand.

    Takes about 40 minutes on one core. The images stay where they are: weights and figures are written.
    """
    torch.set_num_threads(threads)
    console = Console()
    radiographs = load_radiographs(data / "nih-cxr", limit)
    names = _names(data / "nih-cxr", len(radiographs))
    drawn = hand_drawn(names)
    learnable = np.array([name not in drawn for name in names])
    ruled = _ruled(radiographs.images, keep, console)
    first = np.array([labelled.accepted and labelled.score >= SURE for labelled in ruled]) & learnable
    console.print(
        f"{first.sum()} of {learnable.sum()} labelled by rules; refused: {Counter(labelled.why for labelled in ruled)}"
    )
    by_rules = _enlarged(np.stack([labelled.labels for labelled in ruled]))
    network = train(radiographs.images[first], by_rules[first], steps, seed, _teller(console, "first round", steps))
    once = _tidy_predictions(network, radiographs.images)
    second, kept, replaced = _second_labels(ruled, by_rules, once, learnable)
    chosen = np.array([labels is not None for labels in second])
    console.print(f"second round: {chosen.sum()} labels, {kept} of them by rules, {replaced} by the first network")
    final_labels = np.stack([labels for labels in second if labels is not None])
    final = train(radiographs.images[chosen], final_labels, steps, seed + 1, _teller(console, "second round", steps))
    twice = _tidy_predictions(final, radiographs.images)
    metrics: dict[str, Any] = {
        "seed": seed,
        "recipe": {"steps": steps, "rate": RATE, "batch": BATCH, "sure": SURE, "agreed": AGREED},
        "data": {
            "radiographs": len(radiographs),
            "hand_drawn": len(drawn),
            "labelled_by_rules": int(first.sum()),
            "refused_by_rules": dict(
                Counter(labelled.why or "accepted, but unsure" for labelled in np.array(ruled)[~first])
            ),
            "second_round": int(chosen.sum()),
            "second_round_by_rules": kept,
            "second_round_by_network": replaced,
            "parameters": sum(parameter.numel() for parameter in final.parameters()),
        },
        "hand_check": {
            "rules": _rules_measured(by_rules, ruled, names, drawn, seed),
            "first_round": _measured(once, names, drawn, seed),
            "shipped": _measured(twice, names, drawn, seed),
        },
        "plausible": {
            "all": float(np.mean([not implausible(labels) for labels in twice])),
            "first_round": float(np.mean([not implausible(labels) for labels in once])),
            "areas": _areas(twice),
        },
    }
    console.print(metrics)
    out.mkdir(parents=True, exist_ok=True)
    pixels = torch.from_numpy(radiographs.images[:1])[:, None].float() / 255
    example = functional.interpolate(pixels, size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", antialias=True)
    metrics["onnx_parity"] = export_graph(final, example, out / "model.onnx", ("logits", "features"))
    write_package(out, anatomy_manifest(), metrics, anatomy_card(metrics))


def _names(folder: Path, count: int) -> list[str]:
    with (folder / "labels.csv").open(newline="") as file:
        return [row["Image Index"] for row in csv.DictReader(file)][:count]


def _ruled(images: Images, keep: Path | None, console: Console) -> list[Labelled]:
    if keep is not None and keep.is_file():
        with np.load(keep) as file:
            rows = zip(file["labels"], file["score"].tolist(), file["why"].tolist(), strict=True)
            kept = [Labelled(*row) for row in rows]
        if len(kept) == len(images):
            return kept
    ruled = [label(image) for image in track(images, "labels by rules", console=console)]
    if keep is not None:
        labels, scores, why = zip(*((labelled.labels, labelled.score, labelled.why) for labelled in ruled), strict=True)
        np.savez_compressed(keep, labels=np.stack(labels), score=np.array(scores), why=np.array(why))
    return ruled


def _teller(console: Console, title: str, steps: int) -> Any:
    def tell(step: int, loss: float) -> None:
        if step % 50 == 0 or step == steps - 1:
            console.print(f"{title}: step {step} of {steps}, loss {loss:.3f}")

    return tell


def _enlarged(labels: Labels) -> Labels:
    """(N, 128, 128) to (N, 224, 224), nearest."""
    places = (np.arange(INPUT_SIZE) + 0.5) * labels.shape[1] / INPUT_SIZE
    rows = places.astype(int)
    return np.ascontiguousarray(labels[:, rows][:, :, rows])


def _tidy_predictions(network: UNet2d, images: Images) -> Labels:
    return np.stack([tidied(labels) for labels in predicted(network, images)])


def _second_labels(
    ruled: list[Labelled], by_rules: Labels, predictions: Labels, learnable: np.ndarray[Any, np.dtype[np.bool_]]
) -> tuple[list[Labels | None], int, int]:
    """The rules' labels where the network repeats them, its own where those are plausible, none for the rest."""
    labels: list[Labels | None] = []
    kept = replaced = 0
    for one, rule, own, may in zip(ruled, by_rules, predictions, learnable, strict=True):
        agreed = min(figures.dice(rule == side, own == side) for side in (1, 2)) if rule.any() else 0.0
        if may and one.accepted and agreed >= AGREED:
            labels.append(rule)
            kept += 1
        elif may and not implausible(own):
            labels.append(own)
            replaced += 1
        else:
            labels.append(None)
    return labels, kept, replaced


def _measured(predictions: Labels, names: list[str], drawn: dict[str, HandDrawn], seed: int) -> dict[str, Any]:
    pairs = [(drawn[name], predictions[index]) for index, name in enumerate(names) if name in drawn]
    return dice_by_structure(pairs, seed) if pairs else {}


def _rules_measured(
    by_rules: Labels, ruled: list[Labelled], names: list[str], drawn: dict[str, HandDrawn], seed: int
) -> dict[str, Any]:
    """The rules alone, where they gave a label that they were sure of."""
    pairs = [
        (drawn[name], by_rules[index])
        for index, name in enumerate(names)
        if name in drawn and ruled[index].accepted and ruled[index].score >= SURE
    ]
    return dice_by_structure(pairs, seed) if pairs else {}


def _areas(predictions: Labels) -> dict[str, list[float]]:
    """Per structure the 1st, 50th and 99th percentile of its share of the image."""
    return {
        name: [
            figures.rounded(value, 4)
            for value in np.percentile((predictions == index).reshape(len(predictions), -1).mean(axis=1), [1, 50, 99])
        ]
        for index, name in enumerate(CLASSES)
        if index
    }


if __name__ == "__main__":
    typer.run(main)
