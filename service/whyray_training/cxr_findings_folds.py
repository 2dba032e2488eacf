"""Export the heads of cxr-findings' folds as packages: `python -m whyray_training.cxr_findings_folds --help`.

Each of them has not seen the patients of one fold, so that where maps point can be measured on these by the very graph
that is shipped, with other weights. They are for measuring maps alone: calibration and thresholds are the shipped ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from torch import Tensor

from whyray.packages import find_package
from whyray_training import cxr_augment
from whyray_training.cxr_boxed_data import load_boxed_radiographs
from whyray_training.cxr_data import FINDINGS, patient_folds
from whyray_training.cxr_local_findings_card import findings_manifest
from whyray_training.cxr_local_net import INPUT_SIZE, Head, LocalEvidence
from whyray_training.cxr_local_views import frozen_networks
from whyray_training.cxr_opacity import NAMES
from whyray_training.cxr_regions import finding_fields
from whyray_training.onboarding_radiographs import write_fold_rows
from whyray_training.package import export_graph, write_package


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr and nih-cxr-boxes.")],
    heads: Annotated[Path, typer.Option(help="The file findings-heads.pt that cxr_local_findings left with --keep.")],
    out: Annotated[Path, typer.Option(help="Folder to write cxr-findings-fold0/VERSION and so on into.")],
    threads: Annotated[int, typer.Option(help="Threads of ONNX Runtime.")] = 1,
) -> None:
    """Write a package of each fold's head, of the findings that the shipped package answers."""
    torch.set_num_threads(1)
    shipped = find_package("cxr-findings@2", ())
    metrics = json.loads((shipped / "metrics.json").read_text("utf-8"))
    kept = torch.load(heads, weights_only=True)
    if len(kept) != metrics["folds"] + 1:
        raise ValueError(
            f"{heads} has {len(kept)} heads; expected one for each of {metrics['folds']} folds and for all"
        )
    radiographs = load_boxed_radiographs(data)
    frozen = frozen_networks(radiographs.images, threads)
    answered = [FINDINGS.index(name) for name in metrics["answered"]]

    def fields(probabilities: Tensor) -> Tensor:
        return finding_fields(probabilities)[:, answered]

    example = cxr_augment.plain(torch.from_numpy(radiographs.images[:1]), INPUT_SIZE)
    for fold, weights in enumerate(kept[:-1]):
        head = Head(len(FINDINGS), metrics["recipe"]["width"])
        head.load_state_dict(weights)
        student = LocalEvidence(frozen.centre, frozen.spread, [head.only(answered)], fields)
        student.eval()
        manifest = findings_manifest(metrics)
        manifest["name"] = f"cxr-findings-fold{fold}"
        manifest["title"] = f"Findings, by weights that have not seen the patients of fold {fold}"
        folder = out / manifest["name"] / manifest["version"]
        folder.mkdir(parents=True, exist_ok=True)
        parity = export_graph(student, example, folder / "model.onnx", NAMES, half_weights=True)
        card = f"# {manifest['name']}\n\nFor measuring maps alone: taught without the patients of fold {fold}.\n"
        write_package(folder, manifest, {"fold": fold, "onnx_parity": parity}, card)
    fold_of = patient_folds(radiographs.patients, metrics["folds"], metrics["seed"])
    write_fold_rows(out, radiographs, fold_of)
    Console().print(f"{len(kept) - 1} packages in {out}")


if __name__ == "__main__":
    typer.run(main)
