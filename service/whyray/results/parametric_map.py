"""Parametric Maps (PS3.3 A.75): heatmaps as float values in the source's geometry, unit and quantity coded."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.uid import ParametricMapStorage

from whyray.base.coded_concept import CodedConcept
from whyray.imaging import DIRECTIONS, patient_orientation
from whyray.results.answer import Answer, Finding, MapInSource
from whyray.results.carried import valid_text
from whyray.results.coding import NO_UNITS, dcm, item, of_target, one_value
from whyray.results.header import add_anatomy, add_lossy, new_dataset
from whyray.results.multi_frame import (
    FRAME_LABEL,
    IMAGE_POSITION_PATIENT,
    Plane,
    add_dimensions,
    add_pixel_measures,
    derivation_item,
    frame_content_item,
    frame_label,
    is_frame_stack,
    plane_of,
    plane_orientation_item,
    plane_position_item,
)
from whyray.results.references import add_referenced_series
from whyray.results.templates import Templates
from whyray.results.uids import UidSource, map_key

SOP_CLASS_UID = ParametricMapStorage
_QUANTITY = CodedConcept(value="246205007", scheme="SCT", meaning="Quantity")
_FINDING = dcm("121071", "Finding")
# CID 7203 has no word for attribution; highdicom's choice is a generic one too.
_DERIVATION = dcm("112187", "Unspecified method of calculation")


def parametric_map(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    finding: Finding,
    each: MapInSource,
    *,
    instance_number: int,
) -> Dataset:
    """One heatmap as float32, one frame for each frame of the source; signed maps stay signed."""
    made = new_dataset(
        answer,
        templates,
        uids,
        kind="pm",
        sop_class_uid=SOP_CLASS_UID,
        sop_instance_uid=uids.uid("pm", finding.target.name, map_key(each)),
        instance_number=instance_number,
        method=each.method,
    )
    image = answer.image
    add_anatomy(made, image.header)
    made.ImageType = ["DERIVED", "PRIMARY", "VOLUME" if image.kind == "volume" else "OTHER", "QUANTITY"]
    made.ContentLabel = "HEATMAP"
    made.ContentDescription = one_value(f"{finding.target.name} by {each.method}")
    made.ContentCreatorName = None
    made.ContentQualification = templates.equipment.content_qualification
    made.PatientOrientation = None
    made.PresentationLUTShape = "IDENTITY"
    made.PixelPresentation = "MONOCHROME"
    made.BurnedInAnnotation = "NO"
    # A heatmap alone shows no face; what it lies over is told by the objects that it refers to.
    made.RecognizableVisualFeatures = "NO"
    made.AcquisitionContextSequence = []
    made.PositionReferenceIndicator = valid_text(image.header, "PositionReferenceIndicator")
    add_lossy(made, answer, required=True)
    add_referenced_series(made, image)
    _add_frames(made, answer, templates, uids, finding, each)
    return made


def _add_frames(
    made: Dataset, answer: Answer, templates: Templates, uids: UidSource, finding: Finding, each: MapInSource
) -> None:
    image = answer.image
    planes = [plane_of(image, frame) for frame in image.frames]
    if all(plane is not None for plane in planes):
        made.FrameOfReferenceUID = image.header.get("FrameOfReferenceUID") or uids.uid("frame-of-reference")
    else:
        # The IOD wants a frame of reference, which projection images lack: one of the map's own, shared with
        # nothing, so that no viewer registers it with other images by mistake.
        made.FrameOfReferenceUID = uids.uid("frame-of-reference", "planar")
        planes = [_own_plane(image.header) for _ in image.frames]

    shared = Dataset()
    orientations = {plane.orientation for plane in planes if plane is not None}
    if len(orientations) == 1 and planes[0] is not None:
        shared.PlaneOrientationSequence = [plane_orientation_item(planes[0])]
    frame_type = Dataset()
    frame_type.FrameType = made.ImageType
    shared.ParametricMapFrameTypeSequence = [frame_type]
    identity = Dataset()
    identity.RescaleIntercept, identity.RescaleSlope, identity.RescaleType = "0", "1", "US"
    shared.PixelValueTransformationSequence = [identity]
    shared.FrameVOILUTSequence = [_window(each)]
    shared.RealWorldValueMappingSequence = [_mapping(templates, finding, each)]
    made.SharedFunctionalGroupsSequence = [shared]

    by_label = is_frame_stack(image)
    add_dimensions(made, uids.uid("dimensions", "pm"), [FRAME_LABEL if by_label else IMAGE_POSITION_PATIENT])
    groups = []
    for index, (frame, plane) in enumerate(zip(image.frames, planes, strict=True)):
        group = Dataset()
        group.FrameContentSequence = [frame_content_item([index + 1], frame_label(frame) if by_label else None)]
        if plane is not None:
            group.PlanePositionSequence = [plane_position_item(plane)]
            if len(orientations) > 1:
                group.PlaneOrientationSequence = [plane_orientation_item(plane)]
        group.DerivationImageSequence = [derivation_item(image, frame, _DERIVATION)]
        groups.append(group)
    add_pixel_measures(shared, groups, image, range(len(image.frames)))
    if "PixelMeasuresSequence" not in shared and "PixelMeasuresSequence" not in groups[0]:
        unscaled = Dataset()
        unscaled.PixelSpacing = ["1", "1"]
        shared.PixelMeasuresSequence = [unscaled]
    made.PerFrameFunctionalGroupsSequence = groups

    frames, rows, columns = image.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.NumberOfFrames, made.Rows, made.Columns = frames, rows, columns
    made.BitsAllocated = 32
    made.FloatPixelData = np.ascontiguousarray(each.values, dtype="<f4").tobytes()


def _own_plane(header: Dataset) -> Plane:
    """A plane for an image without position: at the origin, turned as Patient Orientation says."""
    row, column = patient_orientation(header) or ("L", "P")
    across, down = DIRECTIONS[row[0]], DIRECTIONS[column[0]]
    if any(a * b for a, b in zip(across, down, strict=True)):
        across, down = DIRECTIONS["L"], DIRECTIONS["P"]
    return Plane(("0", "0", "0"), tuple(str(number) for number in (*across, *down)))


def _window(each: MapInSource) -> Dataset:
    """A window over all values: from 0 for unsigned maps, around 0 for signed ones."""
    top = float(np.abs(each.values).max(initial=0.0)) or 1.0
    made = Dataset()
    made.WindowCenter = "0" if each.signed else _decimal(top / 2)
    made.WindowWidth = _decimal(2 * top if each.signed else top)
    # The default LINEAR takes half a unit off each end and forbids widths below 1 (PS3.3 C.11.2.1.2.1).
    made.VOILUTFunction = "LINEAR_EXACT"
    made.WindowCenterWidthExplanation = one_value(f"whole range of {each.method}")
    return made


def _mapping(templates: Templates, finding: Finding, each: MapInSource) -> Dataset:
    """The Real World Value Mapping (C.7.6.16.2.11): stored values are the values; what they are is coded (CID 217)."""
    made = Dataset()
    made.LUTExplanation = one_value(f"{each.method} of {finding.target.name}, {each.unit}")
    made.LUTLabel = "HEATMAP"
    made.MeasurementUnitsCodeSequence = [item(NO_UNITS)]
    made.RealWorldValueIntercept, made.RealWorldValueSlope = 0.0, 1.0
    made.DoubleFloatRealWorldValueFirstValueMapped = float(each.values.min(initial=0.0))
    made.DoubleFloatRealWorldValueLastValueMapped = float(each.values.max(initial=0.0))
    scheme = templates.equipment.coding_scheme.designator
    made.QuantityDefinitionSequence = [
        _definition(_QUANTITY, templates.concepts.quantity(each.method)),
        _definition(_FINDING, of_target(finding.target, scheme)),
    ]
    return made


def _definition(name: CodedConcept, value: CodedConcept) -> Dataset:
    made = Dataset()
    made.ValueType = "CODE"
    made.ConceptNameCodeSequence = [item(name)]
    made.ConceptCodeSequence = [item(value)]
    return made


def _decimal(value: float) -> str:
    return f"{value:.8g}"
