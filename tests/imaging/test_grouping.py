"""Slices are put together by where they lie, and what does not belong together is kept apart."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset

import mammography
import synthetic
from whyray.base.errors import GeometryError
from whyray.imaging import read_images


def heights(image: object) -> list[float]:
    return [float(frame.to_patient[2, 3]) for frame in image.frames]  # type: ignore[attr-defined]


def numbered(count: int, shape: tuple[int, int] = (8, 8)) -> np.ndarray:
    return np.broadcast_to(np.arange(count, dtype=np.int16)[:, None, None], (count, *shape)).copy()


def test_slices_are_sorted_by_geometry_and_never_by_instance_number() -> None:
    planes = synthetic.stack(9, (8, 8), distance=2.0, rotation=(30, 20, 10))
    made = synthetic.slices(numbered(9), planes, shuffled=True, rescale=(1.0, 0.0))
    (image,) = read_images(made[::-1]).or_raise()
    assert image.modality[:, 0, 0].tolist() == list(range(9))
    assert [image.headers[f.sop_instance_uid].InstanceNumber for f in image.frames] != list(range(1, 10))


def test_a_localiser_in_the_series_is_set_apart_from_its_volume() -> None:
    axial = synthetic.slices(numbered(5), synthetic.stack(5, (8, 8)))
    scout = synthetic.slices(numbered(1, (8, 8)), synthetic.stack(1, (8, 8), distance=[], rotation=(90, 0, 0)))[0]
    scout.SOPInstanceUID += ".1"
    marked = synthetic.slices(numbered(1), synthetic.stack(1, (8, 8), distance=[]))[0]
    marked.SOPInstanceUID += ".2"
    marked.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    images = read_images([scout, *axial, marked]).or_raise()
    assert sorted((image.kind, image.shape[0]) for image in images) == [("planar", 1), ("planar", 1), ("volume", 5)]


def test_a_series_of_three_orientations_becomes_three_volumes() -> None:
    made = []
    for index, rotation in enumerate([(0, 0, 0), (90, 0, 0), (0, 90, 0)]):
        part = synthetic.slices(numbered(4), synthetic.stack(4, (8, 8), rotation=rotation))
        for data in part:
            data.SOPInstanceUID += f".{index}"
        made += part
    assert [image.shape for image in read_images(made).or_raise()] == [(4, 8, 8)] * 3


@pytest.mark.parametrize(
    ("keyword", "values"),
    [("AcquisitionNumber", (1, 2)), ("TemporalPositionIdentifier", (1, 2)), ("ConvolutionKernel", ("B30", "B70"))],
)
def test_two_phases_in_the_same_place_become_two_volumes(keyword: str, values: tuple[object, object]) -> None:
    planes = synthetic.stack(5, (8, 8))
    made = []
    for value in values:
        for data in synthetic.slices(numbered(5), planes):
            data.SOPInstanceUID += f".{len(made)}"
            setattr(data, keyword, value)
            made.append(data)
    assert [image.shape for image in read_images(made).or_raise()] == [(5, 8, 8)] * 2


def test_slices_in_the_same_place_that_nothing_tells_apart_are_refused() -> None:
    planes = synthetic.stack(5, (8, 8))
    made = [*synthetic.slices(numbered(5), planes), *synthetic.slices(numbered(5), planes)]
    for index, data in enumerate(made):
        data.SOPInstanceUID += f".{index}"
        data.ContentTime = f"10150{index}"
        data.PixelData = data.PixelData[:-2] + bytes([index, 0])
    study_images = read_images(made)
    assert not study_images.images
    assert isinstance(study_images.refusals[0].error, GeometryError)
    assert "same place" in study_images.refusals[0].error.message
    assert len(study_images.refusals[0].sop_instance_uids) == 10
    assert f"{made[0].InstanceNumber} ({made[0].SOPInstanceUID})" in study_images.refusals[0].error.message
    assert f"{made[5].InstanceNumber} ({made[5].SOPInstanceUID})" in study_images.refusals[0].error.message


def test_a_missing_slice_is_noted_as_a_gap_with_the_instance_before_it() -> None:
    made = synthetic.slices(numbered(8), synthetic.stack(8, (8, 8), distance=2.5), shuffled=False)
    (image,) = read_images(made[:4] + made[5:]).or_raise()
    assert image.shape == (7, 8, 8)
    assert len(image.notes) == 1
    assert "gap of 5.00 mm" in image.notes[0].detail
    assert str(made[3].SOPInstanceUID) in image.notes[0].detail


def test_a_series_of_one_slice_is_planar_and_keeps_its_position() -> None:
    made = synthetic.slices(numbered(1), synthetic.stack(1, (8, 8), distance=[]))
    (image,) = read_images(made).or_raise()
    assert image.kind == "planar"
    assert image.frames[0].to_patient is not None


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_a_slice_that_does_not_say_where_it_lies_is_refused(keyword: str) -> None:
    made = synthetic.slices(numbered(4), synthetic.stack(4, (8, 8)))
    for data in made[1:3]:
        delattr(data, keyword)
    study_images = read_images(made)
    assert any(isinstance(refusal.error, GeometryError) for refusal in study_images.refusals)
    refused = {uid for refusal in study_images.refusals for uid in refusal.sop_instance_uids}
    assert {made[1].SOPInstanceUID, made[2].SOPInstanceUID} <= refused


def test_a_slice_whose_orientation_is_none_is_refused_alone() -> None:
    made = synthetic.slices(numbered(4), synthetic.stack(4, (8, 8)))
    made[1].ImageOrientationPatient = [1, 0, 0, 1, 0, 0]
    study_images = read_images(made)
    (refusal,) = study_images.refusals
    assert isinstance(refusal.error, GeometryError)
    assert "orthogonal unit vectors" in refusal.error.message
    assert refusal.sop_instance_uids == (made[1].SOPInstanceUID,)
    assert [image.shape[0] for image in study_images.images] == [3]


def test_an_enhanced_instance_becomes_a_volume_sorted_by_plane_position() -> None:
    planes = synthetic.stack(5, (8, 8), distance=[1.0, 2.0, 4.0, 1.0], rotation=(10, 0, 0), tilt=10)
    volume = numbered(5) * 100
    scales = [(1.0, 0.0), (2.0, 0.0), (4.0, 0.0), (1.0, -10.0), (5.0, 0.0)]
    made = synthetic.enhanced(volume, planes, order=[3, 0, 4, 1, 2], rescale=scales)
    (image,) = read_images([made]).or_raise()
    assert image.kind == "volume"
    assert [frame.frame_number for frame in image.frames] == [2, 4, 5, 1, 3]
    np.testing.assert_array_equal(image.modality, volume)
    for frame, plane in zip(image.frames, planes, strict=True):
        np.testing.assert_allclose(frame.to_patient[:3, 3], plane.position, atol=1e-6)  # type: ignore[index]


def test_enhanced_instances_of_one_frame_each_are_slices_too() -> None:
    planes = synthetic.stack(4, (8, 8), distance=2.0)
    made = []
    for index, plane in enumerate(planes):
        made.append(synthetic.enhanced(numbered(4)[index : index + 1], [plane]))
        made[-1].SOPInstanceUID += f".{index}"
    (image,) = read_images(made[::-1]).or_raise()
    assert image.modality[:, 0, 0].tolist() == [0, 1, 2, 3]


def test_frames_without_positions_are_planar_each() -> None:
    made = synthetic.enhanced(numbered(3), synthetic.stack(3, (8, 8)))
    for group in made.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
    images = read_images([made]).or_raise()
    assert [(image.kind, image.frames[0].frame_number) for image in images] == [("planar", n) for n in (1, 2, 3)]


def test_a_reconstructed_nuclear_tomogram_is_a_volume_along_its_slice_spacing() -> None:
    made = synthetic.enhanced(numbered(4), synthetic.stack(4, (8, 8)))
    del made.PerFrameFunctionalGroupsSequence, made.SharedFunctionalGroupsSequence
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.20"
    made.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [1, 2, 30], [1, 0, 0, 0, 1, 0]
    made.DetectorInformationSequence = [detector]
    made.PixelSpacing, made.SpacingBetweenSlices, made.SliceVector = [4, 4], -5, [1, 2, 3, 4]
    (image,) = read_images([made]).or_raise()
    assert image.kind == "volume"
    assert heights(image) == [15, 20, 25, 30]
    assert [frame.frame_number for frame in image.frames] == [4, 3, 2, 1]


def test_radiographs_of_a_series_stay_apart() -> None:
    made = [synthetic.radiograph(np.zeros((8, 8 + n)), number=n) for n in (1, 2)]
    assert [image.shape for image in read_images(made).or_raise()] == [(1, 8, 9), (1, 8, 10)]


def test_two_series_are_never_mixed() -> None:
    planes = synthetic.stack(4, (8, 8))
    made = [*synthetic.slices(numbered(4), planes, series="a"), *synthetic.slices(numbered(4), planes, series="b")]
    images = read_images(made).or_raise()
    assert len({image.header.SeriesInstanceUID for image in images}) == 2


def test_slices_of_tomosynthesis_whose_orientation_is_unusable_are_no_pictures_by_themselves() -> None:
    """Each would have been answered about by a package for mammograms."""
    data = mammography.tomosynthesis("R", "CC")
    data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = [0] * 6
    images = read_images([data])
    assert images.images == ()
    assert "expected two orthogonal unit vectors" in str(images.refusals[0].error)


def test_a_picture_made_of_tomosynthesis_is_planar() -> None:
    """Synthesised mammograms come as tomosynthesis of one frame."""
    data = mammography.tomosynthesis("R", "CC", count=1, spot_slices=(0,))
    (image,) = read_images([data]).or_raise()
    assert (image.kind, image.frames[0].spacing) == ("planar", (0.5, 0.5))
