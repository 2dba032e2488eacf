"""A series whose slices were acquired or reconstructed differently comes apart; an ordinary one stays one volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataset import FileDataset
from pydicom.tag import Tag

import synthetic
from whyray.imaging import NoteKind, SourceImage, read_images

SHAPE = (8, 8)
SETTINGS = settings(max_examples=25, deadline=None, derandomize=True)


def block(
    heights: Sequence[float],
    name: str = "",
    *,
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0),
    spacing: float = 1.0,
    shape: tuple[int, int] = SHAPE,
    modality: str = "CT",
    **attributes: object,
) -> list[FileDataset]:
    """Slices at these heights in mm, of pixels that differ from place to place, all with these attributes."""
    made = []
    for index, height in enumerate(heights):
        (plane,) = synthetic.stack(
            1, shape, spacing=(spacing, spacing), distance=[], rotation=rotation, centre=(0, 0, height)
        )
        values = np.full((1, *shape), round(100 * height) % 1000 + len(name), np.int16)
        (data,) = synthetic.slices(values, [plane], modality=modality)  # type: ignore[arg-type]
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = (
            f"{data.SOPInstanceUID}.{100 * len(name) + index}"
        )
        data.InstanceNumber = 100 * len(name) + index + 1
        for keyword, value in attributes.items():
            setattr(data, keyword, value)
        made.append(data)
    return made


def read(made: Sequence[FileDataset], folder: Path) -> list[SourceImage]:
    study_images = read_images(synthetic.write(made, folder))
    assert not study_images.refusals, study_images.refusals[0].error.message
    return list(study_images.images)


def details(image: SourceImage, kind: NoteKind) -> list[str]:
    return [note.detail for note in image.notes if note.kind == kind]


ODD, EVEN = [2.0 * n for n in range(8)], [2.0 * n + 1 for n in range(8)]
LOW, HIGH = [2.0 * n for n in range(8)], [2.0 * n for n in range(8, 16)]

DIFFERENT = {
    "kernel": ({"ConvolutionKernel": "H30f"}, {"ConvolutionKernel": "H60f"}, "Convolution Kernel"),
    "kernel of several values": (
        {"ConvolutionKernel": ["Br40", "2"]},
        {"ConvolutionKernel": ["Br40", "4"]},
        "Convolution Kernel",
    ),
    "kernel in one": ({}, {"ConvolutionKernel": "SHARP"}, "Convolution Kernel"),
    "diameter": ({"ReconstructionDiameter": "250"}, {"ReconstructionDiameter": "180"}, "Reconstruction Diameter"),
    "algorithm": (
        {"ReconstructionAlgorithm": "FILTER_BACK_PROJ"},
        {"ReconstructionAlgorithm": "ITERATIVE"},
        "Reconstruction Algorithm",
    ),
    "image type": (
        {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]},
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]},
        "Image Type",
    ),
    "kind of image": (
        {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]},
        {"ImageType": ["DERIVED", "PRIMARY", "MPR"]},
        "Image Type",
    ),
    "rescale type": ({"RescaleType": "HU"}, {"RescaleType": "US"}, "Rescale Type"),
    "pixel spacing": ({"spacing": 0.9}, {"spacing": 0.7}, "Pixel Spacing"),
    "matrix": ({"shape": (8, 8)}, {"shape": (8, 10)}, "Columns"),
    "frame of reference": ({"FrameOfReferenceUID": "1.2.3"}, {"FrameOfReferenceUID": "1.2.4"}, "Frame of Reference"),
}


@pytest.mark.parametrize("places", [(ODD, EVEN), (LOW, HIGH)], ids=["interleaved", "one above the other"])
@pytest.mark.parametrize("name", DIFFERENT)
def test_two_reconstructions_in_one_series_are_two_images_that_say_what_tells_them_apart(
    name: str, places: tuple[list[float], list[float]], tmp_path: Path
) -> None:
    one, other, attribute = DIFFERENT[name]
    images = read([*block(places[0], **one), *block(places[1], "other", **other)], tmp_path)  # type: ignore[arg-type]
    assert [(image.kind, image.shape[0]) for image in images] == [("volume", 8)] * 2
    for image in images:
        (detail,) = details(image, NoteKind.SPLIT_SERIES)
        assert detail.startswith("8 of 16 slices of the series")
        assert attribute in detail


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("AcquisitionNumber", (1, 2)),
        ("SliceThickness", (1, 5)),
        ("KVP", (80, 140)),
        ("AcquisitionTime", ("101500", "102200")),
        ("ContrastBolusAgent", ("", "agent")),
        ("FilterType", ("HEAD", "BODY")),
    ],
)
def test_two_acquisitions_that_lie_among_each_other_are_two_images(
    keyword: str, values: tuple[object, object], tmp_path: Path
) -> None:
    made = [*block(ODD, **{keyword: values[0]}), *block(EVEN, "other", **{keyword: values[1]})]  # type: ignore[arg-type]
    images = read(made, tmp_path)
    assert [image.shape[0] for image in images] == [8, 8]
    heights = [[float(frame.to_patient[2, 3]) for frame in image.frames] for image in images]  # type: ignore[index]
    assert heights == [ODD, EVEN]
    for image in images:
        assert len(details(image, NoteKind.SPLIT_SERIES)) == 1


@pytest.mark.parametrize("step", [2.0, 3.0], ids=["in the same places", "beside them"])
def test_two_acquisitions_that_overlap_in_part_are_two_images(step: float, tmp_path: Path) -> None:
    above = [10.0 + step * n for n in range(8)]
    made = [*block(LOW, AcquisitionNumber=1), *block(above, "other", AcquisitionNumber=2)]
    assert sorted(image.shape[0] for image in read(made, tmp_path)) == [8, 8]


def test_a_block_with_another_gantry_tilt_is_an_image_of_its_own(tmp_path: Path) -> None:
    made = [*block(LOW, rotation=(18, 0, 0)), *block([height + 4 for height in HIGH], "upright")]
    images = read(made, tmp_path)
    assert [image.shape[0] for image in images] == [8, 8]
    assert "Image Orientation (Patient)" in details(images[0], NoteKind.SPLIT_SERIES)[0]


def test_slices_of_two_tilts_in_turn_are_two_images(tmp_path: Path) -> None:
    heights = [10.0 * n for n in range(8)]
    made = [*block(heights, rotation=(12, 0, 0)), *block([height + 5 for height in heights], "upright")]
    assert [image.shape[0] for image in read(made, tmp_path)] == [8, 8]


def test_one_slice_of_another_kernel_takes_no_other_with_it(tmp_path: Path) -> None:
    made = block(LOW, ConvolutionKernel="H30f")
    made[3].ConvolutionKernel = "H60f"
    images = read(made, tmp_path)
    assert sorted((image.kind, image.shape[0]) for image in images) == [("planar", 1), ("volume", 7)]


def test_an_enhanced_instance_with_two_kernels_is_two_images(tmp_path: Path) -> None:
    planes = synthetic.stack(8, SHAPE, distance=1.0)
    made = synthetic.enhanced(np.zeros((8, *SHAPE)), planes)
    for index, groups in enumerate(made.PerFrameFunctionalGroupsSequence):
        kernel = "H30f" if index % 2 else "H60f"
        groups.CTReconstructionSequence = [synthetic._item(ConvolutionKernel=kernel)]
    images = read([made], tmp_path)
    assert [image.shape[0] for image in images] == [4, 4]
    assert "Convolution Kernel" in details(images[0], NoteKind.SPLIT_SERIES)[0]


def _rotations(made: list[FileDataset]) -> None:
    for index, data in enumerate(made):
        data.AcquisitionNumber = index // 2 + 1
        data.AcquisitionTime = f"1015{index // 2:02d}"


def _times(made: list[FileDataset]) -> None:
    for index, data in enumerate(made):
        data.AcquisitionNumber, data.AcquisitionTime, data.ContentTime = index, f"1015{index:02d}", f"1016{index:02d}"


def _image_types(made: list[FileDataset]) -> None:
    for index, data in enumerate(made):
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "ADD" if index % 3 else "HELIX"]


def _posterior_fossa(made: list[FileDataset]) -> None:
    for index, data in enumerate(made):
        data.SliceThickness, data.KVP = (2.5, 140) if index < len(made) // 2 else (5, 120)


def _tube_current(made: list[FileDataset]) -> None:
    for index, data in enumerate(made):
        data.XRayTubeCurrent, data.Exposure = 100 + index % 5, 50 + index % 3


def _digits(made: list[FileDataset]) -> None:
    for index, data in enumerate(made):
        data.PixelSpacing = ["0.488281", "0.488281"] if index % 2 else ["0.48828125", "0.48828125"]
        data.ReconstructionDiameter = "250" if index % 2 else "250.00000"


def _windows(made: list[FileDataset]) -> None:
    for index, data in enumerate(made):
        data.WindowWidth = 80 + index % 7


def _contrast(made: list[FileDataset]) -> None:
    for data in made[: len(made) // 2]:
        data.AcquisitionNumber = 2


def _kernel_absent(made: list[FileDataset]) -> None:
    for data in made[1:]:
        data.ConvolutionKernel = "H30f"


ORDINARY: list[Callable[[list[FileDataset]], None]] = [
    _rotations,
    _times,
    _image_types,
    _posterior_fossa,
    _tube_current,
    _digits,
    _windows,
    _contrast,
    _kernel_absent,
]


@pytest.mark.parametrize("vary", ORDINARY)
def test_what_changes_along_an_ordinary_series_does_not_split_it(
    vary: Callable[[list[FileDataset]], None], tmp_path: Path
) -> None:
    made = block([3.0 * n for n in range(12)])
    vary(made)
    (image,) = read(made[::-1], tmp_path)
    assert image.shape[0] == 12
    assert not details(image, NoteKind.SPLIT_SERIES)


def test_concatenations_of_an_mr_acquisition_stay_one_volume_and_are_told(tmp_path: Path) -> None:
    made = block([3.0 * n for n in range(12)], modality="MR")
    for index, data in enumerate(made):
        data.AcquisitionNumber = index % 2 + 1
    (image,) = read(made, tmp_path)
    assert "Acquisition Number 1 in 6 slices, 2 in 6 slices" in details(image, NoteKind.UNEVEN_SLICES)[0]


def test_a_thickness_that_changes_is_told_and_so_is_a_tube_voltage(tmp_path: Path) -> None:
    made = block([*np.arange(0, 20, 2.5), *np.arange(21.25, 60, 5.0)])
    _posterior_fossa(made)
    (image,) = read(made, tmp_path)
    (detail,) = details(image, NoteKind.UNEVEN_SLICES)
    assert "distances of slices from 2.5 to 5 mm" in detail
    assert "Slice Thickness from 2.5 to 5 mm" in detail
    assert "KVP 140 in 8 slices, 120 in 8 slices" in detail


def test_three_contrast_phases_of_an_acquisition_time_each_are_three_images_in_order(tmp_path: Path) -> None:
    made = []
    for number, time in enumerate(("101500", "101530", "101630"), start=1):
        made += block(LOW, "x" * number, AcquisitionTime=time, AcquisitionNumber=1)
    images = read(made[::-1], tmp_path)
    assert [image.header.AcquisitionTime for image in images] == ["101500", "101530", "101630"]
    assert all("another Acquisition Time" in details(image, NoteKind.SPLIT_SERIES)[0] for image in images)


@SETTINGS
@given(data=st.data(), count=st.integers(4, 14), step=st.floats(0.5, 8), vary=st.sampled_from(ORDINARY))
def test_any_ordinary_series_shuffled_is_one_volume_in_place(
    data: st.DataObject, count: int, step: float, vary: Callable[[list[FileDataset]], None]
) -> None:
    heights = [round(step * n, 3) for n in range(count)]
    made = block(heights)
    vary(made)
    order = data.draw(st.permutations(range(count)))
    (image,) = read_images([made[index] for index in order]).or_raise()
    actual = [float(frame.to_patient[2, 3]) for frame in image.frames]  # type: ignore[index]
    np.testing.assert_allclose(actual, heights, atol=1e-3)


@SETTINGS
@given(
    data=st.data(),
    counts=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    step=st.floats(1, 6),
    start=st.floats(-20, 60),
    name=st.sampled_from(sorted(DIFFERENT)),
)
def test_any_two_reconstructions_mixed_come_apart(
    data: st.DataObject, counts: tuple[int, int], step: float, start: float, name: str
) -> None:
    one, other, _ = DIFFERENT[name]
    made = [
        *block([step * n for n in range(counts[0])], **one),  # type: ignore[arg-type]
        *block([start + step * n for n in range(counts[1])], "other", **other),  # type: ignore[arg-type]
    ]
    first = {instance.SOPInstanceUID for instance in made[: counts[0]]}
    order = data.draw(st.permutations(range(len(made))))
    images = read_images([made[index] for index in order]).or_raise()
    assert sorted(image.shape[0] for image in images) == sorted(counts)
    for image in images:
        assert len({frame.sop_instance_uid in first for frame in image.frames}) == 1


def test_dimension_pointers_do_not_split_a_volume_by_its_places(tmp_path: Path) -> None:
    made = synthetic.enhanced(np.zeros((6, *SHAPE)), synthetic.stack(6, SHAPE))
    made.DimensionIndexSequence = made.DimensionIndexSequence[::-1]
    for groups in made.PerFrameFunctionalGroupsSequence:
        content = groups.FrameContentSequence[0]
        content.DimensionIndexValues = list(content.DimensionIndexValues)[::-1]
    assert [image.shape[0] for image in read([made], tmp_path)] == [6]


def _phases_by_dimension(values: Callable[[int, int], object], pointers: Sequence[str]) -> FileDataset:
    """An enhanced MR instance of four places twice, told apart by Dimension Index Values alone."""
    planes = synthetic.stack(4, SHAPE)
    made = synthetic.enhanced(np.zeros((8, *SHAPE)), planes * 2, modality="MR")
    for index, groups in enumerate(made.PerFrameFunctionalGroupsSequence):
        content = groups.FrameContentSequence[0]
        content.DimensionIndexValues = values(index % 4 + 1, index // 4 + 1)
    organization = made.DimensionIndexSequence[0].DimensionOrganizationUID
    made.DimensionIndexSequence = [
        synthetic._item(DimensionIndexPointer=Tag(keyword), DimensionOrganizationUID=organization)
        for keyword in pointers
    ]
    return made


@pytest.mark.parametrize(
    ("values", "pointers"),
    [
        (lambda place, phase: [1, place, phase], ["StackID", "InStackPositionNumber", "TemporalPositionIndex"]),
        (lambda place, phase: [phase, place, 1], ["TemporalPositionIndex", "InStackPositionNumber", "StackID"]),
        (lambda place, phase: phase, ["TemporalPositionIndex"]),
        (lambda place, phase: [place, phase], []),
        (lambda place, phase: [1, place, phase], ["StackID", "InStackPositionNumber"]),
    ],
    ids=["as usual", "in another order", "one value", "no pointers", "more values than pointers"],
)
def test_dimension_index_values_tell_phases_apart_however_they_are_pointed_at(
    values: Callable[[int, int], object], pointers: list[str], tmp_path: Path
) -> None:
    images = read([_phases_by_dimension(values, pointers)], tmp_path)
    assert [[frame.frame_number for frame in image.frames] for image in images] == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("sequence", "keyword", "values"),
    [
        ("MRArterialSpinLabelingSequence", "ASLContext", ("LABEL", "CONTROL")),
        ("MRVelocityEncodingSequence", "VelocityEncodingDirection", ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0])),
        ("RespiratorySynchronizationSequence", "NominalPercentageOfRespiratoryPhase", (0.0, 50.0)),
    ],
)
def test_frames_of_two_contrasts_are_never_mixed_whichever_comes_first_in_a_place(
    sequence: str, keyword: str, values: tuple[object, object]
) -> None:
    planes = synthetic.stack(4, (8, 8))
    contrasts = [0, 1, 1, 0, 0, 1, 1, 0]
    volume = np.stack([np.full((8, 8), 100 * contrast, np.int16) for contrast in contrasts])
    made = synthetic.enhanced(volume, [plane for plane in planes for _ in range(2)], modality="MR", rescale=(1.0, 0.0))
    for contrast, group in zip(contrasts, made.PerFrameFunctionalGroupsSequence, strict=True):
        item = Dataset()
        setattr(item, keyword, values[contrast])
        setattr(group, sequence, [item])
        del group.FrameContentSequence[0].DimensionIndexValues
    images = read_images([made]).or_raise()
    assert sorted(sorted(set(image.modality[:, 0, 0].tolist())) for image in images) == [[0], [100]]
    assert [image.shape[0] for image in images] == [4, 4]
