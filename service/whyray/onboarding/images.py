"""Images to onboard a package on: files, what readers marked in them, and what is known of them."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.errors import ConfigError, ImageError, WhyRayError
from whyray.base.shown import shown_path
from whyray.base.statistics import evenly_spread
from whyray.imaging import ModelGrid, is_picture, read_images, to_model, wrap_picture
from whyray.onboarding.questions import OnboardingImage
from whyray.packages import Manifest

Box = tuple[float, float, float, float]
"""x, y of the upper left corner, width, height: in pixels of the source image, as in ChestX-ray14's list of boxes."""

_ALSO_CALLED = {"Image Index": "image", "finding": "target", "Finding Label": "target", "Patient ID": "patient"}
"""How NIH's lists of ChestX-ray14 call columns."""


@dataclass(frozen=True)
class Known:
    """What a site knows of its images, by file name or SOP Instance UID: boxes by target, labels by target, and whose
    an image is (a digest)."""

    boxes: Mapping[str, Mapping[str, Sequence[Box]]] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)


def read_known(truth: Path | None, labels: Path | None, targets: Sequence[str]) -> Known:
    """Read two CSV files. Rows of targets that the package does not have are left out.

    `truth`: image, target, x, y, width, height; one row a box. `labels`: image, and a column for each target with
    1, 0, or nothing where nobody looked. Both may have a column patient: images of one patient count together in
    intervals. Columns may be called as in NIH's lists of ChestX-ray14: Image Index, finding, Finding Label, Patient ID.
    Raises ConfigError with the line, or where `truth` has boxes and none is of a target of the package.
    """
    boxes: dict[str, dict[str, list[Box]]] = defaultdict(lambda: defaultdict(list))
    patients: dict[str, str] = {}
    others: set[str] = set()
    for line, row in csv_rows(truth, ("image", "target", "x", "y", "width", "height"), _ALSO_CALLED):
        if row["target"] in targets:
            x, y, width, height = (_number(truth, line, row[name]) for name in ("x", "y", "width", "height"))
            boxes[row["image"]][row["target"]].append((x, y, width, height))
            patients[row["image"]] = row.get("patient", "")
        else:
            others.add(row["target"])
    if others and not boxes:
        raise ConfigError(
            f"{truth}: no box is of a target of the package: it marks {', '.join(sorted(others))}; the package answers "
            f"{', '.join(targets)}",
            advice="Name the package's targets in the column target.",
        )
    said = {}
    for line, row in csv_rows(labels, ("image",), _ALSO_CALLED):
        said[row["image"]] = {name: _number(labels, line, row[name]) >= 0.5 for name in targets if row.get(name)}
        patients[row["image"]] = row.get("patient", "") or patients.get(row["image"], "")
    digests = {image: hashlib.sha256(patient.encode()).hexdigest() for image, patient in patients.items() if patient}
    return Known(boxes, said, digests)


def onboarding_images(
    files: Sequence[Path], manifest: Manifest, known: Known, *, most: int, progress: Callable[[float, str], None]
) -> tuple[list[OnboardingImage], list[str]]:
    """At most `most` images, evenly chosen, as the package takes them; and why others can't be taken.

    Raises ImageError where none can.
    """
    images: list[OnboardingImage] = []
    refused: list[str] = []
    for image in single_images(files, manifest, known, most=most, progress=progress):
        if isinstance(image, str):
            refused.append(image)
        else:
            images.append(replace(image.image, patient=image.image.patient or image.patient))
    if not images:
        raise ImageError(f"none of {len(refused)} images is for {manifest.name}: {refused[0]}")
    return images, refused


@dataclass(frozen=True)
class SingleImage:
    """One image as a package takes it, and what its source says that must not be kept.

    `patient` tells which images belong together (a digest of issuer and Patient ID; of a picture, nothing); `burned_in`
    whether Burned In Annotation (0028,0301) says YES; `names` are those by which a row of a CSV file may call it.
    """

    image: OnboardingImage
    patient: str
    burned_in: bool
    names: frozenset[str] = frozenset()


