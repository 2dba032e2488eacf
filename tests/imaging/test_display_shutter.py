"""What a display shutter hides (PS3.3 C.7.6.11) is shown to nobody, and told; its values stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileDataset

import synthetic
from whyray.imaging import NoteKind, SourceImage, read_images, to_model
from whyray.packages import InputSpec

RECTANGLE = {
    "ShutterShape": "RECTANGULAR",
    "ShutterUpperHorizontalEdge": "3",
    "ShutterLowerHorizontalEdge": "18",
    "ShutterLeftVerticalEdge": "5",
    "ShutterRightVerticalEdge": "25",
}
CIRCLE = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": ["11", "16"], "RadiusOfCircularShutter": "8"}
POLYGON = {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [1, 1, 1, 21, 20, 1]}


def film(photometric: str = "MONOCHROME2", **attributes: Any) -> FileDataset:
    """20 × 30, white all over."""
    stored = np.full((20, 30), 4095 if photometric == "MONOCHROME2" else 0, np.uint16)
    data = synthetic.radiograph(stored, photometric=photometric, window=(2048, 4096), spacing=None)  # type: ignore[arg-type]
    for keyword, value in attributes.items():
        setattr(data, keyword, value)
    return data


def read(data: Dataset) -> SourceImage:
    (image,) = read_images([data]).or_raise()
    return image


def bright(data: Dataset) -> np.ndarray:
    return np.asarray(read(data).display[0] > 0.99)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_beyond_the_edges_of_a_rectangle_all_is_black(photometric: str) -> None:
    wanted = np.zeros((20, 30), bool)
    wanted[2:18, 4:25] = True
    image = read(film(photometric, **RECTANGLE))
    np.testing.assert_array_equal(image.display[0] > 0.99, wanted)
    assert not image.display[0][~wanted].any()
    assert np.ptp(image.modality[0]) == 0, "values are no matter of display"
    assert not image.padding[0].any()


def test_a_circle_is_one_in_the_patient_where_pixels_are_higher_than_wide() -> None:
    rows, columns = np.mgrid[1:21, 1:31]
    np.testing.assert_array_equal(bright(film(**CIRCLE)), np.hypot(rows - 11, columns - 16) <= 8)
    higher = film(**CIRCLE, PixelAspectRatio=["2", "1"])
    np.testing.assert_array_equal(bright(higher), np.hypot((rows - 11) * 2, columns - 16) <= 8)


def test_a_polygon_shows_what_lies_within_and_shapes_add_up() -> None:
    shown = bright(film(**POLYGON))
    assert shown[0, 0]
    assert shown[0, 20]
    assert shown[19, 0]
    assert not shown[15, 15]
    both = bright(film(**{**RECTANGLE, **POLYGON, "ShutterShape": ["RECTANGULAR", "POLYGONAL"]}))
    np.testing.assert_array_equal(both, shown & bright(film(**RECTANGLE)))


def test_what_is_shown_instead_is_as_bright_as_the_image_says() -> None:
    image = read(film(**RECTANGLE, ShutterPresentationValue=32768))
    assert image.display[0][0, 0] == pytest.approx(0.5, abs=0.001)


def test_a_reader_is_told_that_a_part_is_hidden_and_how_much() -> None:
    (note,) = [note for note in read(film(**RECTANGLE)).notes if note.kind is NoteKind.SHUTTER]
    assert "'RECTANGULAR' hides 44.00% of the pixels" in note.detail
    assert not [note for note in read(film()).notes if note.kind is NoteKind.SHUTTER]


@pytest.mark.parametrize(
    "wrong",
    [
        {**RECTANGLE, "ShutterLowerHorizontalEdge": None},
        {**RECTANGLE, "ShutterLeftVerticalEdge": "90"},
        {**CIRCLE, "CenterOfCircularShutter": ["11"]},
        {**POLYGON, "VerticesOfThePolygonalShutter": [1, 1, 2, 2]},
        {"ShutterShape": "BITMAP"},
    ],
)
def test_a_shutter_that_can_not_be_applied_or_leaves_nothing_hides_nothing_and_is_told(wrong: dict[str, Any]) -> None:
    image = read(film(**wrong))
    assert (image.display[0] > 0.99).all()
    assert [note.kind for note in image.notes if "Shutter Shape" in note.detail] == [NoteKind.ATTRIBUTE_IGNORED]


def test_a_frames_own_shutter_comes_before_the_images() -> None:
    data = synthetic.cine(np.full((2, 20, 30), 4095, np.uint16), modality="XA")
    for keyword, value in RECTANGLE.items():
        setattr(data, keyword, value)
    own, group = Dataset(), Dataset()
    for keyword, value in CIRCLE.items():
        setattr(own, keyword, value)
    group.FrameDisplayShutterSequence = [own]
    data.PerFrameFunctionalGroupsSequence = [group, Dataset()]
    first, second = read_images([data]).or_raise()
    assert not first.display[0][2, 4]
    assert second.display[0][2, 4]
    assert not second.display[0][0, 4]


def test_a_model_that_takes_what_is_shown_is_given_what_is_shown() -> None:
    spec = InputSpec(name="x", shape=(20, 30))
    tensor = to_model(read(film(**RECTANGLE)), spec).tensor[0, 0]
    assert tensor[0, 0] == 0
    assert tensor[10, 10] == pytest.approx(1)
