"""DICOM studies made to measure: any geometry, any photometric oddity, any of three scripts, any transfer syntax.

Everything is a function of its arguments (UIDs included), so the same call gives the same bytes. Typical use::

    planes = stack(24, (64, 80), spacing=(0.9, 0.7), distance=2.5, rotation=(20, 10, 5), tilt=15)
    paths = write(slices(volume_of(planes, ball((3.0, -4.0, 10.0), 4.0)), planes, modality="CT"), tmp_path)
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

COMPRESSED: tuple[UID, ...] = (JPEG2000Lossless, JPEGLSLossless, RLELossless)
"""Lossless transfer syntaxes that `compress` can write."""

_NAMESPACE = uuid.UUID("5a4c1d0e-3f0b-4a7e-9a52-6f2f5f5d7c11")


@dataclass(frozen=True)
class Patient:
    """Who the study is of; `character_set` is the value of Specific Character Set (0008,0005)."""

    name: str = "Doe^Jane"
    identifier: str = "SYNTH-1"
    character_set: str | tuple[str, ...] = "ISO_IR 100"
    sex: str = "F"


LATIN = Patient()
JAPANESE = Patient("Yamada^Tarou=山田^太郎=やまだ^たろう", "SYNTH-JP", ("", "ISO 2022 IR 87"), "M")
CYRILLIC = Patient("Люкceмбypг^Роза", "SYNTH-RU", "ISO_IR 144")
UNICODE = Patient("Wang^XiaoDong=王^小东", "SYNTH-CN", "ISO_IR 192", "M")


@dataclass(frozen=True)
class Plane:
    """Where one slice lies: PS3.3 section C.7.6.2.

    `row` is the direction in which the column index grows, `column` that in which the row index grows (unit vectors,
    patient coordinates); `spacing` is (between rows, between columns) in mm.
    """

    position: tuple[float, float, float]
    row: tuple[float, float, float]
    column: tuple[float, float, float]
    spacing: tuple[float, float]
    shape: tuple[int, int]

    @property
    def normal(self) -> NDArray[np.float64]:
        """row × column."""
        return np.cross(self.row, self.column)

    def point(self, row: float, column: float) -> NDArray[np.float64]:
        """Patient coordinates (mm) of a pixel's centre, written out independently of the product's code."""
        return (
            np.asarray(self.position)
            + np.asarray(self.row) * self.spacing[1] * column
            + np.asarray(self.column) * self.spacing[0] * row
        )

    def points(self) -> NDArray[np.float64]:
        """(rows, columns, 3): patient coordinates of every pixel."""
        rows = np.arange(self.shape[0])[:, None, None] * self.spacing[0] * np.asarray(self.column)
        columns = np.arange(self.shape[1])[None, :, None] * self.spacing[1] * np.asarray(self.row)
        return np.asarray(self.position) + rows + columns


def rotation_matrix(degrees: tuple[float, float, float]) -> NDArray[np.float64]:
    """Rotation about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        turn = np.eye(3)
        first, second = [(1, 2), (2, 0), (0, 1)][axis]
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def stack(
    count: int = 16,
    shape: tuple[int, int] = (48, 56),
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    distance: float | Sequence[float] = 2.0,
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0),
    tilt: float = 0.0,
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> list[Plane]:
    """Return planes of one series, in order along their normal.

    `distance` in mm along the table, one value or count - 1 values; `tilt` in degrees shears the stack as a CT gantry
    does: the planes turn about their row axis while the table keeps its direction. `rotation` turns everything.
    """
    turn = rotation_matrix(rotation)
    gantry = rotation_matrix((tilt, 0.0, 0.0))
    row, column = turn @ gantry @ np.array([1.0, 0, 0]), turn @ gantry @ np.array([0, 1.0, 0])
    table = turn @ np.array([0, 0, 1.0])
    steps = np.full(count - 1, float(distance)) if np.isscalar(distance) else np.asarray(distance, dtype=float)
    if len(steps) != count - 1:
        raise ValueError(f"{count} planes have {count - 1} distances, got {len(steps)}")
    along = np.concatenate([[0.0], np.cumsum(steps)])
    along -= along[-1] / 2
    corner = np.asarray(centre) - row * spacing[1] * (shape[1] - 1) / 2 - column * spacing[0] * (shape[0] - 1) / 2
    return [Plane(_triple(corner + table * step), _triple(row), _triple(column), spacing, shape) for step in along]


