"""Breast imaging made to measure: mammograms of four views, tomosynthesis and projections of one breast.

A breast here is half an ellipse on the chest wall with one bright spot, whose place is said in the patient: how far in
front of the chest wall (0..1 of the breast), and how far along the other direction of the view (0..1 from the image's
top, as it hangs). The same arguments give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset
from pydicom.uid import UID

from synthetic import LATIN, Patient, Plane, radiograph

Side = Literal["R", "L"]
View = Literal["CC", "MLO"]

VIEWS: dict[str, tuple[str, str, str]] = {
    "CC": ("399162004", "R-10242", "cranio-caudal"),
    "MLO": ("399368009", "R-10226", "medio-lateral oblique"),
}
"""CID 4014: SNOMED CT, SNOMED RT, meaning."""
ORIENTATIONS: dict[tuple[Side, View], tuple[str, str]] = {
    ("R", "CC"): ("P", "L"),
    ("L", "CC"): ("A", "R"),
    ("R", "MLO"): ("P", "FL"),
    ("L", "MLO"): ("A", "FR"),
}
"""Patient Orientation as detectors write it: chest wall at the right of right breasts, lateral or cranial on top."""
FOR_PRESENTATION = UID("1.2.840.10008.5.1.4.1.1.1.2")
FOR_PROCESSING = UID("1.2.840.10008.5.1.4.1.1.1.2.1")
TOMOSYNTHESIS = UID("1.2.840.10008.5.1.4.1.1.13.1.3")
PROJECTION = {
    "FOR PRESENTATION": UID("1.2.840.10008.5.1.4.1.1.13.1.4"),
    "FOR PROCESSING": UID("1.2.840.10008.5.1.4.1.1.13.1.5"),
}
SHAPE = (164, 128)


def breast(side: Side, spot: tuple[float, float] | None, shape: tuple[int, int] = SHAPE) -> NDArray[np.float64]:
    """(rows, columns) in 0..1 as displayed: air 0, breast up to 0.45, spot 0.95; `spot` is (from the top, from the
    chest wall)."""
    rows, columns = np.mgrid[0.5 : shape[0], 0.5 : shape[1]]
    from_wall = columns / shape[1] if side == "L" else 1 - columns / shape[1]
    down = rows / shape[0]
    depth = 1 - (from_wall / 0.8) ** 2 - ((down - 0.5) / 0.42) ** 2
    shown = np.where(depth > 0, 0.15 + 0.3 * np.sqrt(np.clip(depth, 0, None)), 0.0)
    if spot is not None:
        shown[np.hypot((down - spot[0]) * shape[0], (from_wall - spot[1]) * shape[1]) < 0.05 * shape[1]] = 0.95
    return shown


def mammogram(
    side: Side = "R",
    view: View = "CC",
    spot: tuple[float, float] | None = (0.3, 0.4),
    *,
    shape: tuple[int, int] = SHAPE,
    intent: Literal["FOR PRESENTATION", "FOR PROCESSING"] = "FOR PRESENTATION",
    photometric: Literal["MONOCHROME1", "MONOCHROME2"] = "MONOCHROME2",
    coding: Literal["SCT", "SRT"] = "SCT",
    modifiers: Sequence[tuple[str, str, str]] = (),
    magnification: float | None = None,
    patient: Patient = LATIN,
    study: str = "screening",
    series: str = "mammograms",
    number: int = 1,
) -> FileDataset:
    """One Digital Mammography X-Ray image (PS3.3 A.27)."""
    shown = breast(side, spot, shape)
    stored = np.round(4095 * (shown if photometric == "MONOCHROME2" else 1 - shown)).astype(np.uint16)
    data = radiograph(
        stored,
        modality="MG",
        patient=patient,
        photometric=photometric,
        window=(2048, 4096),
        spacing=(0.5, 0.5),
        study=study,
        series=series,
        number=number,
    )
    data.PresentationIntentType = intent
    data.SOPClassUID = FOR_PRESENTATION if intent == "FOR PRESENTATION" else FOR_PROCESSING
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.ImageLaterality, data.ViewPosition = side, view
    data.PatientOrientation = list(ORIENTATIONS[side, view])
    data.PresentationLUTShape = "IDENTITY" if photometric == "MONOCHROME2" else "INVERSE"
    data.ViewCodeSequence = [view_item(view, coding, modifiers)]
    data.BodyPartThickness = "52"
    data.BreastImplantPresent = "NO"
    if magnification is not None:
        data.EstimatedRadiographicMagnificationFactor = str(magnification)
    return data


def view_item(view: str, coding: str = "SCT", modifiers: Sequence[tuple[str, str, str]] = ()) -> Dataset:
    """One item of View Code Sequence (0054,0220), with its modifiers (CID 4015)."""
    modern, old, meaning = VIEWS[view]
    made = code(modern if coding == "SCT" else old, coding, meaning)
    made.ViewModifierCodeSequence = [code(*modifier) for modifier in modifiers]
    return made


def code(value: str, scheme: str, meaning: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return made


def voi_table(values: NDArray[Any], explanation: str = "NORMAL", *, bits: int = 12, first: int = 0) -> Dataset:
    """One item of VOI LUT Sequence; `values` the output, of `bits` bits, for each input from `first`."""
    made = Dataset()
    made.LUTDescriptor = [len(values) % 65536, first, bits]
    made["LUTDescriptor"].VR = "US"
    made.LUTExplanation = explanation
    made.LUTData = values.astype("<u2").tobytes()
    made["LUTData"].VR = "OW"
    return made


def planes_of(side: Side, degrees: float, count: int, shape: tuple[int, int] = SHAPE) -> list[Plane]:
    """Reconstructed planes of a breast, 1 mm apart along the beam, which is turned from the body's axis."""
    angle = np.radians(degrees)
    front, left = np.array([0.0, -1.0, 0.0]), np.array([1.0, 0.0, 0.0])
    head = np.array([0.0, 0.0, 1.0])
    lateral = -left if side == "R" else left
    # seen as mammograms hang: lateral or cranial on top, chest wall at the right of a right breast
    up = np.cos(angle) * lateral + np.sin(angle) * head
    row, column = (-front if side == "R" else front), -up
    normal = np.cross(row, column)
    corner = 60 * lateral + 40 * front + 50 * head
    spacing = (0.5, 0.5)
    first = corner - row * spacing[1] * (shape[1] - 1) / 2 - column * spacing[0] * (shape[0] - 1) / 2
    return [
        Plane(tuple(first + normal * index), tuple(row), tuple(column), spacing, shape)  # type: ignore[arg-type]
        for index in range(count)
    ]


