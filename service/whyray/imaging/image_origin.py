"""How an image came about, as far as it changes what its pixels can be taken for: projections, phantoms, inversion."""

from __future__ import annotations

from pydicom import Dataset

from whyray.imaging.attributes import attribute_name, written_texts, written_value
from whyray.imaging.functional_groups import group_item
from whyray.imaging.notes import Note, NoteKind

_FRAME_TYPES = (
    *("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence", "XRay3DFrameTypeSequence"),
)
_PROJECTIONS = frozenset({"MAX_IP", "MIN_IP", "VOLUME_RENDER", "SURFACE_RENDER"})
"""Volume Based Calculation Technique (0008,9207), PS3.3 C.8.16.2.1.3."""
_PROJECTED = _PROJECTIONS | {"PROJECTION IMAGE", "MIP", "MINIP", "VRT"}
"""Those, the term of MR (C.8.3.1.1.1) and what devices write, in Image Type (0008,0008) from the third value on."""
_LUT_SHAPES = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}


def projection(header: Dataset, frame_number: int) -> str | None:
    """By which attribute and value a frame is a projection through slices, and no slice; None where it is none.

    The largest values along a line (MIP), the smallest, a rendering, or PET as it was projected again (C.8.9.1.1.4).
    """
    groups = [group_item(header, frame_number, sequence) for sequence in _FRAME_TYPES]
    holders = [header, *(group for group in groups if group is not None)]
    for holder in holders:
        for keyword, terms, first in (
            ("VolumeBasedCalculationTechnique", _PROJECTIONS, 0),
            ("ImageType", _PROJECTED, 2),
            ("FrameType", _PROJECTED, 2),
            ("SeriesType", {"REPROJECTION"}, 1),
        ):
            found = [value for value in written_texts(holder, keyword)[first:] if value.upper() in terms]
            if found:
                return f"{attribute_name(keyword)} '{found[0]}'"
    return None


def quality_control(header: Dataset) -> str | None:
    """By which attribute and value an image is one of a phantom and of no patient; None where it does not say so."""
    for keyword in ("QualityControlImage", "QualityControlSubject"):
        if written_texts(header, keyword)[0].upper() == "YES":
            return f"{attribute_name(keyword)} 'YES'"
    return None


def origin_notes(header: Dataset, frame_number: int) -> tuple[Note, ...]:
    """What a reader is told of it."""
    notes = []
    projected = projection(header, frame_number)
    if projected is not None:
        notes.append(Note(NoteKind.PROJECTION, f"{projected}: a projection through slices"))
    shape, photometric = (
        written_texts(header, name)[0] for name in ("PresentationLUTShape", "PhotometricInterpretation")
    )
    if shape and photometric in _LUT_SHAPES and shape != _LUT_SHAPES[photometric]:
        words = (
            f"{attribute_name('PresentationLUTShape')} {written_value(header, 'PresentationLUTShape')} contradicts "
            f"{attribute_name('PhotometricInterpretation')} '{photometric}': shown by the latter, as viewers do"
        )
        notes.append(Note(NoteKind.ATTRIBUTE_IGNORED, words))
    return tuple(notes)
