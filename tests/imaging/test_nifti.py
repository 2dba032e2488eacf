"""NIfTI volumes lie as instances where nibabel and ITK say that they lie, and hold the same values."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from whyray.base.errors import DecodeError, GeometryError, ImageError
from whyray.base.nifti import nifti_image
from whyray.imaging import frame_pixel_to_patient, is_nifti, read_images, wrap_nifti
from whyray.imaging.source import ModelGrid, SourceImage

SHAPE = (4, 5, 3)
VALUES = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) * 13 - 200
LPS = np.diag([-1.0, -1, 1, 1])
PLAIN = np.array([[-0.7, 0, 0, 90.0], [0, 0.8, 0, -120], [0, 0, 2.5, 33], [0, 0, 0, 1]])


def save(path: Path, values: np.ndarray = VALUES, affine: np.ndarray = PLAIN, *, by: str = "sform") -> Path:
    image = nibabel.Nifti1Image(values, None)
    image.header.set_zooms([*np.linalg.norm(affine[:3, :3], axis=0), 1.0][: values.ndim])
    image.set_sform(affine if by in ("sform", "both") else None, 1 if by in ("sform", "both") else 0)
    image.set_qform(affine if by in ("qform", "both") else None, 1 if by in ("qform", "both") else 0)
    nibabel.save(image, path)
    return path


def read(path: Path, modality: str = "CT") -> SourceImage:
    (image,) = read_images(wrap_nifti(path, modality).instances).or_raise()
    return image


def positions(image: SourceImage) -> np.ndarray:
    """(frames, rows, columns, 3) of all pixels, in mm of the patient."""
    _, rows, columns = image.shape
    at = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    return np.stack([frame_pixel_to_patient(frame, *at) for frame in image.frames])


def assert_same_place_and_values(image: SourceImage, path: Path) -> None:
    peer = nibabel.load(path)
    ras = positions(image) * (-1, -1, 1)
    voxels = nibabel.affines.apply_affine(np.linalg.inv(peer.affine), ras)
    near = np.rint(voxels).astype(int)
    np.testing.assert_allclose(voxels, near, atol=2e-3)
    assert len(np.unique(near.reshape(-1, 3), axis=0)) == np.prod(peer.shape), "every voxel once"
    np.testing.assert_allclose(image.modality, peer.get_fdata()[tuple(np.moveaxis(near, -1, 0))], atol=1e-3)


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any turn, mirror image, spacing and place; slices that are shifted against each other, as by a gantry's tilt."""
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.3, 8)] * 3))
    mirrored = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    shift = draw(st.tuples(*[st.floats(-0.4, 0.4)] * 2))
    affine = np.eye(4)
    steps = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing * mirrored
    steps[:, 2] += (steps[:, 0] / spacing[0] * shift[0] + steps[:, 1] / spacing[1] * shift[1]) * spacing[2]
    affine[:3, :3] = steps
    affine[:3, 3] = draw(st.tuples(*[st.floats(-300, 300)] * 3))
    return affine