def tomosynthesis(
    side: Side = "R",
    view: View = "CC",
    spot: tuple[float, float] | None = (0.3, 0.4),
    *,
    count: int = 8,
    spot_slices: Sequence[int] = (4, 5),
    per_frame_anatomy: bool = False,
    tables: bool = False,
    angle: float | None = None,
    against_normal: bool = False,
    photometric: Literal["MONOCHROME1", "MONOCHROME2"] = "MONOCHROME2",
    study: str = "screening",
    series: str = "tomosynthesis",
    number: int = 1,
) -> FileDataset:
    """One Breast Tomosynthesis image (PS3.3 A.55): slices with places in the patient.

    `angle`: of the beam from the body's axis, in degrees; that of the view where it is None. Frames are stored along
    their normal, or `against_normal`; `spot_slices` are the indices of those that show the spot. With `tables` each
    frame has a VOI LUT instead of a window: stored values mean nothing without it.
    """
    planes = planes_of(side, {"CC": 0.0, "MLO": 45.0}[view] if angle is None else angle, count)
    if against_normal:
        planes.reverse()
    shown = np.stack([breast(side, spot if index in spot_slices else None) for index in range(count)])
    bright = shown if photometric == "MONOCHROME2" else 1 - shown
    stored = np.round(1023 * (1 - bright if tables else bright)).astype(np.uint16)
    data = _multi_frame(stored, photometric, TOMOSYNTHESIS, view, study, series, number)
    data.ImageType = ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "NONE"]
    data.FrameOfReferenceUID = f"{data.StudyInstanceUID}.{1 if side == 'R' else 2}"
    data.PositionReferenceIndicator = ""
    shared, groups = Dataset(), [Dataset() for _ in range(count)]
    shared.PixelMeasuresSequence = [item(PixelSpacing=["0.5", "0.5"], SliceThickness="1")]
    shared.PlaneOrientationSequence = [
        item(ImageOrientationPatient=[f"{value:.9g}" for value in (*planes[0].row, *planes[0].column)])
    ]
    for index, (group, plane) in enumerate(zip(groups, planes, strict=True)):
        group.PlanePositionSequence = [item(ImagePositionPatient=[f"{value:.9g}" for value in plane.position])]
        group.FrameContentSequence = [item(StackID="1", InStackPositionNumber=index + 1)]
    frame_type = item(
        FrameType=data.ImageType, PixelPresentation="MONOCHROME", VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE", ReconstructionMethod="FILTER_BACK_PROJ",
    )  # fmt: skip
    shared.XRay3DFrameTypeSequence = [frame_type]
    _add_breast_groups(data, shared, groups, side, per_frame_anatomy=per_frame_anatomy, tables=tables, top=1023)
    return data


