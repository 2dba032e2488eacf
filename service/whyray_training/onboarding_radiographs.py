"""The images that bundled packages are onboarded on: boxed radiographs, some without findings; slices of heads."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whyray.inference import Model
from whyray.onboarding import OnboardingImage
from whyray.onboarding.images import Known, onboarding_images
from whyray.packages import MANIFEST
from whyray_training.cxr_boxed_data import NO_FINDING, Box, BoxedRadiographs, read_boxes
from whyray_training.cxr_local_findings_fit import OPAQUE

FoldRows = dict[str, int]
"""By patient number, the fold whose weights have not seen the patient."""
BOXED = (
    "Boxes: RSNA Pneumonia Detection Challenge 2018 (Shih et al., Radiology: Artificial Intelligence 2019) and NIH "
    "ChestX-ray14 (Wang et al., CVPR 2017; NIH Clinical Center)."
)
ROWS = "fold-rows.csv"
"""Beside packages of folds: columns image, patient, fold."""
_ABNORMAL = "Abnormal"
_ALSO_CALLED = {"Infiltrate": "Infiltration"}
_HEADS = "ge-human-28-variable-tilt"


def radiographs_of(model: Model, data: Path, normals: int) -> tuple[list[OnboardingImage], frozenset[str]]:
    """All radiographs with boxes of the package's targets, and `normals` without findings, of as many patients.

    Of a package without such targets, the radiographs without findings; of a package of volumes, a head. With it the
    numbers of the patients that packages learned from before there were boxes.
    """
    manifest = model.manifest
    if manifest.input.kind == "volume":
        files = sorted(path for path in (data / "head-ct" / _HEADS).iterdir() if path.is_file())
        return _read(files, model, Known()), frozenset()
    folder = data / "nih-cxr-boxes"
    rows, boxes = _rows(folder / "labels.csv"), read_boxes(folder / "boxes.csv")
    marks = {row["Image Index"]: boxed for row in rows if (boxed := boxes_of_targets(row, boxes, model.targets))}
    healthy: dict[str, str] = {}
    for row in rows:
        if row["Finding Labels"] == NO_FINDING and row["rsna_class"] in ("", "Normal"):
            healthy.setdefault(row["Patient ID"], row["Image Index"])
    boxed_patients = {row["Patient ID"] for row in rows if row["Image Index"] in marks}
    chosen = [image for patient, image in healthy.items() if patient not in boxed_patients]
    chosen = chosen[:: max(1, len(chosen) // normals)][:normals]
    said = dict.fromkeys(model.targets, False) if manifest.task == "multi-label" else {}
    known = Known(
        boxes=marks,
        labels=dict.fromkeys(chosen, said) if said else {},
        patients={row["Image Index"]: row["Patient ID"] for row in rows},
    )
    files = [folder / "images" / name for name in sorted({*marks, *chosen})]
    learned = {row["Patient ID"] for other in ("nih-cxr", "nih-cxr-64") for row in _rows(data / other / "labels.csv")}
    return _read(files, model, known), frozenset(learned)


def boxes_of_targets(
    row: dict[str, str], boxes: dict[str, dict[tuple[str, str], tuple[Box, ...]]], targets: tuple[str, ...]
) -> dict[str, list[Box]]:
    """By target the boxes of one image. `row` is its row of labels.csv.

    An opacity that RSNA's readers boxed is marked for the target of that name, else for the first of the labelled
    findings that are opacities; every box for 'Abnormal'.
    """
    labels = row["Finding Labels"].split("|")
    opaque = [name for name in OPAQUE if name in targets and name in labels]
    marked: dict[str, list[Box]] = {}
    for (source, name), of_image in boxes.get(row["Image Index"], {}).items():
        finding = _ALSO_CALLED.get(name, name)
        if source == "RSNA" and finding not in targets:
            finding = opaque[0] if opaque else ""
        for target in {finding, _ABNORMAL} & set(targets):
            marked.setdefault(target, []).extend(of_image)
    return marked


def fold_rows(folder: Path) -> FoldRows:
    """What fold-rows.csv says of patients. Raises ValueError where one is in two folds."""
    fold_of: FoldRows = {}
    for row in _rows(folder / ROWS):
        if fold_of.setdefault(row["patient"], int(row["fold"])) != int(row["fold"]):
            raise ValueError(f"{folder}: a patient is in two folds")
    return fold_of


def write_fold_rows(folder: Path, radiographs: BoxedRadiographs, fold_of: NDArray[np.int64]) -> None:
    """Write fold-rows.csv; `fold_of` (N,) gives the fold whose weights have not seen the patient of a radiograph."""
    with (folder / ROWS).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("image", "patient", "fold"))
        table.writerows(zip(radiographs.names, radiographs.patients, fold_of, strict=True))


def heads_of(folder: Path, name: str) -> dict[int, Path]:
    """By number of the fold, the package NAME-foldN in `folder`."""
    return {
        int(path.parents[1].name.rpartition("-fold")[2]): path.parent
        for path in folder.glob(f"{name}-fold*/*/{MANIFEST}")
    }


def _read(files: list[Path], model: Model, known: Known) -> list[OnboardingImage]:
    images, refused = onboarding_images(files, model.manifest, known, most=len(files), progress=lambda _, __: None)
    if refused:
        raise ValueError(f"{len(refused)} images can't be taken: {refused[0]}")
    return images


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
