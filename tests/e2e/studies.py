"""The studies of the end-to-end tests: real ones, and made ones with all that real life brings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom.data
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from synthetic import CYRILLIC, JAPANESE, ball, compress, fan, radiograph, slices, stack, volume_of, write

SPOT = (slice(30, 42), slice(70, 86))
"""Rows and columns of the bright spot in every made radiograph (128 × 112 pixels, 0.4 × 0.25 mm)."""
BALL = (6.0, -5.0, 4.0)
"""Centre (mm, patient coordinates) of the bright ball in every made volume; its radius is 5 mm."""


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
        return [dcmread(each, stop_before_pixels=True) for each in self.paths]


def film(name: str, **options: object) -> Dataset:
    """A radiograph with anisotropic spacing and one bright spot."""
    pixels = np.full((128, 112), 300, np.uint16)
    pixels[SPOT] = 3900
    if options.get("photometric") == "MONOCHROME1":
        pixels = 4095 - pixels
    options = {"spacing": (0.4, 0.25), "window": (2048.0, 4096.0), "study": name, "series": name, **options}
    return radiograph(pixels, **options)  # type: ignore[arg-type]


def made(folder: Path) -> list[SentStudy]:
    """Studies with a planted spot or ball."""
    films = {
        "monochrome 1": film("monochrome 1", photometric="MONOCHROME1"),
        "japanese, JPEG 2000": compress(film("japanese, JPEG 2000", patient=JAPANESE, modality="DX"), JPEG2000Lossless),
        "cyrillic, JPEG-LS": compress(film("cyrillic, JPEG-LS", patient=CYRILLIC), JPEGLSLossless),
        "RLE": compress(film("RLE"), RLELossless),
    }
    found = [SentStudy(name, tuple(write([data], folder / name)), "films") for name, data in films.items()]
    stacks = {
        "oblique CT": stack(20, (56, 48), spacing=(0.9, 1.1), distance=1.8, rotation=(12, 25, 8)),
        "tilted CT": stack(20, (56, 48), spacing=(0.9, 1.1), distance=[1.5] * 9 + [2.5] * 10, tilt=18),
        "fanned CT": fan(np.linspace(0, 14, 16).tolist(), (56, 48), spacing=(1.0, 1.0), distance=2.5),
    }
    for name, planes in stacks.items():
        images = slices(volume_of(planes, ball(BALL, 5.0)), planes, study=name, series=name)
        for each in images:
            each.BodyPartExamined = "PHANTOM"
        found.append(SentStudy(name, tuple(write(images, folder / name)), "balls"))
    return found


def real_chest() -> list[SentStudy]:
    """A real chest radiograph (pydicom-data), uncompressed: MONOCHROME1, no window that fits, spacing 0\\0."""
    return [SentStudy("real chest", (Path(pydicom.data.get_testdata_file("RG1_UNCI.dcm")),), "chest")]
