"""Export the heads of the folds as packages: `python -m whyray_training.cxr_opacity_folds --help`.

What is measured of cards and maps is honest on patients that the weights have not seen. The shipped package has seen
all; each of these has not seen one fold.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console

from whyray.packages import find_package
from whyray_training import cxr_augment, known_answers
from whyray_training.cxr_boxed_data import load_boxed_radiographs
from whyray_training.cxr_data import patient_folds
from whyray_training.cxr_local_net import INPUT_SIZE
from whyray_training.cxr_local_views import as_it_is, frozen_networks, view
from whyray_training.cxr_opacity import HEADS, NAMES, answering, judged, kept_heads, marks_of
from whyray_training.cxr_opacity_card import opacity_manifest
from whyray_training.cxr_opacity_measure import scaling_and_threshold
from whyray_training.cxr_opacity_truth import opacity_truth
from whyray_training.onboarding_radiographs import write_fold_rows
from whyray_training.package import export_graph, write_package


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr and nih-cxr-boxes.")],
    keep: Annotated[Path, typer.Option(help="Folder where cxr_opacity left its features and heads.")],
    out: Annotated[Path, typer.Option(help="Folder to write cxr-opacity-fold0/VERSION and so on into.")],
    threads: Annotated[int, typer.Option(help="Threads of ONNX Runtime.")] = 1,
) -> None:
    """Write a package of each fold's heads, and fold-rows.csv: which image belongs to which fold.

    Calibration and threshold of a package come from the held-out answers on the radiographs that it has seen, by heads
    that had not. Splits are those of the run that left the heads. There is no reference index: one would hold the
    patients that the weights have not seen.
    """
    torch.set_num_threads(1)
    shipped = find_package("cxr-opacity@1", ())
    metrics = json.loads((shipped / "metrics.json").read_text("utf-8"))
    folds, seeds = metrics["folds"], metrics["recipe"]["seeds"]
    radiographs = load_boxed_radiographs(data)
    truth = opacity_truth(radiographs)
    frozen = frozen_networks(radiographs.images, threads)
    every = np.arange(len(radiographs))
    plain = view(frozen, radiographs.images, every, marks_of(radiographs), as_it_is, "as-it-is", lambda _: None, keep)
    heads = kept_heads(keep / HEADS, folds, seeds)[:folds]
    fold_of = patient_folds(radiographs.patients, folds, metrics["seed"])
    held_out = judged(plain, fold_of, heads)
    example = cxr_augment.plain(torch.from_numpy(radiographs.images[:1]), INPUT_SIZE)
    folders = []
    for fold, of_fold in enumerate(heads):
        calibration, threshold = scaling_and_threshold(truth, held_out, fold_of != fold)
        manifest = opacity_manifest({**metrics, "calibration": calibration, "threshold": threshold})
        manifest["name"] = f"cxr-opacity-fold{fold}"
        manifest["title"] = f"Lung opacity, by weights that have not seen the patients of fold {fold}"
        folder = out / manifest["name"] / manifest["version"]
        folder.mkdir(parents=True, exist_ok=True)
        student = answering(frozen, of_fold)
        parity = export_graph(student, example, folder / "model.onnx", NAMES, half_weights=True)
        figures = {"fold": fold, "not_seen": int((fold_of == fold).sum()), "onnx_parity": parity}
        card = (
            f"# {manifest['name']}\n\nFor measuring alone: cxr-opacity, taught without the patients of fold {fold}.\n"
        )
        write_package(folder, manifest, figures, card)
        folders.append(folder)
    known_answers.main(folders)
    write_fold_rows(out, radiographs, fold_of)
    Console().print(f"{len(folders)} packages in {out}")


if __name__ == "__main__":
    typer.run(main)
