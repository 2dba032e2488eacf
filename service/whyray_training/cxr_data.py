"""ChestX-ray14 as the training script takes it: images, NIH labels, soft labels of a published model, patients.

Source of images and labels: Wang et al., CVPR 2017 (NIH Clinical Center). Soft labels: jrzech/reproduce-chexnet.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from whyray.base.arrays import DoubleArray

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
STORED_SIZE = 256


@dataclass(frozen=True)
class Radiographs:
    """N frontal radiographs, as the NIH's PNG files show them (stretched to a square).

    images: (N, 256, 256) uint8; labels: (N, 14) 0 or 1; teacher: (N, 14) logits, NaN where there is none;
    patients: N patient numbers.
    """

    images: npt.NDArray[np.uint8]
    labels: DoubleArray
    teacher: DoubleArray
    patients: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: npt.NDArray[np.int64]) -> Radiographs:
        """These rows, in this order."""
        return Radiographs(self.images[rows], self.labels[rows], self.teacher[rows], self.patients[rows])


def together(first: Radiographs, second: Radiographs) -> Radiographs:
    """The rows of both."""
    return Radiographs(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.teacher, second.teacher]),
        np.concatenate([first.patients, second.patients]),
    )


def load_radiographs(folder: Path, limit: int | None = None) -> Radiographs:
    """`nih-cxr`: one radiograph each of 399 patients, 512 x 512 or 1024 x 1024."""
    rows = _rows(folder, limit)
    images = [
        np.asarray(
            Image.open(folder / "images" / row["Image Index"])
            .convert("L")
            .resize((STORED_SIZE, STORED_SIZE), Image.Resampling.BOX)
        )
        for row in rows
    ]
    return _radiographs(rows, np.stack(images))


def load_small_radiographs(folder: Path, limit: int | None = None) -> Radiographs:
    """`nih-cxr-64`: 970 radiographs of 260 other patients at 64 x 64, enlarged."""
    rows = _rows(folder, limit)
    with np.load(folder / "images.npz") as archive:
        small = archive["images"][: len(rows)]
    enlarged = [
        np.asarray(Image.fromarray(image).resize((STORED_SIZE, STORED_SIZE), Image.Resampling.BICUBIC))
        for image in small
    ]
    return _radiographs(rows, np.stack(enlarged))


def patient_folds(patients: npt.NDArray[np.int64], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """For each image the number of its fold; all images of a patient are in one fold."""
    unique = np.unique(patients)
    shuffled = np.random.default_rng(seed).permutation(unique)
    fold_of = {int(patient): index % folds for index, patient in enumerate(shuffled)}
    return np.array([fold_of[int(patient)] for patient in patients])


def _rows(folder: Path, limit: int | None) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))[:limit]


def _radiographs(rows: list[dict[str, str]], images: npt.NDArray[np.uint8]) -> Radiographs:
    labels = [[float(finding in row["Finding Labels"].split("|")) for finding in FINDINGS] for row in rows]
    soft = np.array([[float(row[f"prob_{finding}"] or "nan") for finding in FINDINGS] for row in rows])
    soft = np.clip(soft, 1e-5, 1 - 1e-5)
    return Radiographs(
        images, np.array(labels), np.log(soft / (1 - soft)), np.array([int(row["Patient ID"]) for row in rows])
    )
