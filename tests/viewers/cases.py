"""Studies with a lesion at a known place, and all results about it, as an archive holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import httpx
import numpy as np
import pydicom.data
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from results.answers import NODULE, PACKAGE, a_map, answer_about, image_of
from synthetic import radiograph
from whyray.base.coded_concept import CodedConcept
from whyray.compression.lossless import LosslessCompression
from whyray.config import DicomDestination, ResultKind
from whyray.demo.phantom import Scan, phantom
from whyray.packages import TargetSpec
from whyray.results import EVERY_KIND, Finding, PackageIdentity, Result, build_results, encode, load_templates

HAEMORRHAGE = TargetSpec(
    name="Haemorrhage",
    code=CodedConcept(value="1386000", scheme="SCT", meaning="Intracranial hemorrhage"),
    anatomy=CodedConcept(value="12738006", scheme="SCT", meaning="Brain"),
    threshold=0.5,
)
EFFUSION = TargetSpec(name="Effusion", threshold=0.5)
_PACKAGE = replace(PACKAGE, name="head-findings", title="Head findings")
_CENTRE, _RADIUS = np.array([30.0, 18.0, 22.0]), 11.0
"""Of the haemorrhage in mm, LPS: left, posterior and above, so that any flip or transposition puts it elsewhere."""
_MASS = (520, 1290, 90.0)
"""Row, column and radius, in pixels, of a region in the upper left lung of the real radiograph."""

_SPACING, _OPACITY = (0.3, 0.3), (96, 214, 12.0)
"""Pixel spacing in mm of a made radiograph; row, column and radius in mm of the opacity in it: up and to the right."""


@dataclass(frozen=True)
class Case:
    """A study: its source instances with (rows, columns) of each that the lesion takes, and the results about it."""

    sources: Sequence[Dataset]
    lesions: Sequence[NDArray[np.bool_]]
    results: Sequence[Result]

    @property
    def study(self) -> str:
        """Study Instance UID."""
        return str(self.sources[0].StudyInstanceUID)

    @property
    def key(self) -> int:
        """Index of the source instance that shows most of the lesion."""
        return int(np.argmax([lesion.sum() for lesion in self.lesions]))

    def of(self, kind: ResultKind) -> Result:
        """The first result of a kind; of pages the first about a finding."""
        return next(result for result in self.results if result.kind == kind and (kind != "sc" or result.finding))

    @property
    def first_page(self) -> Result:
        """The page that a viewer opens with: what was found."""
        pages = [result for result in self.results if result.kind == "sc"]
        return min(pages, key=lambda page: int(page.dataset.InstanceNumber))

    def store(self, archive_url: str) -> Mapping[str, str]:
        """Store all instances in an Orthanc; SOP Instance UID → Orthanc's identifier."""
        stored = {}
        with httpx.Client(base_url=archive_url, timeout=60) as archive:
            for data in (*self.sources, *(result.dataset for result in self.results)):
                answer = archive.post("/instances", content=_as_delivered(data)).raise_for_status()
                stored[str(data.SOPInstanceUID)] = str(answer.json()["ID"])
        return stored


def _as_delivered(data: Dataset) -> bytes:
    """As an archive that takes every transfer syntax gets it by default: compressed, where there is a compression."""
    compression = LosslessCompression()
    possible = compression.syntaxes(str(data.SOPClassUID))
    default = DicomDestination(ae_title="ARCHIVE", host="127.0.0.1").transfer_syntaxes
    first = next((syntax for syntax in default if syntax in possible), None)
    file = encode(data)
    made_here = "ContributingEquipmentSequence" in data
    return file if first is None or not made_here else compression.compressed(file, first)


