"""What can't be used takes nothing with it, and what remains of its series says that it is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset

import synthetic
from whyray.base.errors import GeometryError, ImageError
from whyray.imaging import NoteKind, SourceImage, StudyImages, read_images

SHAPE = (8, 8)


def numbered(count: int) -> np.ndarray:
    return np.broadcast_to(np.arange(count, dtype=np.int16)[:, None, None], (count, *SHAPE)).copy()


def series(count: int = 12, **options: object) -> list[FileDataset]:
    planes = synthetic.stack(count, SHAPE, distance=5.0)
    return synthetic.slices(numbered(count), planes, shuffled=False, **options)  # type: ignore[arg-type]


def read(made: Sequence[FileDataset], folder: Path) -> StudyImages:
    return read_images(synthetic.write(made, folder))


def kinds(image: SourceImage) -> list[NoteKind]:
    return [note.kind for note in image.notes]


def detail(image: SourceImage, kind: NoteKind) -> str:
    (words,) = [note.detail for note in image.notes if note.kind == kind]
    return words


@pytest.mark.parametrize("keywords", [("RescaleSlope", "RescaleIntercept"), ("RescaleSlope",), ("RescaleIntercept",)])
@pytest.mark.parametrize("empty", [True, False], ids=["empty", "absent"])
def test_a_slice_without_the_rescale_of_the_others_is_left_out_and_named(
    keywords: tuple[str, ...], empty: bool, tmp_path: Path
) -> None:
    made = series()
    for keyword in keywords:
        if empty:
            setattr(made[5], keyword, None)
        else:
            delattr(made[5], keyword)
    study_images = read(made, tmp_path)
    (image,) = study_images.images
    assert image.modality[:, 0, 0].tolist() == [value for value in range(12) if value != 5]
    assert kinds(image) == [NoteKind.GAP, NoteKind.LEFT_OUT]
    for words in (study_images.refusals[0].error.message, detail(image, NoteKind.LEFT_OUT)):
        assert f"6 ({made[5].SOPInstanceUID})" in words
        assert "Rescale" in words


def test_a_series_of_which_most_slices_lost_their_rescale_is_refused(tmp_path: Path) -> None:
    made = series()
    for data in made[2:]:
        del data.RescaleSlope, data.RescaleIntercept
    study_images = read(made, tmp_path)
    assert not study_images.images
    assert "10 of 12 slices without" in study_images.refusals[0].error.message
    assert len(study_images.refusals[0].sop_instance_uids) == 12


def test_a_ct_without_any_rescale_says_what_its_values_were_taken_for(tmp_path: Path) -> None:
    made = series()
    for data in made:
        del data.RescaleSlope, data.RescaleIntercept
    (image,) = read(made, tmp_path).or_raise()
    assert "Rescale Slope (0028,1053)" in detail(image, NoteKind.ATTRIBUTE_IGNORED)


def test_slopes_that_differ_slice_by_slice_are_ordinary(tmp_path: Path) -> None:
    made = series()
    for index, data in enumerate(made):
        data.RescaleSlope, data.RescaleIntercept = index + 1, 0
    (image,) = read(made, tmp_path).or_raise()
    assert image.shape[0] == 12
    assert NoteKind.LEFT_OUT not in kinds(image)


def test_an_mr_with_a_rescale_of_nothing_in_some_slices_is_ordinary(tmp_path: Path) -> None:
    made = series(modality="MR")
    for data in made[:4]:
        data.RescaleSlope, data.RescaleIntercept = 1, 0
    (image,) = read(made, tmp_path).or_raise()
    assert image.shape[0] == 12
    assert not image.notes


def test_an_intercept_without_a_slope_is_refused_by_name(tmp_path: Path) -> None:
    made = series()
    for data in made:
        del data.RescaleSlope
    study_images = read(made, tmp_path)
    assert not study_images.images
    assert (
        "expected Rescale Slope (0028,1053) beside Rescale Intercept (0028,1052)"
        in study_images.refusals[0].error.message
    )


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("BitsStored", 99),
        ("PixelRepresentation", None),
        ("PhotometricInterpretation", "ODD"),
        ("SamplesPerPixel", 3),
        ("BitsAllocated", 7),
    ],
)
def test_a_slice_that_is_refused_when_it_is_opened_is_missed_by_its_series(
    keyword: str, value: object, tmp_path: Path
) -> None:
    made = series()
    paths = synthetic.write(made, tmp_path)
    setattr(made[3], keyword, value)
    made[3].save_as(paths[3])
    study_images = read_images(paths)
    (image,) = study_images.images
    assert image.shape[0] == 11
    assert kinds(image) == [NoteKind.GAP, NoteKind.LEFT_OUT]
    assert str(made[3].SOPInstanceUID) in detail(image, NoteKind.LEFT_OUT)


def test_a_radiograph_is_told_that_another_of_its_series_could_not_be_used(tmp_path: Path) -> None:
    made = [synthetic.radiograph(np.ones(SHAPE), number=number) for number in (1, 2)]
    made[1].BitsStored = 99
    (image,) = read(made, tmp_path).images
    assert str(made[1].SOPInstanceUID) in detail(image, NoteKind.LEFT_OUT)


def test_what_is_no_image_is_not_missed(tmp_path: Path) -> None:
    made = series()
    report = synthetic.radiograph(np.ones(SHAPE))
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.SeriesInstanceUID = made[0].SeriesInstanceUID
    del report.Rows, report.Columns, report.PixelData
    (image,) = read([*made, report], tmp_path).images
    assert not image.notes


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImagePositionPatient", None),
        ("ImagePositionPatient", ["1", "2"]),
        ("ImageOrientationPatient", ["0"] * 6),
        ("ImageOrientationPatient", ["1", "0", "0"]),
        ("ImageOrientationPatient", ["1", "0", "0", "1", "0", "0"]),
        ("PixelSpacing", None),
    ],
)
def test_a_slice_that_does_not_say_where_it_lies_takes_no_other_with_it(
    keyword: str, value: object, tmp_path: Path
) -> None:
    made = series()
    setattr(made[4], keyword, value)
    study_images = read(made, tmp_path)
    (image,) = study_images.images
    assert image.shape[0] == 11
    (refusal,) = study_images.refusals
    assert isinstance(refusal.error, GeometryError)
    assert refusal.sop_instance_uids == (made[4].SOPInstanceUID,)
    name = {"ImagePositionPatient": "Image Position", "ImageOrientationPatient": "Image Orientation"}
    assert name.get(keyword, "Pixel Spacing") in refusal.error.message
    assert str(made[4].SOPInstanceUID) in detail(image, NoteKind.LEFT_OUT)


def _with_text(path: Path, keyword: str, text: bytes) -> None:
    """Write text into an attribute of a file as it stands there, number or not."""
    data = dcmread(path)
    raw = path.read_bytes()
    written = "\\".join(str(value) for value in data[keyword].value).encode()
    assert raw.count(written) >= 1
    path.write_bytes(raw.replace(written, text.ljust(len(written))[: len(written)]))


UNUSABLE = [
    ("ImageOrientationPatient", ["0"] * 6),
    ("ImageOrientationPatient", ["1", "0", "0"]),
    ("ImageOrientationPatient", ["1", "0", "0", "1", "0", "0"]),
    ("ImageOrientationPatient", ["2", "0", "0", "0", "2", "0"]),
    ("ImagePositionPatient", ["0", "0"]),
]


@pytest.mark.parametrize(("keyword", "value"), UNUSABLE)
@pytest.mark.parametrize("modality", ["CR", "DX", "MG"])
def test_a_radiograph_needs_no_place_in_the_patient(
    keyword: str, value: list[str], modality: str, tmp_path: Path
) -> None:
    made = synthetic.radiograph(np.ones(SHAPE), modality=modality)  # type: ignore[arg-type]
    made.ImagePositionPatient, made.ImageOrientationPatient = ["1", "2", "3"], ["1", "0", "0", "0", "1", "0"]
    setattr(made, keyword, value)
    (image,) = read([made], tmp_path).or_raise()
    assert image.frames[0].to_patient is None
    assert image.frames[0].spacing == (0.2, 0.2)
    words = detail(image, NoteKind.POSITION_UNKNOWN)
    assert str(made.SOPInstanceUID) in words
    assert "(0020,003" in words


def test_a_position_that_is_no_number_is_noted_on_a_radiograph_and_refused_in_a_slice(tmp_path: Path) -> None:
    made = synthetic.radiograph(np.ones(SHAPE))
    made.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    made.ImagePositionPatient = ["111.5", "222.5", "333.5"]
    (path,) = synthetic.write([made], tmp_path / "radiograph")
    _with_text(path, "ImagePositionPatient", b"NaN\\NaN\\NaN")
    (image,) = read_images([path]).or_raise()
    assert "NaN" in detail(image, NoteKind.POSITION_UNKNOWN)
    slices = series()
    slices[4].ImagePositionPatient = ["111.5", "222.5", "333.5"]
    paths = synthetic.write(slices, tmp_path / "slices")
    _with_text(paths[4], "ImagePositionPatient", b"NaN\\NaN\\NaN")
    study_images = read_images(paths)
    assert [image.shape[0] for image in study_images.images] == [11]
    assert "Image Position (Patient) (0020,0032)" in study_images.refusals[0].error.message


def test_a_frame_without_a_place_leaves_the_others_of_its_enhanced_instance(tmp_path: Path) -> None:
    made = synthetic.enhanced(numbered(6), synthetic.stack(6, SHAPE))
    made.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0].ImagePositionPatient = ["1", "2"]
    study_images = read([made], tmp_path)
    (image,) = study_images.images
    assert [frame.frame_number for frame in image.frames] == [1, 2, 4, 5, 6]
    assert "frame 3" in detail(image, NoteKind.LEFT_OUT)


def test_frames_of_an_ultrasound_with_an_unusable_place_are_pictures(tmp_path: Path) -> None:
    made = synthetic.enhanced(numbered(3), synthetic.stack(3, SHAPE))
    del made.PerFrameFunctionalGroupsSequence, made.SharedFunctionalGroupsSequence
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    made.ImagePositionPatient, made.ImageOrientationPatient = ["0", "0", "0"], ["0"] * 6
    images = read([made], tmp_path).or_raise()
    assert [(image.kind, kinds(image)[:1]) for image in images] == [("planar", [NoteKind.POSITION_UNKNOWN])] * 3


def test_a_slice_sent_again_under_another_uid_is_used_once_with_a_note(tmp_path: Path) -> None:
    made = series()
    again = series()[4]
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = f"{again.SOPInstanceUID}.9"
    again.InstanceNumber = 13
    (image,) = read([again, *made], tmp_path).or_raise()
    assert [frame.sop_instance_uid for frame in image.frames] == [data.SOPInstanceUID for data in made]
    assert kinds(image) == [NoteKind.REPEATED]
    assert str(again.SOPInstanceUID) in image.notes[0].detail


def test_a_series_sent_twice_under_other_uids_is_one_volume(tmp_path: Path) -> None:
    made, again = series(), series()
    for data in again:
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{data.SOPInstanceUID}.9"
        data.InstanceNumber += 12
    (image,) = read([*again, *made], tmp_path).or_raise()
    assert image.shape[0] == 12
    assert kinds(image) == [NoteKind.REPEATED]


def _times(count: int, *, air: bool = False) -> list[FileDataset]:
    """Four places at each of so many times, which only Instance Number tells apart."""
    made = []
    for time in range(count):
        for place, data in enumerate(synthetic.slices(numbered(4) + 100 * (time + 1), synthetic.stack(4, SHAPE))):
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{data.SOPInstanceUID}.{time + 1}"
            data.InstanceNumber = 4 * time + place + 1
            if air and place == 3:
                data.PixelData = bytes(len(data.PixelData))
            made.append(data)
    return made


@pytest.mark.parametrize("air", [False, True], ids=["all unlike", "air in the last place"])
def test_volumes_that_only_instance_number_tells_apart_are_told_apart_by_it(air: bool, tmp_path: Path) -> None:
    made = _times(3, air=air)
    images = read(made[::-1], tmp_path).or_raise()
    assert [image.modality[0, 0, 0] for image in images] == [100, 200, 300]
    assert [image.shape[0] for image in images] == [4, 4, 4]
    assert all("4 of 12 slices" in detail(image, NoteKind.SPLIT_SERIES) for image in images)
    assert "Instance Number 1 to 4" in detail(images[0], NoteKind.SPLIT_SERIES)


def test_times_that_are_counted_place_by_place_are_told_apart(tmp_path: Path) -> None:
    made = _times(3)
    for index, data in enumerate(made):
        data.InstanceNumber = 3 * (index % 4) + index // 4 + 1
    images = read(made[::-1], tmp_path).or_raise()
    assert [image.modality[:, 0, 0].tolist() for image in images] == [
        [100 * time + place for place in range(4)] for time in (1, 2, 3)
    ]


@pytest.mark.parametrize("keyword", ["TriggerTime", "AcquisitionTime", "TemporalPositionIdentifier"])
def test_volumes_are_told_apart_by_trigger_or_acquisition_time(keyword: str, tmp_path: Path) -> None:
    made = _times(3)
    for index, data in enumerate(made):
        value = {"TriggerTime": 40 * (index // 4) + index % 4, "TemporalPositionIdentifier": index // 4 + 1}
        setattr(data, keyword, value.get(keyword, f"1015{index:02d}"))
        data.InstanceNumber = 1
    images = read(made[::-1], tmp_path).or_raise()
    assert [image.modality[0, 0, 0] for image in images] == [100, 200, 300]


def test_two_images_of_one_uid_are_refused_both_and_missed(tmp_path: Path) -> None:
    made = series()
    other = series()[4]
    other.PixelData = bytes(len(other.PixelData))
    paths = [*synthetic.write(made, tmp_path / "first"), *synthetic.write([other], tmp_path / "second")]
    for order in (paths, paths[::-1]):
        study_images = read_images(order)
        assert [image.shape[0] for image in study_images.images] == [11]
        (refusal,) = study_images.refusals
        assert isinstance(refusal.error, ImageError)
        assert refusal.sop_instance_uids == (other.SOPInstanceUID,)
        assert "Pixel Data (7FE0,0010)" in refusal.error.message
        assert NoteKind.LEFT_OUT in kinds(study_images.images[0])


def test_an_instance_compressed_and_plain_is_one_image(tmp_path: Path) -> None:
    made = series()
    again = synthetic.compress(series()[4], "1.2.840.10008.1.2.5")
    paths = [*synthetic.write(made, tmp_path / "first"), *synthetic.write([again], tmp_path / "second")]
    study_images = read_images(paths)
    assert not study_images.refusals
    assert [image.shape[0] for image in study_images.images] == [12]


def test_an_instance_that_came_again_with_another_description_is_used_once_and_told(tmp_path: Path) -> None:
    made = series()
    again = series()[4]
    again.SeriesDescription = "corrected"
    paths = [*synthetic.write(made, tmp_path / "first"), *synthetic.write([again], tmp_path / "second")]
    (image,) = read_images(paths).or_raise()
    assert "Series Description" in detail(image, NoteKind.REPEATED)
