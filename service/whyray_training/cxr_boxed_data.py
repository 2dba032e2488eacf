"""ChestX-ray14 with boxes: radiographs of both folders, what RSNA's and NIH's radiologists marked, patients.

Source: Wang et al., CVPR 2017 (NIH Clinical Center); boxes and classes of opacity: RSNA Pneumonia Detection Challenge,
Shih et al., Radiology: Artificial Intelligence 2019; soft labels: jrzech/reproduce-chexnet.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whyray.base.arrays import BoolArray, DoubleArray
from whyray_training.cxr_data import FINDINGS

SIDE = 512
FOLDERS = ("nih-cxr", "nih-cxr-boxes")
NO_FINDING = "No Finding"
Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the 512 x 512 image."""


@dataclass(frozen=True)
class BoxedRadiographs:
    """N frontal radiographs, as the NIH's PNG files show them (stretched to a square).

    folders: N, which of FOLDERS each is from; images: (N, 512, 512) uint8; patients: N patient numbers; labels: (N, 14)
    0 or 1, NIH's; healthy: (N,) NIH's 'No Finding'; teacher: (N, 14) logits, NaN where there are none; rsna: N classes
    of the RSNA's readers, '' where they did not read; airspace: N adjudicated 'YES' or 'NO' of an airspace opacity, ''
    where unknown; boxes: for each image what was marked, by source and finding ('RSNA', 'Lung Opacity').
    """

    names: NDArray[np.str_]
    folders: NDArray[np.str_]
    images: NDArray[np.uint8]
    patients: NDArray[np.int64]
    labels: DoubleArray
    healthy: BoolArray
    teacher: DoubleArray
    rsna: NDArray[np.str_]
    airspace: NDArray[np.str_]
    boxes: tuple[dict[tuple[str, str], tuple[Box, ...]], ...]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: NDArray[np.int64]) -> BoxedRadiographs:
        """These rows, in this order."""
        parts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "boxes"}
        boxes = tuple(self.boxes[row] for row in rows)
        return BoxedRadiographs(**{name: values[rows] for name, values in parts.items()}, boxes=boxes)

    def marked(self, row: int, source: str, findings: tuple[str, ...]) -> BoolArray:
        """(512, 512): inside any box of `source` for one of `findings` in the image `row`."""
        inside = np.zeros((SIDE, SIDE), bool)
        for finding in findings:
            for x, y, width, height in self.boxes[row].get((source, finding), ()):
                inside[int(y) : round(y + height), int(x) : round(x + width)] = True
        return inside


def load_boxed_radiographs(data: Path, limit: int | None = None) -> BoxedRadiographs:
    """`nih-cxr` and `nih-cxr-boxes`; with `limit`, so many of each, of every kind. Raises OSError where missing."""
    boxes = read_boxes(data / "nih-cxr-boxes" / "boxes.csv")
    rows: list[tuple[str, dict[str, str]]] = []
    for folder in FOLDERS:
        with (data / folder / "labels.csv").open(newline="") as file:
            listed = list(csv.DictReader(file))
        if limit is not None:
            listed = _of_every_kind(listed, boxes)[:limit]
        rows += [(folder, row) for row in listed]
    texts = [row["Finding Labels"].split("|") for _, row in rows]
    soft = np.array([[float(row[f"prob_{finding}"] or "nan") for finding in FINDINGS] for _, row in rows])
    soft = np.clip(soft, 1e-5, 1 - 1e-5)
    names = [row["Image Index"] for _, row in rows]
    return BoxedRadiographs(
        names=np.array(names),
        folders=np.array([folder for folder, _ in rows]),
        images=np.stack([_pixels(data / folder / "images" / row["Image Index"]) for folder, row in rows]),
        patients=np.array([int(row["Patient ID"]) for _, row in rows]),
        labels=np.array([[float(finding in text) for finding in FINDINGS] for text in texts]),
        healthy=np.array([text == [NO_FINDING] for text in texts]),
        teacher=np.log(soft / (1 - soft)),
        rsna=np.array([row.get("rsna_class", "") for _, row in rows]),
        airspace=np.array([row.get("google_airspace_opacity", "") for _, row in rows]),
        boxes=tuple(boxes.get(name, {}) for name in names),
    )


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        grey = picture.convert("L")
        if grey.size != (SIDE, SIDE):
            grey = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
        return np.asarray(grey)


def _of_every_kind(
    rows: list[dict[str, str]], boxes: dict[str, dict[tuple[str, str], tuple[Box, ...]]]
) -> list[dict[str, str]]:
    """In turn a row of each kind: what RSNA's readers said, and which boxes there are."""
    kinds = [(row.get("rsna_class", ""), *sorted(boxes.get(row["Image Index"], ()))) for row in rows]
    turns = [kinds[:index].count(kind) for index, kind in enumerate(kinds)]
    return [rows[index] for index in np.argsort(turns, kind="stable")]


def read_boxes(path: Path) -> dict[str, dict[tuple[str, str], tuple[Box, ...]]]:
    """By image, source and finding what boxes.csv marks."""
    boxes: dict[str, dict[tuple[str, str], tuple[Box, ...]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            of_image = boxes.setdefault(row["Image Index"], {})
            key = (row["source"], row["finding"])
            box = (float(row["x"]), float(row["y"]), float(row["width"]), float(row["height"]))
            of_image[key] = (*of_image.get(key, ()), box)
    return boxes
