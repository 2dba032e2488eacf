"""Nuclear medicine (PS3.3 A.5): where slices lie, what its vectors tell apart, and what can't be placed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from pydicom import Dataset

import emission
import synthetic
from whyray.imaging import NoteKind, SourceImage, read_images

SHAPE = (8, 10)
PLANES = synthetic.stack(6, SHAPE, spacing=(4.0, 4.0), distance=3.0, rotation=(15, 20, 5))
VOLUME = np.stack([np.round(emission.rising(plane.points())) for plane in PLANES])
SLICES = list(range(1, 7))


def read(data: Dataset) -> tuple[SourceImage, ...]:
    return read_images([data]).or_raise()


def worst(image: SourceImage, times: float = 1.0) -> float:
    """By how much values differ from those of the places where the image says that they lie."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    errors = []
    for frame, values in zip(image.frames, image.modality, strict=True):
        affine = frame.to_patient
        assert affine is not None
        points = affine[:3, 3] + columns[..., None] * affine[:3, 0] + rows[..., None] * affine[:3, 1]
        errors.append(np.abs(values - times * emission.rising(points)).max())
    return float(max(errors))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_slice_vector_and_a_signed_spacing_say_where_slices_lie(reverse: bool) -> None:
    frames, first, between = (VOLUME[::-1], PLANES[-1], -3.0) if reverse else (VOLUME, PLANES[0], 3.0)
    (image,) = read(emission.nuclear(frames, first, between=between))
    assert image.shape[0] == 6
    assert worst(image) <= 0.6
    (backwards,) = read(emission.nuclear(frames[::-1], first, between=between, vectors={"SliceVector": SLICES[::-1]}))
    assert worst(backwards) <= 0.6


@pytest.mark.parametrize("by_slice", [False, True], ids=["phase by phase", "slice by slice"])
def test_a_gated_tomogram_is_one_volume_a_time_slot(by_slice: bool) -> None:
    order = [(place, time) for place in range(6) for time in (1, 2, 3)]
    order = order if by_slice else sorted(order, key=lambda pair: pair[1])
    frames = np.stack([VOLUME[place] * time for place, time in order])
    vectors = {
        "RRIntervalVector": [1] * 18,
        "TimeSlotVector": [time for _, time in order],
        "SliceVector": [place + 1 for place, _ in order],
    }
    kind = ["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"]
    images = read(emission.nuclear(frames, PLANES[0], image_type=kind, vectors=vectors))
    assert [image.shape[0] for image in images] == [6, 6, 6]
    for time, image in enumerate(images, start=1):
        assert worst(image, time) <= 0.6 * time
        (note,) = [note for note in image.notes if note.kind == NoteKind.SPLIT_SERIES]
        assert f"Time Slot Vector {time}" in note.detail


def test_energy_windows_never_make_one_volume() -> None:
    frames = np.concatenate([VOLUME[:3], VOLUME[3:] / 2])
    vectors = {"EnergyWindowVector": [1, 1, 1, 2, 2, 2], "SliceVector": SLICES}
    images = read(emission.nuclear(frames, PLANES[0], vectors=vectors))
    assert [image.shape[0] for image in images] == [3, 3]
    assert "Energy Window Vector 1" in images[0].notes[0].detail


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ({"SliceVector": [0, 1, 2, 3, 4, 5]}, "found 0"),
        ({"SliceVector": [1, 2, 3]}, "3 values for 6 frames"),
        ({"TimeSlotVector": [1, 1, 1, 2, 2, 2]}, "Slice Vector (0054,0080)"),
    ],
    ids=["from zero", "short", "absent beside others"],
)
def test_a_slice_vector_that_names_no_places_is_told_and_places_nothing(
    vectors: dict[str, Sequence[int]], said: str
) -> None:
    images = read(emission.nuclear(VOLUME, PLANES[0], vectors=vectors))
    assert {image.kind for image in images} == {"planar"}
    assert not any(image.frames[0].to_patient is not None for image in images)
    for image in images:
        (note,) = [note for note in image.notes if note.kind == NoteKind.POSITION_UNKNOWN]
        assert said in note.detail
        assert "Slice Vector (0054,0080)" in note.detail


@pytest.mark.parametrize("lacking", ["ImagePositionPatient", "ImageOrientationPatient", "SpacingBetweenSlices"])
def test_a_tomogram_that_does_not_say_where_it_lies_says_what_it_lacks(lacking: str) -> None:
    data = emission.nuclear(VOLUME, PLANES[0])
    delattr(data if lacking == "SpacingBetweenSlices" else data.DetectorInformationSequence[0], lacking)
    images = read(data)
    assert [image.kind for image in images] == ["planar"] * 6
    (note,) = [note for note in images[0].notes if note.kind == NoteKind.POSITION_UNKNOWN]
    assert {"I": "Image ", "S": "Spacing Between Slices"}[lacking[0]] in note.detail


def test_a_spacing_of_nothing_places_nothing() -> None:
    images = read(emission.nuclear(VOLUME, PLANES[0], between=0.0))
    assert {image.kind for image in images} == {"planar"}
    assert any("Spacing Between Slices (0018,0088)" in note.detail for note in images[0].notes)


def test_a_position_at_the_top_counts_for_no_slice_of_many() -> None:
    data = emission.nuclear(VOLUME, PLANES[0])
    data.ImagePositionPatient = [f"{value:.10g}" for value in PLANES[0].position]
    data.ImageOrientationPatient = [f"{value:.10g}" for value in (*PLANES[0].row, *PLANES[0].column)]
    (image,) = read(data)
    assert worst(image) <= 0.6


@pytest.mark.parametrize("kind", ["TOMO", "WHOLE BODY", "STATIC", "DYNAMIC"])
def test_projections_are_planar_each_and_lie_nowhere(kind: str) -> None:
    vectors = {"EnergyWindowVector": [1] * 6, "DetectorVector": SLICES}
    images = read(
        emission.nuclear(VOLUME, PLANES[0], image_type=["ORIGINAL", "PRIMARY", kind, "EMISSION"], vectors=vectors)
    )
    assert [image.kind for image in images] == ["planar"] * 6
    assert not any(note.kind == NoteKind.POSITION_UNKNOWN for image in images for note in image.notes)
