"""Makes a procedural head CT series in HU, so that the demo has slices whose licence is nobody's concern.

Anatomy is a function of patient position (mm, LPS: +x left, +y posterior, +z superior; the origin is the head's
centre), sampled on whatever planes are asked for: axial, oblique, or tilted as by a gantry. It is a plausible picture,
not a model of any person.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from scipy import ndimage

from whyray.base.arrays import DoubleArray

AIR, FAT, SOFT, CSF, WHITE, GREY, DIPLOE, TABLE = -1000.0, -90.0, 45.0, 6.0, 29.0, 38.0, 520.0, 1350.0
"""Hounsfield units of the tissues."""

_NAMESPACE = uuid.UUID("6f1f2f0b-6a1a-4f0e-8f5e-0d3a8f5d21c4")
_HEAD = (74.0, 93.0, 92.0)
"""Half axes of the skull's outside in mm: to the side, to the front, upwards."""


@dataclass(frozen=True)
class Scan:
    """How the phantom is scanned.

    Attributes
    ----------
    slices, distance
        Number of slices and the way of the table between two, in mm.
    size, spacing
        Rows and columns of a slice, and (between rows, between columns) in mm.
    rotation
        Degrees about x, then y, then z, by which the planes and the table are turned: an oblique series.
    tilt
        Degrees by which the gantry is tilted about the x axis: the planes turn, the table keeps its direction.
    seed
        Of the noise and of the small differences between one head and another.
    noise
        Standard deviation in HU.
    """

    slices: int = 36
    distance: float = 4.5
    size: int = 256
    spacing: tuple[float, float] = (0.9, 0.9)
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tilt: float = 0.0
    seed: int = 1
    noise: float = 4.0


def write_phantom(folder: Path, scan: Scan | None = None) -> list[Path]:
    """Write the series, one file a slice, and give the paths in order along the table.

    The same scan gives the same bytes and the same UIDs.
    """
    scan = scan or Scan()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for data in phantom(scan):
        path = folder / f"{data.InstanceNumber:03d}.dcm"
        data.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def phantom(scan: Scan) -> list[FileDataset]:
    """The series as CT Image Storage instances (PS3.3 section A.3), in order along the table."""
    positions, row, column = planes(scan)
    rng = np.random.default_rng(scan.seed)
    shape = _Individual.draw(rng)
    made = []
    for number, position in enumerate(positions, start=1):
        values = hounsfield(_points(scan, position, row, column), shape)
        # the focal spot and the detector blur what the formula draws with sharp edges
        values = ndimage.gaussian_filter(values, 0.55) + _noise(values.shape, scan.noise, rng)
        made.append(_instance(scan, number, position, row, column, values))
    return made


