"""Hold the older chest packages to other patients: `python -m whyray_training.other_patients --help`.

They were made before `nih-cxr-boxes` came: its patients are new to them, but for a few that are left out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from whyray.inference import RuntimeOptions, load_package
from whyray.packages import BUNDLED, read_artefact, read_manifest, write_artefact
from whyray_training.cxr_anatomy_card import anatomy_card
from whyray_training.cxr_autoencoder_card import autoencoder_card
from whyray_training.cxr_boxed_data import BoxedRadiographs, load_boxed_radiographs
from whyray_training.cxr_captioner_card import captioner_card
from whyray_training.cxr_concepts_card import abnormal_card, abnormal_manifest
from whyray_training.cxr_prototypes_card import prototypes_card, prototypes_manifest
from whyray_training.other_patients_measure import abnormal, anatomy, autoencoder, captioner, prototypes
from whyray_training.package import write_package

CONCEPTS = "concepts"
KEY = "other_patients"
"""In metrics.json: what was measured here."""
Card = Callable[[dict[str, Any]], str]
CARDS: Mapping[str, Card] = {
    "cxr-prototypes": prototypes_card,
    "cxr-abnormal": abnormal_card,
    "cxr-anatomy": anatomy_card,
    "cxr-autoencoder": autoencoder_card,
    "cxr-captioner": captioner_card,
}
MEASURES = {
    "cxr-prototypes": prototypes,
    "cxr-abnormal": abnormal,
    "cxr-anatomy": anatomy,
    "cxr-autoencoder": autoencoder,
    "cxr-captioner": captioner,
}
MANIFESTS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "cxr-prototypes": prototypes_manifest,
    "cxr-abnormal": abnormal_manifest,
}
"""Those that say in model.yaml what is known of their answers."""


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr, nih-cxr-64 and nih-cxr-boxes.")],
    packages: Annotated[list[str] | None, typer.Argument(help="Names. [default: all five]")] = None,
    most: Annotated[int | None, typer.Option(help="At most so many radiographs, evenly chosen: a trial run.")] = None,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of ONNX Runtime.")] = 1,
    cards: Annotated[bool, typer.Option(help="Write cards of what is in metrics.json; measure nothing.")] = False,
) -> None:
    """Measure, and write the figures into metrics.json, MODEL_CARD.md and, of findings not told, model.yaml.

    A package's digest covers its words: run `onboard_bundled --same-graph` afterwards, or onboard it again where
    model.yaml changed.
    """
    console = Console()
    others = None if cards else other_patients(data, most)
    for name in packages or CARDS:
        folder = BUNDLED / name / "1.0.0"
        metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
        if others is not None:
            model = load_package(folder, options=RuntimeOptions(device="cpu", intra_op_threads=threads, cache=None))
            metrics[KEY] = MEASURES[name](model, others, seed)
            console.print(name, metrics[KEY])
        write(folder, name, metrics)


def other_patients(data: Path, most: int | None) -> BoxedRadiographs:
    """Radiographs of nih-cxr-boxes of patients of whom the packages learned nothing."""
    known: set[int] = set()
    for folder in ("nih-cxr", "nih-cxr-64"):
        with (data / folder / "labels.csv").open(newline="") as file:
            known |= {int(row["Patient ID"]) for row in csv.DictReader(file)}
    radiographs = load_boxed_radiographs(data)
    new = np.flatnonzero((radiographs.folders == "nih-cxr-boxes") & ~np.isin(radiographs.patients, list(known)))
    return radiographs.take(new if most is None else new[np.linspace(0, len(new) - 1, most).astype(int)])


def write(folder: Path, name: str, metrics: dict[str, Any]) -> None:
    """Figures, card and manifest of a package, of these metrics; artefacts that model.yaml names stay named."""
    manifest = read_manifest(folder / "model.yaml")
    text = (folder / "model.yaml").read_text("utf-8")
    if name in MANIFESTS:
        content = {**MANIFESTS[name](metrics), "artefacts": dict(sorted(manifest.artefacts.items()))}
        write_package(folder, content, metrics, CARDS[name](metrics))
        if "concepts" in content:
            _renew_concepts(folder)
        return
    write_package(folder, manifest.model_dump(mode="json", exclude_defaults=True), metrics, CARDS[name](metrics))
    (folder / "model.yaml").write_text(text, encoding="utf-8")


def _renew_concepts(folder: Path) -> None:
    """Let the artefact of the concepts say of each what model.yaml says: it is believed before that."""
    manifest = read_manifest(folder / "model.yaml")
    assert manifest.concepts is not None
    path = folder / manifest.artefacts[CONCEPTS]
    artefact = read_artefact(path)
    known = np.array([concept.held_out_auc for concept in manifest.concepts.names], np.float32)
    write_artefact(path, artefact.facts, {**artefact.arrays, "outputs.auc": known})


if __name__ == "__main__":
    typer.run(main)
