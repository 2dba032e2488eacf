"""The studies of the end-to-end tests: real ones, and made ones with all that real life brings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom.data
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless
from scipy.ndimage import map_coordinates

from planted import planted_package
from synthetic import CYRILLIC, JAPANESE, ball, compress, fan, radiograph, slices, stack, volume_of, write

SPOT = (slice(30, 42), slice(70, 86))
"""Rows and columns of the bright spot in every made radiograph (128 × 112 pixels, 0.4 × 0.25 mm)."""
BALL = (6.0, -5.0, 4.0)
"""Centre (mm, patient coordinates) of the bright ball in every made volume; its radius is 5 mm."""

KINDS = {
    "1.2.840.10008.5.1.4.1.1.7": "sc",
    "1.2.840.10008.5.1.4.1.1.66.4": "seg",
    "1.2.840.10008.5.1.4.1.1.30": "pm",
    "1.2.840.10008.5.1.4.1.1.88.34": "sr",
}
"""Kinds of result by SOP class."""


REPORTS_OF_FILMS = {
    "name": "films",
    "when": {"Modality": "CR"},
    "complete": {"on_release": True, "quiet_for": "1s", "at_most": "5m"},
    "run": "planted",
    "send": {"to": ["archive"], "as": ["sr"]},
}
"""A route of radiographs with the least that can be made of them: one report."""


@dataclass(frozen=True)
class SentStudy:
    """One study: its files, and which route it belongs to."""

    name: str
    paths: tuple[Path, ...]
    route: str

    @property
    def uid(self) -> str:
        return str(dcmread(self.paths[0], stop_before_pixels=True).StudyInstanceUID)

    @property
    def headers(self) -> list[Dataset]:
        return [dcmread(path, stop_before_pixels=True) for path in self.paths]


FILM_SPACING = (0.4, 0.25)


def film(name: str, **options: object) -> Dataset:
    """A radiograph with anisotropic spacing and one bright spot."""
    pixels = np.full((128, 112), 300, np.uint16)
    pixels[SPOT] = 3900
    if options.get("photometric") == "MONOCHROME1":
        pixels = 4095 - pixels
    options = {"spacing": FILM_SPACING, "window": (2048.0, 4096.0), "study": name, "series": name, **options}
    return radiograph(pixels, **options)  # type: ignore[arg-type]


def on_film(heatmap: Dataset) -> np.ndarray:
    """The map of a film of 128 x 112 pixels at the film's pixels, by what the map says of its own place and spacing."""
    (shared,) = heatmap.SharedFunctionalGroupsSequence
    group = heatmap.PerFrameFunctionalGroupsSequence[0]
    across, down = np.reshape(np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float), (2, 3))
    first = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    rows = (np.arange(128) * FILM_SPACING[0] - first @ down) / between_rows
    columns = (np.arange(112) * FILM_SPACING[1] - first @ across) / between_columns
    values = np.frombuffer(heatmap.FloatPixelData, np.float32).reshape(heatmap.Rows, heatmap.Columns)
    return np.asarray(map_coordinates(values, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest"))


def made(folder: Path) -> list[SentStudy]:
    """Studies with a planted spot or ball."""
    films = {
        "monochrome 1": film("monochrome 1", photometric="MONOCHROME1"),
        "japanese, JPEG 2000": compress(film("japanese, JPEG 2000", patient=JAPANESE, modality="DX"), JPEG2000Lossless),
        "cyrillic, JPEG-LS": compress(film("cyrillic, JPEG-LS", patient=CYRILLIC), JPEGLSLossless),
        "RLE": compress(film("RLE"), RLELossless),
    }
    studies = [SentStudy(name, tuple(write([data], folder / name)), "films") for name, data in films.items()]
    stacks = {
        "oblique CT": stack(20, (56, 48), spacing=(0.9, 1.1), distance=1.8, rotation=(12, 25, 8)),
        "tilted CT": stack(20, (56, 48), spacing=(0.9, 1.1), distance=[1.5] * 9 + [2.5] * 10, tilt=18),
        "fanned CT": fan(np.linspace(0, 14, 16).tolist(), (56, 48), spacing=(1.0, 1.0), distance=2.5),
    }
    for name, planes in stacks.items():
        images = slices(volume_of(planes, ball(BALL, 5.0)), planes, study=name, series=name)
        for image in images:
            image.BodyPartExamined = "PHANTOM"
        studies.append(SentStudy(name, tuple(write(images, folder / name)), "balls"))
    return studies


def real_chest() -> list[SentStudy]:
    """A real chest radiograph (pydicom-data), uncompressed: MONOCHROME1, no window that fits, spacing 0\\0."""
    return [SentStudy("real chest", (Path(pydicom.data.get_testdata_file("RG1_UNCI.dcm")),), "chest")]


def real_head() -> list[SentStudy]:
    """A real head CT whose gantry tilt and slice distance change along the series; none where the data are missing."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("WHYRAY_TEST_DATA", beside)) / "head-ct" / "ge-human-28-variable-tilt"
    paths = tuple(sorted(path for path in folder.glob("*") if path.is_file())) if folder.is_dir() else ()
    return [SentStudy("real head, variable tilt", paths, "heads")] if paths else []


def planted_packages(folder: Path) -> None:
    """The packages that light up the spot of every made radiograph, and the ball of every made volume."""
    planted_package(folder, shape=(128, 128), modalities=("CR", "DX"))
    planted_package(
        folder,
        name="planted-volume",
        kind="volume",
        shape=(40, 64, 64),
        spacing=(1.0, 1.0, 1.0),
        window=(-350.0, 1300.0),
        modalities=("CT",),
    )


def routes(destination: str, *, on_release: bool) -> list[dict[str, object]]:
    """A route for each of the studies above, with all kinds of result to one destination."""
    # on a busy machine a sender may pause for seconds within an association
    common = {
        "complete": {"on_release": on_release, "quiet_for": "20s" if on_release else "5s", "at_most": "5m"},
        "send": {"to": [destination], "as": ["sc", "seg", "pm", "sr"]},
    }
    made_film, made_volume = {"PatientID": {"contains": "SYNTH"}}, {"BodyPartExamined": "PHANTOM"}
    return [
        {"name": "films", "when": {"Modality": {"in": ["CR", "DX"]}, **made_film}, "run": "planted", **common},
        {"name": "balls", "when": {"Modality": "CT", **made_volume}, "run": "planted-volume", **common},
        {
            "name": "chest",
            "when": {"Modality": "CR", "not": made_film},
            "run": "cxr-findings@2",
            "targets": "top-1",
            "budget": {"quality_forwards": 40},
            "priority": "stat",
            **common,
        },
        {
            "name": "heads",
            "when": {"Modality": "CT", "not": made_volume},
            "run": "head-ct-tissue",
            "explain": ["seg-grad-cam"],
            "targets": ["bone"],
            "budget": {"quality_forwards": 4},
            **common,
        },
    ]
