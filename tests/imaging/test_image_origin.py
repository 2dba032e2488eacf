"""Projections, phantoms and contradictory statements of brightness are told, whatever the pixels look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import SecondaryCaptureImageStorage

import emission
import synthetic
from whyray.imaging import NoteKind, computed, quality_control, read_images

PLANES = synthetic.stack(6, (8, 8))


def volume(**attributes: Any) -> list[FileDataset]:
    made = synthetic.slices(np.full((6, 8, 8), 5, np.int16), PLANES)
    for data in made:
        for keyword, value in attributes.items():
            setattr(data, keyword, value)
    return made


@pytest.mark.parametrize(
    "attributes",
    [
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]},
        {"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE"]},
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIN_IP"]},
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"]},
        {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "MAX IP"]},
        {"VolumeBasedCalculationTechnique": "MAX_IP"},
        {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "SUBTRACTION"]},
        {"DerivationCodeSequence": [synthetic._item(CodeValue="113078", CodeMeaning="Maximum intensity projection")]},
        {"DerivationCodeSequence": [synthetic._item(CodeValue="113062", CodeMeaning="Pixel by pixel subtraction")]},
    ],
)
def test_a_projection_through_slices_and_a_difference_are_told_as_such(attributes: dict[str, Any]) -> None:
    (image,) = read_images(volume(**attributes)).or_raise()
    assert [note.kind for note in image.notes] == [NoteKind.COMPUTED]


@pytest.mark.parametrize(
    "image_type",
    [["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "SECONDARY", "CT_SOM5 MPR"], ["DERIVED", "SECONDARY"], []],
)
def test_slices_and_reformatted_slices_are_none(image_type: list[str]) -> None:
    (image,) = read_images(volume(ImageType=image_type)).or_raise()
    assert not image.notes


def test_a_pet_that_was_projected_again_and_a_frame_that_says_so_are_projections() -> None:
    pet = emission.pet(PLANES, SeriesType=["WHOLE BODY", "REPROJECTION"])
    assert "Series Type" in str(computed(pet[0], 1))
    enhanced = synthetic.enhanced(np.full((6, 8, 8), 5, np.int16), PLANES)
    group = enhanced.PerFrameFunctionalGroupsSequence[2]
    group.CTImageFrameTypeSequence = [synthetic._item(FrameType=["DERIVED", "PRIMARY", "VOLUME", "MAX_IP"])]
    assert [computed(enhanced, number) is not None for number in (1, 2, 3)] == [False, False, True]


@pytest.mark.parametrize("keyword", ["QualityControlImage", "QualityControlSubject"])
def test_a_phantom_is_no_patient_and_one_beside_a_patient_is_none_alone(keyword: str) -> None:
    (data,) = volume()[:1]
    assert quality_control(data) is None
    setattr(data, keyword, "BOTH")
    assert quality_control(data) is None
    setattr(data, keyword, "YES")
    assert keyword[-5:].strip() in str(quality_control(data)).replace(" ", "")


@pytest.mark.parametrize(
    ("photometric", "shape", "told"),
    [
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", "INVERSE", False),
        ("MONOCHROME1", None, False),
    ],
)
def test_two_statements_of_what_is_bright_that_contradict_each_other_are_told(
    photometric: str, shape: str | None, told: bool
) -> None:
    data = synthetic.radiograph(np.arange(600, dtype=np.uint16).reshape(20, 30), photometric=photometric)  # type: ignore[arg-type]
    data.pop("PresentationLUTShape", None)
    if shape is not None:
        data.PresentationLUTShape = shape
    (image,) = read_images([data]).or_raise()
    assert any("Presentation LUT Shape" in note.detail for note in image.notes) == told


def test_a_screenshot_is_told_as_one_whatever_modality_it_names() -> None:
    """A mammogram with marks of a CAD drawn in comes as MG beside the mammogram itself."""
    data = synthetic.radiograph(np.arange(600, dtype=np.uint16).reshape(20, 30), modality="MG")
    data.SOPClassUID, data.ConversionType = SecondaryCaptureImageStorage, "WSD"
    (image,) = read_images([data]).or_raise()
    (note,) = [note for note in image.notes if note.kind is NoteKind.CAPTURED]
    assert "Secondary Capture Image Storage: Conversion Type (0008,0064) 'WSD'" in note.detail


def test_an_image_without_a_window_is_not_said_to_have_one_of_its_own() -> None:
    """Pages said 'shown in another window than the image's own' of images that have none."""
    stored = np.arange(600, dtype=np.uint16).reshape(20, 30)
    (image,) = read_images([synthetic.radiograph(stored, window=None)]).or_raise()
    assert [note.kind for note in image.notes] == [NoteKind.NO_WINDOW]
    data = synthetic.radiograph(stored, window=(90000, 10))
    (image,) = read_images([data]).or_raise()
    assert [note.kind for note in image.notes] == [NoteKind.WINDOW_REPLACED]
