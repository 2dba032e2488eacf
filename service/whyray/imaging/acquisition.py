"""What tells acquisitions and reconstructions of one series apart, single-frame or multi-frame.

Single-frame instances give these attributes at the top of the data set, multi-frame ones in a functional group of each
frame (PS3.3 section C.7.6.16 and the enhanced IODs).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from whyray.imaging.attributes import written_texts
from whyray.imaging.stack import Member

Path = tuple[str, ...]
"""Sequences from a frame's functional groups down to an attribute, and the attribute's keyword."""


@dataclass(frozen=True)
class Attribute:
    """One attribute that tells slices apart.

    Attributes
    ----------
    name
        As PS3.6 writes it, for notes; one attribute of these lists has it.
    keyword
        At the top of a data set; empty where it never stands there.
    frame
        Where multi-frame instances give it.
    values
        Which of several values count; None for all.
    tolerance
        Numbers that differ by at most this share are the same; None for text.
    quotable
        Whether a note may quote the value: no free text, no times.
    in_blocks
        Whether slices of one value are an acquisition of their own even where they lie in one block.
    interleaved_in
        Modalities in which slices of one value are an acquisition of their own where they lie among others; None for
        all.
    a_value_a_frame
        Whether a multi-frame instance has as many values of it as frames: the vectors of nuclear medicine (PS3.3
        section C.8.4.8).
    """

    name: str
    keyword: str
    frame: tuple[Path, ...] = ()
    values: slice | None = None
    tolerance: float | None = None
    quotable: bool = True
    in_blocks: bool = False
    interleaved_in: tuple[str, ...] | None = None
    a_value_a_frame: bool = False


_FRAME_TYPE: tuple[Path, ...] = tuple(
    (sequence, "FrameType")
    for sequence in (
        "CTImageFrameTypeSequence",
        "MRImageFrameTypeSequence",
        "PETFrameTypeSequence",
        "XRay3DFrameTypeSequence",
    )
)
_CT_RECONSTRUCTION, _MR_TIMING = "CTReconstructionSequence", "MRTimingAndRelatedParametersSequence"
_CONTENT, _CARDIAC = "FrameContentSequence", "CardiacSynchronizationSequence"

RECONSTRUCTION: tuple[Attribute, ...] = (
    Attribute("SOP Class UID", "SOPClassUID"),
    Attribute("Photometric Interpretation", "PhotometricInterpretation"),
    Attribute("Samples per Pixel", "SamplesPerPixel"),
    Attribute("Rows", "Rows"),
    Attribute("Columns", "Columns"),
    Attribute("Frame of Reference UID", "FrameOfReferenceUID"),
    *(
        Attribute(name, keyword, a_value_a_frame=True)
        for name, keyword in (
            ("Energy Window Vector", "EnergyWindowVector"),
            ("R-R Interval Vector", "RRIntervalVector"),
            ("Time Slot Vector", "TimeSlotVector"),
        )
    ),
    Attribute("Stack ID", "", ((_CONTENT, "StackID"),)),
    Attribute("Image Type, value 3", "ImageType", _FRAME_TYPE, values=slice(2, 3)),
    Attribute("Convolution Kernel", "ConvolutionKernel", ((_CT_RECONSTRUCTION, "ConvolutionKernel"),)),
    Attribute(
        "Reconstruction Algorithm", "ReconstructionAlgorithm", ((_CT_RECONSTRUCTION, "ReconstructionAlgorithm"),)
    ),
    Attribute("Reconstruction Method", "ReconstructionMethod"),
    Attribute("Pixel Spacing", "PixelSpacing", (("PixelMeasuresSequence", "PixelSpacing"),), tolerance=1e-3),
    Attribute(
        "Reconstruction Diameter",
        "ReconstructionDiameter",
        ((_CT_RECONSTRUCTION, "ReconstructionDiameter"),),
        tolerance=1e-3,
    ),
    Attribute("Rescale Type", "RescaleType", (("PixelValueTransformationSequence", "RescaleType"),)),
    Attribute("Units", "Units"),
    Attribute("SUV Type", "SUVType"),
    Attribute("Decay Correction", "DecayCorrection"),
    Attribute("Corrected Image", "CorrectedImage"),
    Attribute("Attenuation Correction Method", "AttenuationCorrectionMethod", quotable=False),
    Attribute(
        "Complex Image Component", "ComplexImageComponent", (("MRImageFrameTypeSequence", "ComplexImageComponent"),)
    ),
    Attribute("Echo Numbers", "EchoNumbers"),
    Attribute("Echo Time", "EchoTime", (("MREchoSequence", "EffectiveEchoTime"),), tolerance=1e-2),
    Attribute("Diffusion b-value", "DiffusionBValue", (("MRDiffusionSequence", "DiffusionBValue"),), tolerance=1e-2),
    Attribute("ASL Context", "", (("MRArterialSpinLabelingSequence", "ASLContext"),)),
    Attribute(
        "Velocity Encoding Direction",
        "",
        (("MRVelocityEncodingSequence", "VelocityEncodingDirection"),),
        tolerance=1e-3,
    ),
)
"""Slices that differ in one of these never make one volume, wherever they lie."""

NEVER_MERGED: tuple[str, ...] = (
    "SOP Class UID",
    "Photometric Interpretation",
    "Rows",
    "Columns",
    "Frame of Reference UID",
    "Stack ID",
    "Pixel Spacing",
)
"""Of those, the ones of which a slice without the attribute is never taken to have the value of the others."""

SLICE_THICKNESS = Attribute(
    "Slice Thickness", "SliceThickness", (("PixelMeasuresSequence", "SliceThickness"),), tolerance=1e-2
)

TRIGGER_TIME = Attribute("Trigger Time", "TriggerTime", ((_CARDIAC, "NominalCardiacTriggerDelayTime"),))
ACQUISITION_TIME = Attribute(
    "Acquisition Time",
    "AcquisitionTime",
    ((_CONTENT, "FrameAcquisitionDateTime"),),
    quotable=False,
    interleaved_in=("CT", "PT"),
)
KVP = Attribute("KVP", "KVP", (("CTXRayDetailsSequence", "KVP"),), tolerance=1e-3)

ACQUISITION: tuple[Attribute, ...] = (
    Attribute("Temporal Position Identifier", "TemporalPositionIdentifier", ((_CONTENT, "TemporalPositionIndex"),)),
    Attribute(
        "Acquisition Number",
        "AcquisitionNumber",
        ((_CONTENT, "FrameAcquisitionNumber"),),
        interleaved_in=("CT", "PT"),
    ),
    Attribute("Image Type", "ImageType", _FRAME_TYPE, values=slice(0, 3), in_blocks=True),
    Attribute("Image Type, all values", "ImageType", _FRAME_TYPE, interleaved_in=()),
    SLICE_THICKNESS,
    KVP,
    Attribute("Contrast/Bolus Agent", "ContrastBolusAgent", quotable=False),
    Attribute(
        "Nominal Percentage of Cardiac Phase",
        "NominalPercentageOfCardiacPhase",
        ((_CARDIAC, "NominalPercentageOfCardiacPhase"),),
        tolerance=1e-3,
    ),
    Attribute(
        "Nominal Percentage of Respiratory Phase",
        "",
        (("RespiratorySynchronizationSequence", "NominalPercentageOfRespiratoryPhase"),),
        tolerance=1e-3,
    ),
    Attribute("Inversion Time", "InversionTime", (("MRModifierSequence", "InversionTimes"),), tolerance=1e-2),
    Attribute("Flip Angle", "FlipAngle", ((_MR_TIMING, "FlipAngle"),), tolerance=1e-2),
    Attribute("Repetition Time", "RepetitionTime", ((_MR_TIMING, "RepetitionTime"),), tolerance=1e-2),
    Attribute(
        "Diffusion Gradient Orientation",
        "DiffusionGradientOrientation",
        (("MRDiffusionSequence", "DiffusionGradientDirectionSequence", "DiffusionGradientOrientation"),),
    ),
    Attribute("Filter Type", "FilterType"),
    Attribute("Scan Options", "ScanOptions"),
    Attribute("Derivation Description", "DerivationDescription", quotable=False),
    Attribute("Series Description", "SeriesDescription", quotable=False),
    Attribute("Acquisition UID", "AcquisitionUID", quotable=False),
    ACQUISITION_TIME,
    Attribute("Frame Reference Time", "FrameReferenceTime", quotable=False, interleaved_in=()),
    Attribute("Acquisition DateTime", "AcquisitionDateTime", quotable=False, interleaved_in=("CT", "PT")),
)
"""What may change along one ordinary series: it tells slices apart only where those of one value lie among others.