def planes(scan: Scan) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Where the slices lie: (slices, 3) positions of the first pixels, and the directions of rows and columns."""
    turn, gantry = _rotation(scan.rotation), _rotation((scan.tilt, 0.0, 0.0))
    row, column, table = turn @ gantry @ [1.0, 0, 0], turn @ gantry @ [0, 1.0, 0], turn @ [0, 0, 1.0]
    half = (scan.size - 1) / 2
    corner = -row * scan.spacing[1] * half - column * scan.spacing[0] * half
    along = (np.arange(scan.slices) - (scan.slices - 1) / 2) * scan.distance
    return corner + along[:, None] * table, row, column


def _rotation(degrees: tuple[float, float, float]) -> DoubleArray:
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        first, second = [(1, 2), (2, 0), (0, 1)][axis]
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def _points(scan: Scan, position: DoubleArray, row: DoubleArray, column: DoubleArray) -> DoubleArray:
    steps = np.arange(scan.size)
    down, across = steps[:, None, None] * scan.spacing[0] * column, steps[None, :, None] * scan.spacing[1] * row
    return np.asarray(position + down + across)


@dataclass(frozen=True)
class _Individual:
    """What differs from head to head: scale, size of the ventricles, phases of the folds."""

    scale: float
    ventricles: float
    phases: tuple[float, ...]

    @staticmethod
    def draw(rng: np.random.Generator) -> _Individual:
        """One head."""
        return _Individual(rng.uniform(0.97, 1.03), rng.uniform(0.85, 1.2), tuple(rng.uniform(0, 2 * np.pi, 3)))


def hounsfield(points: DoubleArray, individual: _Individual) -> DoubleArray:
    """CT numbers (HU) at patient positions (..., 3) in mm, without noise."""
    x, y, z = np.moveaxis(points / individual.scale, -1, 0)
    values = np.full(x.shape, AIR)
    _holder(values, x, y, z)
    _soft_parts(values, x, y, z)
    _skull_and_brain(values, x, y, z, individual)
    _ventricles(values, x, y, z, individual.ventricles)
    _face(values, x, y, z)
    return values


def _inside(
    x: DoubleArray, y: DoubleArray, z: DoubleArray, centre: tuple[float, float, float], axes: tuple[float, ...]
) -> Any:
    """Where an ellipsoid lies."""
    return _radius(x, y, z, centre, axes) <= 1.0


def _radius(
    x: DoubleArray, y: DoubleArray, z: DoubleArray, centre: tuple[float, float, float], axes: tuple[float, ...]
) -> DoubleArray:
    terms = ((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 + ((z - centre[2]) / axes[2]) ** 2
    return np.asarray(np.sqrt(terms))


def _holder(values: DoubleArray, x: DoubleArray, y: DoubleArray, z: DoubleArray) -> None:
    radius = np.hypot(x, y)
    cradle = (y > 25) & (z > -75)
    values[cradle & (radius > 103) & (radius < 112)] = -850.0  # foam
    values[cradle & (radius >= 112) & (radius < 114)] = 80.0  # carbon shell


def _soft_parts(values: DoubleArray, x: DoubleArray, y: DoubleArray, z: DoubleArray) -> None:
    scalp = _radius(x, y, z, (0, 0, 0), tuple(axis + 6.0 for axis in _HEAD))
    neck = (z < -45) & (np.hypot(x / 62, (y - 12) / 72) < 1)
    jaw = _inside(x, y, z, (0, -45, -75), (58, 48, 48))
    cheeks = _inside(x, y, z, (0, -52, -48), (64, 52, 44))
    body = (scalp < 1) | neck | jaw | cheeks
    values[body] = SOFT
    values[body & (scalp > 0.955) & (scalp < 0.99)] = FAT
    ear = _inside(np.abs(x), y, z, (81, 8, -35), (7, 14, 22))
    values[ear] = SOFT


def _skull_and_brain(
    values: DoubleArray, x: DoubleArray, y: DoubleArray, z: DoubleArray, individual: _Individual
) -> None:
    bone = _radius(x, y, z, (0, 0, 0), _HEAD)
    # thicker at the back and at the base; the base is closed at z = -58
    inner = 0.925 - 0.02 * np.clip(y / 93, 0, 1) - 0.02 * (z < -40)
    above = z > -58
    shell = (bone <= 1) & (bone > inner) & (z > -70)
    depth = (1 - bone) / (1 - inner)
    values[shell] = np.where((depth > 0.3) & (depth < 0.7), DIPLOE, TABLE)[shell]
    cavity = (bone <= inner) & above
    values[cavity] = CSF
    one, two, three = individual.phases
    folds = np.sin(x / 4.1 + 2 * np.sin(y / 9.3 + one)) * np.sin(y / 4.7 + 2 * np.sin(z / 8.9 + two))
    folds = folds * np.sin(z / 5.3 + three + x / 13)
    rim = bone / inner
    brain = cavity & (rim < 0.975 + 0.02 * folds) & ~((np.abs(x) < 1.2) & (z > -5) & (rim > 0.45))
    values[brain] = np.where(rim > 0.86 + 0.09 * folds, GREY, WHITE)[brain]
    nuclei = _inside(np.abs(x), y, z, (22, -8, 0), (9, 20, 14)) | _inside(np.abs(x), y, z, (11, 12, 2), (8, 13, 10))
    values[brain & nuclei] = GREY
    falx = cavity & (np.abs(x) < 0.8) & (z > 5) & (rim > 0.5)
    values[falx] = 60.0
    tentorium = cavity & (y > 15) & (np.abs(z + 22 + 0.12 * (y - 50)) < 1.1)
    values[tentorium] = 58.0
    base = (bone <= inner) & (z <= -58) & (z > -66) & (np.hypot(x / 62, y / 80) < 1)
    values[base] = 750.0
    foramen = np.hypot(x / 15, (y - 32) / 18) < 1
    values[(z <= -58) & foramen] = CSF
    values[(z <= -40) & (np.hypot(x / 8, (y - 32) / 8) < 1)] = WHITE  # medulla
    ridge = _inside(np.abs(x), y + 0.35 * np.abs(x), z, (42, 22, -50), (26, 9, 9))
    values[ridge] = 1500.0
    mastoid = _radius(np.abs(x), y, z, (58, 22, -52), (10, 15, 13))
    values[mastoid <= 1] = 700.0
    values[(mastoid <= 0.85) & (np.sin(1.1 * x) * np.sin(y) * np.sin(z) > 0)] = -600.0


def _ventricles(values: DoubleArray, x: DoubleArray, y: DoubleArray, z: DoubleArray, size: float) -> None:
    side = np.abs(x)
    # the lateral ventricles bend outwards to the back
    bend = 10 + 0.006 * (y + 10) ** 2 * (y > -10)
    lateral = _inside(side - bend, y, z, (0, 4, 14), (6 * size, 38 * size, 10 * size))
    third = _inside(side, y, z, (0, 2, -3), (2.2 * size, 14, 9))
    fourth = _inside(side, y, z, (0, 32, -32), (7 * size, 6, 9))
    values[lateral | third | fourth] = CSF
    values[_inside(x, y, z, (0, 17, 1), (2.4, 3.0, 2.6))] = 180.0  # pineal calcification
    values[_inside(side, y, z, (19, 27, 12), (2.6, 4.5, 3.0))] = 130.0  # choroid plexus


def _face(values: DoubleArray, x: DoubleArray, y: DoubleArray, z: DoubleArray) -> None:
    side = np.abs(x)
    orbit = _radius(side, y, z, (31, -72, -34), (19, 24, 18))
    values[orbit <= 1] = 600.0
    values[orbit <= 0.88] = FAT
    eye = _radius(side, y, z, (31, -80, -34), (12, 12, 12))
    values[eye <= 1] = 12.0
    values[_inside(side, y, z, (31, -90, -34), (4.5, 2.2, 4.5))] = 95.0  # lens
    for centre, axes in (
        ((10.0, -80.0, -16.0), (12.0, 6.0, 11.0)),  # frontal sinus
        ((9.0, -60.0, -38.0), (6.0, 16.0, 11.0)),  # ethmoid cells
        ((8.0, -30.0, -50.0), (9.0, 12.0, 9.0)),  # sphenoid sinus
        ((28.0, -58.0, -68.0), (14.0, 15.0, 15.0)),  # maxillary sinus
    ):
        radius = _radius(side, y, z, centre, axes)
        values[radius <= 1.12] = 700.0
        values[radius <= 1.0] = AIR
    nose = (side > 1) & _inside(side, y, z, (6, -62, -68), (6, 26, 20))
    values[nose] = AIR
    throat = _inside(x, y, z, (0, -22, -82), (11, 9, 26))
    values[throat] = AIR
    vertebra = np.hypot(x / 24, (y - 22) / 20)
    canal = np.hypot(x / 12, (y - 32) / 9)
    values[(z < -70) & (vertebra < 1)] = 450.0
    values[(z < -70) & (canal < 1)] = CSF
    teeth = (z < -84) & (z > -100) & (np.abs(np.hypot(x, y + 50) - 30) < 4) & (y < -50)
    values[teeth] = 2200.0


def _noise(shape: tuple[int, ...], deviation: float, rng: np.random.Generator) -> DoubleArray:
    # filtered back-projection leaves noise that is correlated over about a pixel
    raw = ndimage.gaussian_filter(rng.standard_normal(shape), 0.6)
    return np.asarray(raw / raw.std() * deviation)


def _instance(
    scan: Scan, number: int, position: DoubleArray, row: DoubleArray, column: DoubleArray, values: DoubleArray
) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = _uid(scan, f"instance {number}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = _uid(scan, "study"), _uid(scan, "series")
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = _uid(scan, "frame of reference"), ""
    data.PatientName, data.PatientID = "Phantom^Head", f"PHANTOM-{scan.seed}"
    data.PatientBirthDate, data.PatientSex = "", "O"
    data.StudyDate = data.SeriesDate = data.ContentDate = data.AcquisitionDate = "20260101"
    data.StudyTime = data.SeriesTime = data.ContentTime = data.AcquisitionTime = "120000"
    data.ReferringPhysicianName, data.StudyID, data.AccessionNumber = "", str(scan.seed), ""
    data.StudyDescription, data.SeriesDescription = "Head CT phantom", "Procedural head, not a patient"
    data.Modality, data.Manufacturer, data.ManufacturerModelName = "CT", "Procedural phantom", "Head"
    data.BodyPartExamined, data.PatientPosition = "HEAD", "HFS"
    data.SeriesNumber, data.AcquisitionNumber, data.InstanceNumber = 1, 1, number
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.KVP, data.SliceThickness, data.GantryDetectorTilt = "120", _ds(scan.distance), _ds(scan.tilt)
    data.ConvolutionKernel = "SOFT"
    data.ImagePositionPatient = [_ds(coordinate) for coordinate in position]
    data.ImageOrientationPatient = [_ds(cosine) for cosine in (*row, *column)]
    data.PixelSpacing = [_ds(spacing) for spacing in scan.spacing]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows = data.Columns = scan.size
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = "-1024", "1", "HU"
    data.WindowCenter, data.WindowWidth = "40", "80"
    stored = np.clip(np.round(values) + 1024, 0, 4095).astype("<i2")
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OW"
    return data


def _ds(value: float) -> str:
    """At most 16 characters (PS3.5 table 6.2-1)."""
    return f"{value:.9f}".rstrip("0").rstrip(".")[:16] if abs(value) > 1e-9 else "0"


def _uid(scan: Scan, what: str) -> str:
    return f"2.25.{uuid.uuid5(_NAMESPACE, f'{asdict(scan)} {what}').int}"
