"""Write the reference index of a bundled chest package: `python -m whyray_training.reference_index --data DIR`.

Pictures in bundled artefacts are drawn by the package's autoencoder and marked synthetic; without one, there are none.
Run it again whenever the package's graph or the autoencoder changes: an index belongs to one graph, and a latent
traversal to one autoencoder.
"""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console

from whyray.base.arrays import FloatArray
from whyray.explain import as_input, resampled
from whyray.explain.cases import PROTOTYPES
from whyray.explain.counterfactual import LatentSpace
from whyray.explain.latent import KIND
from whyray.imaging import read_images
from whyray.inference import Model, RuntimeOptions
from whyray.onboarding import as_bytes
from whyray.onboarding.images import Known, single_images
from whyray.onboarding.reference_index import Collected, IndexFacts, make_index
from whyray.packages import (
    ArtefactFacts,
    Package,
    find_package,
    graph_digest,
    package_digest,
    read_manifest,
    write_artefact,
)
from whyray.packages.package import MANIFEST
from whyray_training.package import name_artefact

SOURCE = "399 frontal radiographs of 399 patients, NIH ChestX-ray14 (Wang et al. 2017; NIH Clinical Center)"
LICENCE = (
    "Learned from NIH ChestX-ray14, whose use is unrestricted; acknowledge the NIH Clinical Center, cite Wang et al. "
    "(CVPR 2017). Pictures are drawn by a decoder."
)
SOURCE_WITH_BOXES = (
    "one radiograph of each patient, NIH ChestX-ray14 (Wang et al. 2017; NIH Clinical Center), in part read for the "
    "RSNA Pneumonia Detection Challenge (Shih et al. 2019)"
)
LICENCE_WITH_BOXES = (
    f"{LICENCE} Classes of opacity: RSNA Pneumonia Detection Challenge 2018; acknowledge the RSNA, cite Shih et al. "
    "(Radiology: Artificial Intelligence 2019)."
)
OPACITY = "Lung Opacity"
HEADS = ("ge-human-28-variable-tilt", "philips-phantom-28-5mm")
DRAWN_SIZE = 80
"""Pixels of a reference's picture: what a decoder draws holds no more."""
_GRID = 14
_FRAME_CELLS = 5


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds nih-cxr and head-ct.")],
    package: Annotated[str, typer.Option(help="NAME, NAME@VERSION, or a package folder.")] = "cxr-findings",
    out: Annotated[Path | None, typer.Option(help="The file to write; in the package where left out.")] = None,
    made: Annotated[str, typer.Option(help="The day that the artefact names.")] = date(2026, 11, 23).isoformat(),
    pictures: Annotated[bool, typer.Option(help="Draw references by the package's autoencoder.")] = True,
    most: Annotated[int, typer.Option(help="Take so many radiographs.")] = 1000,
    boxed: Annotated[bool, typer.Option(help="Take one radiograph of each patient of nih-cxr-boxes, too.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the split and of what is measured.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of ONNX Runtime.")] = 2,
) -> None:
    """Embed the radiographs, measure what the index is worth, write it."""
    model = bare(find_package(package, ()), RuntimeOptions(intra_op_threads=threads))
    console = Console()
    files = sorted((data / "nih-cxr" / "images").iterdir())
    if boxed:
        files = one_of_each_patient(data)
    collected = Collected(model)
    for radiograph in single_images(
        files, model.manifest, known_labels(data, model), most=most, progress=lambda _, __: None
    ):
        if isinstance(radiograph, str):
            raise RuntimeError(radiograph)
        drawn = None
        if pictures and collected.latents is not None:
            drawn = as_bytes(again(collected.latents, collected.shown(radiograph.image.x)), DRAWN_SIZE)
        collected.add(radiograph.image.x, dict(radiograph.image.labels), picture=drawn)
    told = IndexFacts(
        SOURCE_WITH_BOXES if boxed else SOURCE,
        LICENCE_WITH_BOXES if boxed else LICENCE,
        date.fromisoformat(made),
        synthetic=True,
        seed=seed,
        outliers=tuple(other_images(data, model)),
    )
    facts, arrays = make_index(collected, told, progress=lambda _, words: console.print(words))
    if "umap" not in arrays:
        console.print("no UMAP layout: pip install whyray[umap]", style="yellow")
    path = out or model.package.folder / f"{KIND}.npz"
    write_artefact(path, facts, arrays)
    if out is None:
        name_artefact(path.parent, KIND, path.name)
    console.print({key: value for key, value in facts.details.items() if key != "agreement"})
    console.print(f"{path}: {path.stat().st_size} bytes")


def bare(folder: Path, options: RuntimeOptions) -> Model:
    """The model of a package whose artefacts need not be there yet: the one that is to be written among them."""
    manifest = read_manifest(folder / MANIFEST).model_copy(update={"artefacts": {}})
    return Model(Package(folder, manifest, package_digest(folder)), options)