Concatenations of an MR acquisition and cardiac gating interleave by number and time, and are one volume all the same.
"""

TIMES: tuple[Attribute, ...] = (TRIGGER_TIME, Attribute("Content Time", "ContentTime", quotable=False))
"""Times tell volumes in one place apart, where all slices of a volume share them."""

RESCALE: tuple[Attribute, ...] = (
    Attribute("Rescale Slope", "RescaleSlope", (("PixelValueTransformationSequence", "RescaleSlope"),)),
    Attribute("Rescale Intercept", "RescaleIntercept", (("PixelValueTransformationSequence", "RescaleIntercept"),)),
)
"""Without which the stored values of a slice mean nothing: it may change from slice to slice, as in PET."""


def written_in(header: Dataset, frame_number: int) -> dict[str, tuple[str, ...]]:
    """Values, as text, of all these attributes for a frame, by their names; only those that are given."""
    groups = _functional_groups(header, frame_number)
    texts = {
        attribute.name: _texts(header, groups, attribute, frame_number)[attribute.values or slice(None)]
        for attribute in (*RECONSTRUCTION, *ACQUISITION, *TIMES, *RESCALE)
    }
    return {name: values for name, values in texts.items() if any(values)}


def _functional_groups(header: Dataset, frame_number: int) -> list[Dataset]:
    """A frame's own functional groups and the shared ones, as far as there are any."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    return [*per_frame[frame_number - 1 : frame_number], *shared[:1]]