def fan(
    tilts: Sequence[float],
    shape: tuple[int, int] = (48, 56),
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    distance: float = 6.0,
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> list[Plane]:
    """Return planes, centred on the table, whose gantry tilt (degrees about the row axis) changes along the series."""
    turn = rotation_matrix(rotation)
    planes = []
    for index, tilt in enumerate(tilts):
        gantry = turn @ rotation_matrix((tilt, 0.0, 0.0))
        row, column = gantry @ np.array([1.0, 0, 0]), gantry @ np.array([0, 1.0, 0])
        middle = turn @ np.array([0, 0, distance * (index - (len(tilts) - 1) / 2)])
        corner = middle - row * spacing[1] * (shape[1] - 1) / 2 - column * spacing[0] * (shape[0] - 1) / 2
        planes.append(Plane(_triple(corner), _triple(row), _triple(column), spacing, shape))
    return planes


def volume_of(planes: Sequence[Plane], of: Callable[[NDArray[np.float64]], NDArray[Any]]) -> NDArray[np.int16]:
    """Sample a function of patient position ((..., 3) mm → (...) HU) on the planes: (slices, rows, columns) int16."""
    return np.stack([np.round(of(plane.points())).astype(np.int16) for plane in planes])


def ball(
    centre: tuple[float, float, float], radius: float, *, inside: float = 300.0, outside: float = -1000.0
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A ball in patient space, with a 1 mm soft edge; for `volume_of`."""

    def of(points: NDArray[np.float64]) -> NDArray[np.float64]:
        depth = np.clip(radius - np.linalg.norm(points - np.asarray(centre), axis=-1) + 0.5, 0, 1)
        return outside + (inside - outside) * depth

    return of


def slices(
    volume: NDArray[Any],
    planes: Sequence[Plane],
    *,
    modality: Literal["CT", "MR"] = "CT",
    patient: Patient = LATIN,
    study: str = "study",
    series: str = "series",
    series_number: int = 1,
    shuffled: bool = True,
    rescale: tuple[float, float] = (1.0, -1024.0),
    padding_value: int | None = None,
    photometric: str = "MONOCHROME2",
    window: tuple[float, float] | None = (40.0, 400.0),
) -> list[FileDataset]:
    """One single-frame instance a plane. `volume` is in modality units (HU); stored = (value - intercept) / slope.

    `shuffled` numbers the instances against the geometry, as no reader should rely on Instance Number.
    `study` and `series` name the UIDs: the same name gives the same UID.
    """
    slope, intercept = rescale if modality == "CT" else (1.0, 0.0)
    numbers = list(range(1, len(planes) + 1))
    if shuffled:
        np.random.default_rng(7).shuffle(numbers)
    made = []
    for values, plane, number in zip(volume, planes, numbers, strict=True):
        data = _start(
            CTImageStorage if modality == "CT" else MRImageStorage,
            modality,
            patient,
            study,
            series,
            number,
            series_number,
        )
        stored = np.round((values.astype(np.float64) - intercept) / slope)
        if padding_value is not None:
            data.PixelPaddingValue = padding_value
            data["PixelPaddingValue"].VR = "SS"
        data.FrameOfReferenceUID = _uid(study, "frame of reference")
        data.PositionReferenceIndicator = ""
        data.ImagePositionPatient = [_ds(v) for v in plane.position]
        data.ImageOrientationPatient = [_ds(v) for v in (*plane.row, *plane.column)]
        data.PixelSpacing = [_ds(v) for v in plane.spacing]
        data.SliceThickness = 2
        if modality == "CT":
            data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            data.RescaleSlope, data.RescaleIntercept, data.RescaleType = _ds(slope), _ds(intercept), "HU"
            data.KVP, data.AcquisitionNumber = 120, 1
        else:
            data.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
            data.ScanningSequence, data.SequenceVariant, data.ScanOptions = "SE", "NONE", ""
            data.MRAcquisitionType, data.EchoTime, data.EchoTrainLength = "2D", 10, 1
            data.RepetitionTime = 500
        _window(data, window)
        _pixels(data, stored.astype(np.int16), photometric, bits=16)
        made.append(data)
    return made


def radiograph(
    pixels: NDArray[Any],
    *,
    modality: Literal["CR", "DX", "MG"] = "CR",
    patient: Patient = LATIN,
    photometric: Literal["MONOCHROME1", "MONOCHROME2"] = "MONOCHROME2",
    bits: int = 12,
    spacing: tuple[float, float] | None = (0.2, 0.2),
    spacing_keyword: str = "ImagerPixelSpacing",
    window: tuple[float, float] | None = None,
    padding_value: int | None = None,
    body_part: str = "CHEST",
    view: str = "PA",
    study: str = "study",
    series: str = "series",
    number: int = 1,
    series_number: int = 1,
) -> FileDataset:
    """One projection radiograph; `pixels` are the stored values (rows, columns), unsigned, of `bits` bits."""
    mammography = modality == "MG"
    sop_class = {
        "CR": ComputedRadiographyImageStorage,
        "DX": DigitalXRayImageStorageForPresentation,
        "MG": UID("1.2.840.10008.5.1.4.1.1.1.2"),
    }[modality]
    data = _start(sop_class, modality, patient, study, series, number, series_number)
    data.BodyPartExamined = "BREAST" if mammography else body_part
    data.ViewPosition = "MLO" if mammography else view
    data.PatientOrientation = ["P", "H"] if mammography else ["L", "F"]
    data.ImageType = ["ORIGINAL", "PRIMARY", ""]
    if modality == "CR":
        data.CassetteOrientation, data.PlateID = "", ""
        del data.Laterality
    else:
        _digital_x_ray(data, mammography, photometric)
    if spacing is not None:
        setattr(data, spacing_keyword, [_ds(v) for v in spacing])
    if padding_value is not None:
        data.PixelPaddingValue = padding_value
        data["PixelPaddingValue"].VR = "US"
    _window(data, window)
    if window is None and modality != "CR":
        _window(data, (2.0 ** (bits - 1), 2.0**bits))
    _pixels(data, pixels.astype(np.uint16), photometric, bits=bits)
    return data


def cine(
    frames: NDArray[Any],
    *,
    modality: Literal["US", "NM"] = "US",
    patient: Patient = LATIN,
    study: str = "study",
    series: str = "series",
    number: int = 1,
) -> FileDataset:
    """One multi-frame instance without places in the patient: 8 bits of ultrasound, grey or RGB, or 12 of scintigraphy.

    `frames` are the stored values, (frames, rows, columns) or (frames, rows, columns, 3).
    """
    sop_class = UID("1.2.840.10008.5.1.4.1.1.3.1" if modality == "US" else "1.2.840.10008.5.1.4.1.1.20")
    data = _start(sop_class, modality, patient, study, series, number, 1)
    data.ImageType = ["ORIGINAL", "PRIMARY", "" if modality == "US" else "STATIC"]
    if frames.ndim == 4:
        _pixels(data, frames[0, :, :, 0], "RGB", bits=8)
        data.SamplesPerPixel, data.PlanarConfiguration = 3, 0
    else:
        _pixels(data, frames[0], "MONOCHROME2", bits=8 if modality == "US" else 12)
        _window(data, (127.5, 255) if modality == "US" else (2048, 4096))
    data.NumberOfFrames = len(frames)
    if modality == "US":
        data.BitsAllocated = 8
        data.FrameTime, data.FrameIncrementPointer = "40", Tag("FrameTime")
    else:
        data.FrameIncrementPointer = [Tag("EnergyWindowVector"), Tag("DetectorVector")]
        data.EnergyWindowVector, data.DetectorVector = [1] * len(frames), list(range(1, len(frames) + 1))
    stored = frames.astype(np.uint8 if data.BitsAllocated == 8 else "<u2").tobytes()
    data.PixelData = stored + b"\0" * (len(stored) % 2)
    return data


def enhanced(
    volume: NDArray[Any],
    planes: Sequence[Plane],
    *,
    modality: Literal["CT", "MR"] = "CT",
    patient: Patient = LATIN,
    study: str = "study",
    series: str = "series",
    series_number: int = 1,
    rescale: tuple[float, float] | Sequence[tuple[float, float]] = (1.0, -1024.0),
    order: Sequence[int] | None = None,
) -> FileDataset:
    """One enhanced multi-frame instance with functional groups: plane position per frame, the rest shared.

    `rescale` may differ from frame to frame, as on PET/MR; `order` stores the frames in another order than the
    geometry's. Only what readers of pixels and geometry need is filled: dciodvfy misses the acquisition groups.
    """
    sop_class = EnhancedCTImageStorage if modality == "CT" else EnhancedMRImageStorage
    data = _start(sop_class, modality, patient, study, series, 1, series_number)
    data.FrameOfReferenceUID = _uid(study, "frame of reference")
    data.PositionReferenceIndicator = ""
    data.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    order = list(range(len(planes))) if order is None else list(order)
    rescales = [rescale] * len(planes) if isinstance(rescale[0], float) else list(rescale)
    shared = Dataset()
    shared.PixelMeasuresSequence = [_item(PixelSpacing=[_ds(v) for v in planes[0].spacing], SliceThickness=2)]
    shared.PlaneOrientationSequence = [
        _item(ImageOrientationPatient=[_ds(v) for v in (*planes[0].row, *planes[0].column)])
    ]
    shared.FrameVOILUTSequence = [_item(WindowCenter=40, WindowWidth=400)]
    data.SharedFunctionalGroupsSequence = [shared]
    groups, stored = [], []
    for index in order:
        slope, intercept = rescales[index]  # type: ignore[misc]
        group = Dataset()
        group.FrameContentSequence = [
            _item(StackID="1", InStackPositionNumber=index + 1, DimensionIndexValues=[1, index + 1])
        ]
        group.PlanePositionSequence = [_item(ImagePositionPatient=[_ds(v) for v in planes[index].position])]
        group.PixelValueTransformationSequence = [
            _item(RescaleSlope=_ds(slope), RescaleIntercept=_ds(intercept), RescaleType="HU")
        ]
        groups.append(group)
        stored.append(np.round((volume[index].astype(np.float64) - intercept) / slope))
    data.PerFrameFunctionalGroupsSequence = groups
    organization = _uid(study, series, "dimensions")
    data.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organization)]
    data.DimensionIndexSequence = [
        _item(DimensionIndexPointer=Tag(keyword), FunctionalGroupPointer=Tag("FrameContentSequence"))
        for keyword in ("StackID", "InStackPositionNumber")
    ]
    for index in data.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization
    data.NumberOfFrames = len(groups)
    _pixels(data, np.stack(stored).astype(np.uint16), "MONOCHROME2", bits=16)
    return data


def compress(data: FileDataset, transfer_syntax: str) -> FileDataset:
    """A copy of the instance in one of `COMPRESSED`; lossless, so the same stored values and the same SOP UID."""
    copy = deepcopy(data)
    copy.compress(transfer_syntax, generate_instance_uid=False)
    return copy


def write(instances: Sequence[FileDataset], folder: Path) -> list[Path]:
    """Write each instance to `folder/SOPINSTANCEUID.dcm`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for data in instances:
        path = folder / f"{data.SOPInstanceUID}.dcm"
        data.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _start(
    sop_class: str, modality: str, patient: Patient, study: str, series: str, number: int, series_number: int
) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.ImplementationClassUID = generate_uid(entropy_srcs=["whyray", "synthetic"])
    data = FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta)
    sets = patient.character_set
    data.SpecificCharacterSet = list(sets) if isinstance(sets, tuple) else sets
    data.SOPClassUID = UID(sop_class)
    data.SOPInstanceUID = _uid(study, series, str(number))
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = _uid(study), _uid(study, series)
    data.PatientName, data.PatientID = patient.name, patient.identifier
    data.PatientSex, data.PatientBirthDate = patient.sex, "19600102"
    data.PatientPosition = "HFS"
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = "20260102"
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = data.ContentTime = "101500"
    data.StudyID, data.AccessionNumber, data.ReferringPhysicianName = "1", "ACC1", ""
    data.StudyDescription, data.SeriesDescription = "Synthetic", f"Synthetic {modality}"
    data.Modality, data.Manufacturer, data.ManufacturerModelName = modality, "Synthetic", "synthetic"
    data.DeviceSerialNumber, data.SoftwareVersions = "1", "1"
    data.SeriesNumber, data.InstanceNumber = series_number, number
    data.Laterality = ""
    return data


def _digital_x_ray(data: FileDataset, mammography: bool, photometric: str) -> None:
    data.PresentationIntentType = "FOR PRESENTATION"
    data.PixelIntensityRelationship, data.PixelIntensityRelationshipSign = "LOG", -1
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, 0, "US"
    data.LossyImageCompression, data.BurnedInAnnotation = "00", "NO"
    data.PresentationLUTShape = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    data.ImageLaterality = "R" if mammography else "U"
    data.DetectorType = "DIRECT"
    data.AcquisitionContextSequence = []
    del data.Laterality
    code = _item(CodeValue="T-D3000", CodingSchemeDesignator="SRT", CodeMeaning="Chest")
    if mammography:
        code = _item(CodeValue="T-04000", CodingSchemeDesignator="SRT", CodeMeaning="Breast")
        data.OrganExposed = "BREAST"
        data.PositionerType = "MAMMOGRAPHIC"
        view = _item(CodeValue="R-10226", CodingSchemeDesignator="SRT", CodeMeaning="medio-lateral oblique")
        view.ViewModifierCodeSequence = []
        data.ViewCodeSequence = [view]
    else:
        data.PositionerType = ""
    data.AnatomicRegionSequence = [code]


def _window(data: FileDataset, window: tuple[float, float] | None) -> None:
    if window is not None:
        data.WindowCenter, data.WindowWidth = _ds(window[0]), _ds(window[1])


def _pixels(data: FileDataset, stored: NDArray[Any], photometric: str, *, bits: int) -> None:
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, photometric
    data.Rows, data.Columns = stored.shape[-2:]
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    data.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    data["PixelData"].VR = "OW"


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _uid(*names: str) -> UID:
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(names)).int}")


def _ds(value: float) -> str:
    """A decimal string of at most 16 bytes (VR DS) with as many digits as fit."""
    for digits in range(15, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(f"{value} does not fit into a decimal string")


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