def known_labels(data: Path, model: Model) -> Known:
    """NIH's labels of the package's targets, by file name; 'Abnormal' is any of them; opacities are RSNA's readers'."""
    return Known(
        labels={
            row["Image Index"]: {name: said for name in model.targets if (said := _said(row, name)) is not None}
            for row in _rows(data)
        }
    )


def one_of_each_patient(data: Path) -> list[Path]:
    """Files of both folders, one a patient: one that RSNA's readers called, where there is one; else the first."""
    chosen: dict[str, tuple[bool, Path]] = {}
    for row in _rows(data):
        read = bool(row.get("rsna_class"))
        if row["Patient ID"] not in chosen or (read and not chosen[row["Patient ID"]][0]):
            chosen[row["Patient ID"]] = (read, data / row["folder"] / "images" / row["Image Index"])
    return sorted(path for _, path in chosen.values())


def _rows(data: Path) -> list[dict[str, str]]:
    rows = []
    for folder in ("nih-cxr", "nih-cxr-boxes"):
        if (data / folder / "labels.csv").is_file():
            with (data / folder / "labels.csv").open(newline="") as file:
                rows += [{**row, "folder": folder} for row in csv.DictReader(file)]
    return rows


def _said(row: dict[str, str], target: str) -> bool | None:
    """What is known of one target; of an opacity only what RSNA's readers said, and NIH's 'No Finding'."""
    labels = row["Finding Labels"].split("|")
    if target == "Abnormal":
        return labels != ["No Finding"]
    if target != OPACITY:
        return target in labels
    if row.get("rsna_class"):
        return row["rsna_class"] == OPACITY
    return False if labels == ["No Finding"] else None


def again(latents: LatentSpace, shown: FloatArray) -> FloatArray:
    """(*spatial): a displayed image as the autoencoder gives it back."""
    only: FloatArray = latents.decode(latents.encode(shown[None]))[0]
    return only


def other_images(data: Path, model: Model) -> list[FloatArray]:
    """Slices of two heads on the package's grid: images that no chest package is made for."""
    inputs = []
    for name in HEADS:
        folder = data / "head-ct" / name
        files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
        for image in read_images(files).images:
            shown = resampled(np.asarray(image.display), model.spatial_shape)
            inputs += [pixels[None] for pixels in as_input(shown, model.manifest.input)]
    return inputs


def write_prototypes(
    folder: Path,
    images: npt.NDArray[np.uint8],
    places: npt.NDArray[np.int64],
    known: npt.NDArray[np.int8],
    made: date,
    pictures: bool,
) -> None:
    """The artefact 'prototypes' of a package in `folder`: known (P, T), the model's answers, and pictures where asked.

    images: (P, H, W) uint8, the radiographs that prototypes come from; places: (P, 2) on the 14 × 14 grid. The pictures
    are drawn by the package's autoencoder, with a frame around the place.
    """
    model = bare(folder, RuntimeOptions())
    latents = LatentSpace(model, method=PROTOTYPES) if pictures else None
    shown = resampled(np.asarray(images / np.float32(255), np.float32), model.spatial_shape)
    answers = [model.predict(pixels[None])[0] for pixels in as_input(shown, model.manifest.input)]
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "known": known,
        "answers": np.stack(answers).astype(np.float32),
        "places": places.astype(np.int16),
    }
    if latents is not None:
        drawn = [framed(as_bytes(again(latents, picture)), place) for picture, place in zip(shown, places, strict=True)]
        arrays["pictures"] = np.stack(drawn)
    facts = ArtefactFacts(
        kind=PROTOTYPES,
        graph=graph_digest(model),
        package=model.identity,
        made=made,
        count=len(images),
        source=SOURCE,
        licence=LICENCE,
        synthetic=True,
        details={"autoencoder": None if latents is None else latents.identity, "grid": _GRID},
    )
    write_artefact(folder / f"{PROTOTYPES}.npz", facts, arrays)
    name_artefact(folder, PROTOTYPES, f"{PROTOTYPES}.npz")


def framed(picture: npt.NDArray[np.uint8], place: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """A white frame around the neighbourhood of a place (row, column) on the 14 × 14 grid."""
    marked = picture.copy()
    box = []
    for at, size in zip(place, picture.shape, strict=True):
        cell = size / _GRID
        low, high = (at + 0.5 - _FRAME_CELLS / 2) * cell, (at + 0.5 + _FRAME_CELLS / 2) * cell
        box.append((max(0, round(low)), min(size - 1, round(high))))
    (top, bottom), (left, right) = box
    marked[[top, bottom], left : right + 1] = 255
    marked[top : bottom + 1, [left, right]] = 255
    return marked


if __name__ == "__main__":
    typer.run(main)