@settings(max_examples=40, deadline=None)
@given(affine=affines())
def test_every_voxel_lies_where_nibabel_says(affine: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = save(tmp_path_factory.mktemp("nifti") / "a.nii", affine=affine)
    assert_same_place_and_values(read(path), path)


@settings(max_examples=20, deadline=None)
@given(affine=affines())
def test_values_written_on_a_grid_lie_for_nibabel_where_they_lay(affine: np.ndarray) -> None:
    lps = LPS @ affine
    values = VALUES.transpose(2, 1, 0).astype(np.float32)
    image = nifti_image(values, ModelGrid(values.shape, lps[:, [2, 1, 0, 3]]))
    np.testing.assert_allclose(image.affine, affine, atol=1e-4)
    np.testing.assert_array_equal(image.get_fdata(), VALUES)
    if image.header["qform_code"]:
        np.testing.assert_allclose(image.get_qform(), affine, atol=1e-2)


@pytest.mark.parametrize("by", ["sform", "qform", "both"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_itk_puts_the_same_values_in_the_same_place(by: str, name: str, tmp_path: Path) -> None:
    import SimpleITK as sitk  # noqa: N813 - its own name for itself

    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (12, -20, 35), degrees=True).as_matrix() * (0.7, 0.8, 2.5)
    affine[:3, 3] = 10, -40, 7
    path = save(tmp_path / name, affine=affine, by=by)
    image, peer = read(path), sitk.ReadImage(str(path))
    for place in np.ndindex(image.shape):
        index = peer.TransformPhysicalPointToIndex(positions(image)[place].tolist())
        there = np.array(peer.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(positions(image)[place], there, atol=1e-3)
        assert image.modality[place] == peer[index]


@pytest.mark.parametrize(
    ("codes", "row", "column"),
    [("RAS", "L", "P"), ("LPS", "L", "P"), ("ALS", "L", "P"), ("RSA", "L", "F"), ("PIR", "P", "F")],
)
def test_slices_are_turned_as_a_reader_expects_them(codes: str, row: str, column: str, tmp_path: Path) -> None:
    from whyray.imaging import frame_orientation

    turn = nibabel.orientations.axcodes2ornt(tuple(codes))
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(turn):
        affine[int(world), axis] = 2 * sign
    image = read(save(tmp_path / "a.nii", affine=affine))
    assert frame_orientation(image.frames[0], image.header) == (row, column)


@pytest.mark.parametrize(
    "values",
    [
        VALUES.astype(np.uint8),
        VALUES.astype(np.uint16),
        VALUES.astype(np.float32),
        VALUES.astype(np.int32),
        VALUES.astype(">i2"),
    ],
    ids=lambda values: values.dtype.str,
)
def test_whole_numbers_come_as_they_are(values: np.ndarray, tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", values)
    wrapped = wrap_nifti(path, "CT")
    assert "rounded" not in wrapped.remarks
    assert_same_place_and_values(read_images(wrapped.instances).or_raise()[0], path)


def test_a_scale_of_the_file_is_obeyed(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES, PLAIN)
    image.header.set_slope_inter(0.25, -1000)
    image.header.set_data_dtype(np.int16)
    nibabel.save(nibabel.Nifti1Image((VALUES * 0.25 - 1000), PLAIN, image.header), tmp_path / "a.nii")
    assert_same_place_and_values(read(tmp_path / "a.nii"), tmp_path / "a.nii")


def test_fractions_are_rounded_by_a_step_that_is_told(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(40, 300, SHAPE).astype(np.float32)
    path = save(tmp_path / "a.nii", values)
    wrapped = wrap_nifti(path, "MR")
    (image,) = read_images(wrapped.instances).or_raise()
    step = float(np.ptp(values)) / 65535
    assert f"rounded to steps of {step:.3g}" in wrapped.remarks
    np.testing.assert_allclose(np.sort(image.modality, axis=None), np.sort(values, axis=None), atol=0.51 * step)


def test_units_and_display_range_of_the_file_are_obeyed(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES, np.diag([1000.0, 1000, 1000, 1]) @ PLAIN)
    image.header.set_xyzt_units("micron")
    image.header["cal_min"], image.header["cal_max"] = -100, 300
    nibabel.save(image, tmp_path / "a.nii")
    read_back = read(tmp_path / "a.nii")
    np.testing.assert_allclose(read_back.frames[0].spacing, (0.8, 0.7), rtol=1e-5)
    assert float(read_back.header.WindowCenter) == 100
    assert float(read_back.header.WindowWidth) == 400


def test_the_same_volume_is_the_same_study_and_nobodys(tmp_path: Path) -> None:
    first = wrap_nifti(save(tmp_path / "a.nii"), "CT").instances[0]
    same = wrap_nifti(save(tmp_path / "b.nii.gz", by="both"), "CT").instances[0]
    elsewhere = wrap_nifti(save(tmp_path / "c.nii", affine=PLAIN + np.eye(4, k=3)), "CT").instances[0]
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert first[keyword].value == same[keyword].value
        assert first[keyword].value != elsewhere[keyword].value
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "BodyPartExamined"):
        assert not first[keyword].value


SHEARED = PLAIN + np.array([[0, 0.2, 0, 0]] + [[0.0] * 4] * 3)
RGB = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize(
    ("values", "affine", "by", "error", "said"),
    [
        (np.zeros((*SHAPE, 2), np.int16), PLAIN, "sform", ImageError, "one volume of three axes, found 2 of them"),
        (np.zeros(SHAPE[:2], np.int16), PLAIN, "sform", ImageError, "found a picture"),
        (np.zeros((4, 5, 1), np.int16), PLAIN, "sform", ImageError, "at least two slices"),
        (RGB, PLAIN, "sform", ImageError, "found colours"),
        (np.zeros(SHAPE, np.complex64), PLAIN, "sform", ImageError, "one grey value a voxel"),
        (np.full(SHAPE, np.nan, np.float32), PLAIN, "sform", ImageError, "finite numbers"),
        (VALUES, PLAIN, "neither", GeometryError, "left and right could be mistaken"),
        (VALUES, SHEARED, "sform", GeometryError, "right angles"),
        (VALUES, np.diag([1.0, 1, 0, 1]), "sform", GeometryError, "flat"),
    ],
    ids=["4D", "2D", "one slice", "RGB", "complex", "NaN", "no code", "shear", "flat"],
)
def test_what_is_no_volume_in_a_patient_is_refused_by_name(
    values: np.ndarray, affine: np.ndarray, by: str, error: type[ImageError], said: str, tmp_path: Path
) -> None:
    path = save(tmp_path / "brain.nii", values, affine, by=by)
    with pytest.raises(error, match=said) as refused:
        wrap_nifti(path, "CT")
    assert refused.value.message.startswith("brain.nii: ")
    assert refused.value.advice


def test_a_modality_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="none is named") as refused:
        wrap_nifti(save(tmp_path / "a.nii"), None)
    assert "--modality" in refused.value.advice


def test_cut_files_are_refused_and_files_are_told_by_their_bytes(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "volume").write_bytes(gzip.decompress(whole))
    (tmp_path / "packed").write_bytes(whole)
    (tmp_path / "other").write_bytes(b"\x1f\x8bnonsense")
    assert is_nifti(tmp_path / "volume")
    assert is_nifti(tmp_path / "packed")
    assert not is_nifti(tmp_path / "other")
    (tmp_path / "cut.nii.gz").write_bytes(whole[:-30])
    (tmp_path / "short.nii").write_bytes(gzip.decompress(whole)[:-20])
    (tmp_path / "nonsense.nii").write_bytes(b"no header" * 100)
    for name in ("cut.nii.gz", "short.nii", "nonsense.nii"):
        with pytest.raises(DecodeError, match=name):
            wrap_nifti(tmp_path / name, "CT")


def test_two_affines_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES, None)
    image.set_sform(PLAIN, 1)
    image.set_qform(np.diag([0.7, 0.8, 2.5, 1]), 1)
    nibabel.save(image, tmp_path / "a.nii")
    assert "placed by its sform (scanner), which its qform contradicts" in wrap_nifti(tmp_path / "a.nii", "CT").remarks
    assert "contradicts" not in wrap_nifti(save(tmp_path / "b.nii", by="both"), "CT").remarks
