"""How an image came about, as far as it changes what its pixels can be taken for: computed, of a phantom, inverted."""

from __future__ import annotations

from typing import Literal

from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from whyray.imaging.attributes import attribute_name, written_texts, written_value
from whyray.imaging.functional_groups import group_item
from whyray.imaging.notes import Note, NoteKind

Computed = Literal["projection", "subtraction"]
COMPUTED: dict[Computed, str] = {
    "projection": "a projection through slices",
    "subtraction": "a difference of two images",
}
"""What an image is that was computed from others, in words."""
_OF_FRAME = (
    *("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence", "XRay3DFrameTypeSequence"),
    "DerivationImageSequence",
)
"""Functional groups that say how a frame came about."""
_PROJECTIONS = frozenset({"MAXIP", "MINIP", "VOLUMERENDER", "SURFACERENDER"})
"""Volume Based Calculation Technique (0008,9207), PS3.3 C.8.16.2.1.3; letters and digits of each."""
_TERMS: dict[Computed, dict[str, tuple[frozenset[str], int]]] = {
    "projection": {
        "VolumeBasedCalculationTechnique": (_PROJECTIONS, 0),
        **dict.fromkeys(("ImageType", "FrameType"), (_PROJECTIONS | {"PROJECTIONIMAGE", "MIP", "VRT"}, 2)),
        "SeriesType": (frozenset({"REPROJECTION"}), 1),
    },
    "subtraction": dict.fromkeys(
        ("ImageType", "FrameType"), (frozenset({"SUBTRACTION", "SUB", "RECOMBINED", "HIGHENERGY"}), 2)
    ),
}
"""By attribute, terms and the index of the first value that may be one: of MR (C.8.3.1.1.1), of PET (C.8.9.1.1.4), of
derived pixel contrast (C.8.16.1.4), of contrast enhanced mammography, and what devices write of the kind: CT_SOM5 MIP,
MAX IP."""
_TAGS = {keyword: Tag(keyword) for attributes in _TERMS.values() for keyword in attributes}
_FUNCTIONAL_GROUPS = [
    Tag(keyword) for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
]
_DERIVATION, _LUT_SHAPE = Tag("DerivationCodeSequence"), Tag("PresentationLUTShape")
"""Tags, since a series may have thousands of slices and most have none of these: a keyword is looked up each time."""
_DERIVATIONS: dict[str, Computed] = {
    **dict.fromkeys(("113074", "113075", "113078", "113079"), "projection"),
    "113062": "subtraction",
}
"""Derivation Code Sequence (0008,9215): PS3.16 CID 7203, volume and surface rendering, maximum and minimum intensity
projection; pixel by pixel subtraction."""
_SECONDARY_CAPTURES = frozenset(
    [
        SecondaryCaptureImageStorage,
        MultiFrameSingleBitSecondaryCaptureImageStorage,
        MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        MultiFrameTrueColorSecondaryCaptureImageStorage,
    ]
)
_LUT_SHAPES = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}


def computed(header: Dataset, frame_number: int) -> tuple[Computed, str] | None:
    """What a frame is that was computed from others and is no slice or radiograph as taken, and which attribute and
    value say so; None where nothing does.

    A projection through slices (the largest values along a line, the smallest, a rendering, PET as it was projected
    again), or a difference of two images.
    """
    holders = [header]
    if any(tag in header for tag in _FUNCTIONAL_GROUPS):
        groups = [group_item(header, frame_number, sequence) for sequence in _OF_FRAME]
        holders += [group for group in groups if group is not None]
    for holder in holders:
        for kind, attributes in _TERMS.items():
            for keyword, (terms, first) in attributes.items():
                values = written_texts(holder, keyword)[first:] if _TAGS[keyword] in holder else ()
                found = [value for value in values if not terms.isdisjoint(_words(value))]
                if found:
                    return kind, f"{attribute_name(keyword)} '{found[0]}'"
        for item in (holder.get("DerivationCodeSequence") or []) if _DERIVATION in holder else []:
            code = written_texts(item, "CodeValue")[0]
            if code in _DERIVATIONS:
                return _DERIVATIONS[
                    code
                ], f"{attribute_name('DerivationCodeSequence')} {written_value(item, 'CodeMeaning')}"
    return None


def _words(value: str) -> list[str]:
    """The letters and digits of a value, and of each of its words: MAXIP of MAX_IP, MIP of 'CT_SOM5 MIP'."""
    return ["".join(filter(str.isalnum, word)).upper() for word in (value, *value.split())]


def quality_control(header: Dataset) -> str | None:
    """By which attribute and value an image is one of a phantom and of no patient; None where it does not say so."""
    for keyword in ("QualityControlImage", "QualityControlSubject"):
        if written_texts(header, keyword)[0].upper() == "YES":
            return f"{attribute_name(keyword)} 'YES'"
    return None


def origin_notes(header: Dataset, frame_number: int) -> tuple[Note, ...]:
    """What a reader is told of it."""
    notes = []
    if header.get("SOPClassUID") in _SECONDARY_CAPTURES:
        said = " ".join(
            f"{attribute_name(keyword)} {written_value(header, keyword)}"
            for keyword in ("ConversionType", "BurnedInAnnotation")
        )
        notes.append(Note(NoteKind.CAPTURED, f"{UID(header.SOPClassUID).name}: {said}"))
    made = computed(header, frame_number)
    if made is not None:
        kind, said = made
        notes.append(Note(NoteKind.COMPUTED, f"{said}: {COMPUTED[kind]}"))
    if _LUT_SHAPE not in header:
        return tuple(notes)
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