@cache
def head_ct() -> Case:
    """A procedural head with a haemorrhage, and a map that is 0.5 on the haemorrhage's surface and more inside."""
    sources: list[Dataset] = list(phantom(Scan(slices=16, distance=6.0, size=192, spacing=(1.2, 1.2))))
    distances = [_distance(data) for data in sources]
    lesions = [distance <= _RADIUS for distance in distances]
    for data, lesion in zip(sources, lesions, strict=True):
        pixels = np.frombuffer(data.PixelData, "<i2").reshape(data.Rows, data.Columns).copy()
        pixels[lesion] = 72 - int(data.RescaleIntercept)
        data.PixelData = pixels.tobytes()
    values = [np.exp(-np.log(2) * (distance / _RADIUS) ** 2) for distance in distances]
    return _explained(sources, lesions, values, EVERY_KIND, HAEMORRHAGE, _PACKAGE)


@cache
def chest_radiograph() -> Case:
    """A real radiograph, without position or frame of reference, of which one place is explained."""
    source = dcmread(str(pydicom.data.get_testdata_file("RG1_UNCR.dcm")))
    rows, columns = np.indices((source.Rows, source.Columns))
    row, column, radius = _MASS
    distance = np.hypot(rows - row, columns - column) / radius
    return _explained([source], [distance <= 1], [np.exp(-np.log(2) * distance**2)], ["sc", "seg", "sr"], NODULE)


@cache
def film() -> Case:
    """A radiograph with a bright rim, by which places in it are found on the screen, and a round opacity.

    Its pixels are square: OHIF 3.12 takes the spacings of a radiograph for each other when it draws an outline.
    """
    pixels = np.full((360, 300), 1100, np.uint16)
    pixels[:18], pixels[-18:], pixels[:, :18], pixels[:, -18:] = 4095, 4095, 4095, 4095
    # dark beyond the rim, so that it does not touch the border that OHIF draws around a viewport
    pixels[:12], pixels[-12:], pixels[:, :12], pixels[:, -12:] = 0, 0, 0, 0
    rows, columns = np.indices(pixels.shape)
    row, column, radius = _OPACITY
    distance = np.hypot((rows - row) * _SPACING[0], (columns - column) * _SPACING[1]) / radius
    pixels[distance <= 1] = 1900
    source = radiograph(
        pixels, modality="DX", spacing=_SPACING, window=(2048.0, 4096.0), study="opacity", series="opacity"
    )
    # OHIF draws no outline on an image without; many radiographs have one, and nothing else that places them
    source.FrameOfReferenceUID, source.PositionReferenceIndicator = f"{source.StudyInstanceUID}.1"[:64], ""
    values = np.exp(-np.log(2) * distance**2)
    return _explained([source], [distance <= 1], [values], ["sc", "seg", "pm", "sr"], NODULE, others=(EFFUSION,))


def _explained(
    sources: Sequence[Dataset],
    lesions: Sequence[NDArray[np.bool_]],
    values: Sequence[NDArray[np.float64]],
    kinds: Sequence[ResultKind],
    target: TargetSpec,
    package: PackageIdentity = PACKAGE,
    others: Sequence[TargetSpec] = (),
) -> Case:
    """`others` are findings that the model looked for and did not see."""
    image = image_of(sources)
    of_instance = {str(data.SOPInstanceUID): value for data, value in zip(sources, values, strict=True)}
    volume = np.stack([of_instance[frame.sop_instance_uid] for frame in image.frames])
    volume /= volume.max()
    region = a_map(image, volume)
    finding = Finding(target, present=True, probability=0.93, maps=(region,))
    findings = [*(Finding(other, present=False, probability=0.04) for other in others), finding]
    return Case(
        sources, lesions, build_results(answer_about(image, findings, package=package), kinds, load_templates())
    )


def _distance(data: Dataset) -> NDArray[np.float64]:
    """(rows, columns): mm from the haemorrhage's centre, by the formula of PS3.3 C.7.6.2.1.1."""
    across, down = np.reshape(np.array(data.ImageOrientationPatient, float), (2, 3))
    between_rows, between_columns = map(float, data.PixelSpacing)
    rows, columns = np.indices((data.Rows, data.Columns))[..., None]
    points = (
        np.array(data.ImagePositionPatient, float) + columns * between_columns * across + rows * between_rows * down
    )
    return np.asarray(np.linalg.norm(points - _CENTRE, axis=-1))