def _texts(header: Dataset, groups: Sequence[Dataset], attribute: Attribute, frame_number: int) -> tuple[str, ...]:
    """The values that an instance gives for one of its frames, else for all; none where it gives none.

    A legacy converted instance keeps what no functional group is for among its unassigned attributes (PS3.3 section
    C.7.6.16.2.21 and 22).
    """
    for *sequences, keyword in attribute.frame if groups else ():
        items = next((items for group in groups if (items := group.get(sequences[0]))), None)
        for sequence in sequences[1:]:
            items = items[0].get(sequence) if items else None
        texts = written_texts(items[0], keyword) if items else []
        if any(texts):
            return tuple(texts)
    if not attribute.keyword:
        return ()
    for holder in (*_unassigned(groups), header):
        texts = written_texts(holder, attribute.keyword)
        if attribute.a_value_a_frame:
            texts = texts[frame_number - 1 : frame_number]
        if any(texts):
            return tuple(texts)
    return ()


def _unassigned(groups: Sequence[Dataset]) -> list[Dataset]:
    return [
        items[0]
        for group in groups
        for keyword in ("UnassignedPerFrameConvertedAttributesSequence", "UnassignedSharedConvertedAttributesSequence")
        if (items := group.get(keyword))
    ]


def values_of(members: Sequence[Member], attribute: Attribute) -> list[str]:
    """The value of an attribute in each slice, as text; empty where it is not given. Near numbers are one."""
    written = [_counted(member, attribute) for member in members]
    if attribute.tolerance is None:
        return ["\\".join(values) for values in written]
    numbers = sorted({number for values in written for value in values if (number := number_in(value)) is not None})
    merged = _merged(numbers, attribute.tolerance)

    def shown(value: str) -> str:
        number = number_in(value)
        return value if number is None else f"{merged[number]:.6g}"

    return ["\\".join(map(shown, values)) for values in written]


def thicknesses_of(members: Sequence[Member]) -> list[float]:
    """Slice Thickness in mm, of those that give one above zero."""
    numbers = [number_in(value) for member in members for value in member.written.get("Slice Thickness", ())[:1]]
    return [number for number in numbers if number is not None and number > 0]


def number_in(value: str) -> float | None:
    """A finite number, None for any other text."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def by_value(value: str) -> tuple[int, float, str]:
    """A key that sorts numbers by size, and before text."""
    number = number_in(value)
    return (1, 0.0, value) if number is None else (0, number, "")


def _counted(member: Member, attribute: Attribute) -> tuple[str, ...]:
    values = member.written.get(attribute.name, ())
    if attribute.keyword == "RescaleType" and not values and member.instance.modality == "CT":
        # Type 1C of CT images: absent means Hounsfield units (PS3.3 section C.8.2.1).
        return ("HU",)
    return values


def _merged(numbers: Sequence[float], tolerance: float) -> Mapping[float, float]:
    """Each number and the one that stands for it: neighbours within the tolerance share one."""
    merged = {number: number for number in numbers}
    for smaller, larger in itertools.pairwise(numbers):
        if larger - smaller <= tolerance * abs(larger):
            merged[larger] = merged[smaller]
    return merged