def single_images(
    files: Sequence[Path], manifest: Manifest, known: Known, *, most: int, progress: Callable[[float, str], None]
) -> Iterator[SingleImage | str]:
    """At most `most` images, evenly chosen, one at a time; words where one can't be taken."""
    groups = _groups(files, volumes=manifest.input.kind == "volume")
    picked = evenly_spread(len(groups), most)
    for number, index in enumerate(picked):
        progress(number / len(picked), f"reading image {number + 1} of {len(picked)}")
        try:
            yield from _read(groups[index], manifest, known)
        except WhyRayError as error:
            name = f"{groups[index][0].name}: " if is_picture(groups[index][0]) else ""
            yield f"{name}{error.message}"


def _read(files: Sequence[Path], manifest: Manifest, known: Known) -> Iterator[SingleImage]:
    pictures = [is_picture(file) for file in files]
    sources = [wrap_picture(file) if picture else file for file, picture in zip(files, pictures, strict=True)]
    for image in read_images(sources).or_raise():
        given = to_model(image, manifest.input)
        names = {files[0].name} if pictures[0] else {frame.sop_instance_uid for frame in image.frames} | {files[0].name}
        truth = {
            target: _on_grid(boxes, given.grid)
            for name in names & set(known.boxes)
            for target, boxes in known.boxes[name].items()
            if image.kind == "planar"
        }
        labels = {target: said for name in names & set(known.labels) for target, said in known.labels[name].items()}
        yield SingleImage(
            OnboardingImage(
                given.tensor, truth, labels, next((known.patients[name] for name in names & set(known.patients)), "")
            ),
            _patient(image.header),
            str(image.header.get("BurnedInAnnotation") or "").upper() == "YES",
            frozenset(names),
        )


def _patient(header: Any) -> str:
    patient = (str(header.get("IssuerOfPatientID") or ""), str(header.get("PatientID") or ""))
    return hashlib.sha256("\0".join(patient).encode()).hexdigest() if patient[1] else ""


def _on_grid(boxes: Sequence[Box], grid: ModelGrid) -> NDArray[np.bool_]:
    """True on places of the model's grid whose centre lies in a box; at least the one that is nearest to its centre."""
    mask = np.zeros(grid.shape, bool)
    for x, y, width, height in boxes:
        rows, columns = (
            _inside(grid, axis, start - 0.5, start + size - 0.5)
            for axis, start, size in ((0, y, height), (1, x, width))
        )
        mask |= np.outer(rows, columns)
    return mask


def _inside(grid: ModelGrid, axis: int, start: float, end: float) -> NDArray[np.bool_]:
    at = np.arange(grid.shape[axis]) * grid.to_reference[axis, axis] + grid.to_reference[axis, 2]
    inside = (at >= start) & (at < end)
    if not inside.any():
        inside[np.abs(at - (start + end) / 2).argmin()] = True
    return np.asarray(inside)


def _groups(files: Sequence[Path], *, volumes: bool) -> list[list[Path]]:
    """Files that make one image each: series for volumes, else single files."""
    import pydicom

    groups: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        key = str(path)
        if volumes and not is_picture(path):
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"], force=True)
            key = str(header.get("SeriesInstanceUID", key))
        groups[key].append(path)
    return list(groups.values())


def csv_rows(
    path: Path | None, columns: Sequence[str], also_called: Mapping[str, str] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV file that must have these columns; ConfigError where it has not. None: no row.

    `also_called`: other names of columns, and what they are called here.
    """
    if path is None:
        return
    if not path.exists():
        first = ", ".join(columns)
        raise ConfigError(
            f"there is no file {shown_path(path)}", advice=f"Name a CSV file in UTF-8 with the columns {first}."
        )
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as CSV: {error}", advice="Name a CSV file in UTF-8.") from error
    rows = csv.DictReader(text.splitlines())
    rows.fieldnames = [(also_called or {}).get(name, name) for name in rows.fieldnames or ()]
    missing = [column for column in columns if column not in rows.fieldnames]
    if missing:
        raise ConfigError(
            f"{path}: expected the columns {', '.join(columns)}, found no {', '.join(missing)}",
            line=1,
            advice="Name the columns in the first line.",
        )
    for row in rows:
        yield rows.line_num, row


def _number(path: Path | None, line: int, text: str) -> float:
    try:
        return float(text)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: expected a number, found {text!r}", line=line, advice="Correct the line."
        ) from error
