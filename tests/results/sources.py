"""Sources of every kind that results are made from: real files of pydicom and pydicom-data, and made ones."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom.data
from pydicom import Dataset, dcmread

import synthetic
from whyray.imaging import SourceImage, read_images


def _real(name: str) -> Path:
    return Path(pydicom.data.get_testdata_file(name))


def _noise(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 4095, (rows, columns))


def tilted_planes() -> list[synthetic.Plane]:
    return synthetic.stack(
        10, (48, 56), spacing=(0.9, 0.7), distance=[2, 2, 2, 3, 3, 4, 4, 5, 5], tilt=15, rotation=(5, 3, 2)
    )


def tilted(patient: synthetic.Patient = synthetic.JAPANESE, **options: object) -> list[Dataset]:
    planes = tilted_planes()
    return synthetic.slices(
        synthetic.volume_of(planes, synthetic.ball((3, -4, 0), 8)), planes, patient=patient, **options
    )


def _enhanced() -> list[Dataset]:
    planes = tilted_planes()
    volume = synthetic.volume_of(planes, synthetic.ball((3, -4, 0), 8))
    return [synthetic.enhanced(volume, planes, modality="MR", rescale=(1.0, -1024.0), order=list(range(9, -1, -1)))]


def _nameless() -> list[Dataset]:
    """A radiograph whose identifying attributes are empty or absent."""
    made = synthetic.radiograph(_noise(60, 40), modality="CR", spacing=None)
    made.PatientID = made.StudyDate = made.StudyTime = made.PatientName = ""
    for keyword in ("AccessionNumber", "StudyID", "PatientSex", "PatientBirthDate", "ReferringPhysicianName"):
        delattr(made, keyword)
    return [made]


SOURCES: dict[str, Callable[[], list[Path | Dataset]]] = {
    "real chest CR": lambda: [_real("RG1_UNCR.dcm")],
    "real tibia CR, JPEG 2000": lambda: [_real("RG3_J2KI.dcm")],
    "real CT": lambda: [_real("CT_small.dcm")],
    "real CT without slice thickness": lambda: [_real("explicit_VR-UN.dcm")],
    "real MR": lambda: [_real("MR_small.dcm")],
    "real US in colour": lambda: [_real("US1_UNCR.dcm")],
    "real enhanced MR": lambda: [_real("emri_small.dcm")],
    "real enhanced CT": lambda: [_real("eCT_Supplemental.dcm")],
    "DX, Japanese": lambda: [
        synthetic.radiograph(_noise(90, 60), modality="DX", patient=synthetic.JAPANESE, spacing=(0.2, 0.1))
    ],
    "MG, Cyrillic": lambda: [synthetic.radiograph(_noise(90, 60), modality="MG", patient=synthetic.CYRILLIC)],
    "CR without identity": _nameless,
    "tilted CT, Japanese": tilted,
    "enhanced MR volume": _enhanced,
}
PLANAR = ("real chest CR", "real CT", "DX, Japanese", "MG, Cyrillic", "CR without identity")
VOLUMES = ("tilted CT, Japanese", "enhanced MR volume")

_images: dict[str, SourceImage] = {}


def image_named(name: str) -> SourceImage:
    if name not in _images:
        _images[name] = read_images(SOURCES[name]()).or_raise()[0]
    return _images[name]


def read(file: bytes) -> Dataset:
    return dcmread(BytesIO(file))
