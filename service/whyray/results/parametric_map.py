"""Parametric Maps (PS3.3 A.75): heatmaps as float values on the grid of the map, unit and quantity coded."""

from __future__ import annotations

import numpy as np
from highdicom import PixelMeasuresSequence, VOILUTTransformation
from highdicom.pm import RealWorldValueMapping
from highdicom.sr import CodeContentItem
from pydicom import Dataset
from pydicom.uid import ParametricMapStorage

from whyray.base.arrays import FloatArray
from whyray.imaging import DIRECTIONS, SourceImage, frame_orientation
from whyray.results.answer import Answer, Finding, MapInSource
from whyray.results.carried import valid_text
from whyray.results.coding import NO_UNITS, dcm, item, of_target, one_value
from whyray.results.frame_anatomy import add_frame_anatomy
from whyray.results.header import add_anatomy, add_lossy, new_dataset
from whyray.results.map_grid import placed_map
from whyray.results.multi_frame import OwnGrid, Plane, add_functional_groups, plane_of
from whyray.results.references import add_referenced_series
from whyray.results.templates import Templates
from whyray.results.uids import UidSource, map_key

SOP_CLASS_UID = ParametricMapStorage
_FINDING = dcm("121071", "Finding")
# CID 7203 has no word for attribution; highdicom's choice is a generic one too.
_DERIVATION = dcm("112187", "Unspecified method of calculation")


def parametric_map(
    answer: Answer,
    templates: Templates,
    uids: UidSource,
    finding: Finding,
    heatmap: MapInSource,
    *,
    instance_number: int,
) -> Dataset:
    """One heatmap as float32, on its own grid where it has one; signed maps stay signed.

    Of planar images one frame a source frame; of volumes one frame for each slice of the grid that lies in the source.
    """
    made = new_dataset(
        answer,
        templates,
        uids,
        kind="pm",
        sop_class_uid=SOP_CLASS_UID,
        sop_instance_uid=uids.uid("pm", finding.target.name, map_key(heatmap)),
        instance_number=instance_number,
        method=heatmap.method,
    )
    image = answer.image
    add_anatomy(made, image.header)
    made.ImageType = ["DERIVED", "PRIMARY", "VOLUME" if image.kind == "volume" else "OTHER", "QUANTITY"]
    made.ContentLabel = "HEATMAP"
    made.ContentDescription = one_value(f"{finding.target.name} by {heatmap.method}")
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
    _add_frames(made, answer, templates, uids, finding, heatmap)
    return made


def _add_frames(
    made: Dataset, answer: Answer, templates: Templates, uids: UidSource, finding: Finding, heatmap: MapInSource
) -> None:
    image = answer.image
    planes = [plane for frame in image.frames if (plane := plane_of(image, frame)) is not None]
    if len(planes) == len(image.frames):
        made.FrameOfReferenceUID = image.header.get("FrameOfReferenceUID") or uids.uid("frame-of-reference")
    else:
        # The IOD wants a frame of reference, which projection images lack: one of the map's own, shared with
        # nothing, so that no viewer registers it with other images by mistake.
        made.FrameOfReferenceUID = uids.uid("frame-of-reference", "planar")
        planes = [_own_plane(image)] * len(image.frames)
    placed = placed_map(image, heatmap, planes[0])
    values = np.asarray(heatmap.values) if placed is None else placed.values
    add_functional_groups(
        made,
        image,
        [(index, None) for index in range(len(values))],
        planes if placed is None else placed.planes,
        derivation=_DERIVATION,
        organization_uid=uids.uid("dimensions", "pm"),
        own=None if placed is None else OwnGrid(placed.measures, placed.sources),
    )
    (shared,) = made.SharedFunctionalGroupsSequence
    if (
        "PixelMeasuresSequence" not in shared
        and "PixelMeasuresSequence" not in made.PerFrameFunctionalGroupsSequence[0]
    ):
        shared.PixelMeasuresSequence = PixelMeasuresSequence(("1", "1"), slice_thickness=None)
    add_frame_anatomy(made, shared, image)
    frame_type = Dataset()
    frame_type.FrameType = made.ImageType
    shared.ParametricMapFrameTypeSequence = [frame_type]
    identity = Dataset()
    identity.RescaleIntercept, identity.RescaleSlope, identity.RescaleType = "0", "1", "US"
    shared.PixelValueTransformationSequence = [identity]
    shared.FrameVOILUTSequence = [_window(values, heatmap)]
    shared.RealWorldValueMappingSequence = [_mapping(templates, finding, heatmap, values)]

    frames, rows, columns = values.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.NumberOfFrames, made.Rows, made.Columns = frames, rows, columns
    made.BitsAllocated = 32
    made.FloatPixelData = np.ascontiguousarray(values, dtype="<f4").tobytes()


def _own_plane(image: SourceImage) -> Plane:
    """A plane for an image without position: at the origin, turned as the orientation of its first frame says."""
    row, column = frame_orientation(image.frames[0], image.header) or ("L", "P")
    across, down = DIRECTIONS[row[0]], DIRECTIONS[column[0]]
    if any(a * b for a, b in zip(across, down, strict=True)):
        across, down = DIRECTIONS["L"], DIRECTIONS["P"]
    return Plane(("0", "0", "0"), tuple(str(number) for number in (*across, *down)))


def _window(values: FloatArray, heatmap: MapInSource) -> VOILUTTransformation:
    """A window over all values: from 0 for unsigned maps, around 0 for signed ones."""
    top = float(np.abs(values).max(initial=0.0)) or 1.0
    # Lists, since highdicom 0.28.2 takes a single explanation apart into its letters (content.py:2378).
    return VOILUTTransformation(
        window_center=[0.0 if heatmap.signed else top / 2],
        window_width=[2 * top if heatmap.signed else top],
        window_explanation=[one_value(f"whole range of {heatmap.method}")],
        # The default LINEAR takes half a unit off each end and forbids widths below 1 (PS3.3 C.11.2.1.2.1).
        voi_lut_function="LINEAR_EXACT",
    )


def _mapping(templates: Templates, finding: Finding, heatmap: MapInSource, values: FloatArray) -> RealWorldValueMapping:
    """The Real World Value Mapping (C.7.6.16.2.11): stored values are the values; what they are is coded (CID 217)."""
    scheme = templates.equipment.coding_scheme.designator
    made = RealWorldValueMapping(
        lut_label="HEATMAP",
        lut_explanation=one_value(f"{heatmap.method} of {finding.target.name}, {heatmap.unit}"),
        unit=item(NO_UNITS),
        value_range=(float(values.min(initial=0.0)), float(values.max(initial=0.0))),
        quantity_definition=item(templates.concepts.quantity(heatmap.method)),
    )
    of_what = CodeContentItem(item(_FINDING), item(of_target(finding.target, scheme)))
    made.QuantityDefinitionSequence.append(of_what)
    return made