def projections(
    side: Side = "R",
    view: View = "CC",
    spot: tuple[float, float] | None = (0.3, 0.4),
    *,
    count: int = 5,
    spot_frames: Sequence[int] = (1, 2),
    intent: Literal["FOR PRESENTATION", "FOR PROCESSING"] = "FOR PRESENTATION",
    per_frame_anatomy: bool = False,
    study: str = "screening",
    series: str = "projections",
    number: int = 1,
) -> FileDataset:
    """One Breast Projection X-Ray image (PS3.3 A.74): frames from several angles, none with a place."""
    shown = np.stack([breast(side, spot if index in spot_frames else None) for index in range(count)])
    stored = np.round(1023 * shown).astype(np.uint16)
    data = _multi_frame(stored, "MONOCHROME2", PROJECTION[intent], view, study, series, number)
    data.ImageType = ["ORIGINAL", "PRIMARY", "TOMO_PROJ", "NONE"]
    data.PresentationIntentType = intent
    shared, groups = Dataset(), [Dataset() for _ in range(count)]
    properties = item(ImagerPixelSpacing=["0.5", "0.5"], PixelIntensityRelationship="LOG")
    shared.FramePixelDataPropertiesSequence = [properties]
    for group in groups:
        group.FrameContentSequence = [Dataset()]
        group.PatientOrientationInFrameSequence = [item(PatientOrientation=list(ORIENTATIONS[side, view]))]
    _add_breast_groups(data, shared, groups, side, per_frame_anatomy=per_frame_anatomy, tables=False, top=1023)
    return data


def item(**attributes: Any) -> Dataset:
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def _multi_frame(
    stored: NDArray[np.uint16], photometric: str, sop_class: UID, view: str, study: str, series: str, number: int
) -> FileDataset:
    data = radiograph(
        stored[0], modality="MG", photometric=photometric, bits=10, spacing=None, study=study, series=series,
        number=number,
    )  # fmt: skip
    for keyword in (
        *("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "RescaleType"),
        *("ImageLaterality", "ViewPosition", "PatientOrientation", "PresentationIntentType", "BodyPartExamined"),
        *("PixelIntensityRelationship", "PixelIntensityRelationshipSign", "AnatomicRegionSequence", "DetectorType"),
    ):
        data.pop(keyword, None)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop_class
    data.ViewCodeSequence = [view_item(view)]
    data.NumberOfFrames = len(stored)
    data.PixelData = stored.astype("<u2").tobytes()
    data.ContentQualification, data.PixelPresentation = "PRODUCT", "MONOCHROME"
    data.VolumetricProperties, data.VolumeBasedCalculationTechnique = "VOLUME", "NONE"
    data.BurnedInAnnotation = "NO"
    return data


def _add_breast_groups(
    data: FileDataset,
    shared: Dataset,
    groups: Sequence[Dataset],
    side: Side,
    *,
    per_frame_anatomy: bool,
    tables: bool,
    top: int,
) -> None:
    region = code("76752008", "SCT", "Breast")
    anatomy = item(AnatomicRegionSequence=[region], FrameLaterality=side)
    for group in groups if per_frame_anatomy else [shared]:
        group.FrameAnatomySequence = [anatomy]
    if tables:
        for group in groups:
            group.FrameVOILUTSequence = [item(VOILUTSequence=[voi_table(top - np.arange(top + 1), bits=10)])]
    else:
        shared.FrameVOILUTSequence = [item(WindowCenter=str((top + 1) / 2), WindowWidth=str(top + 1))]
    shared.PixelValueTransformationSequence = [item(RescaleSlope="1", RescaleIntercept="0", RescaleType="US")]
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = list(groups)
