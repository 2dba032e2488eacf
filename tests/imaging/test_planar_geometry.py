"""Planar images keep their aspect ratio in millimetres and their place, into the model's grid and back to the pixel."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

import mammography
import synthetic
from whyray.base.errors import GeometryError, ImageError
from whyray.imaging import (
    SourceFrame,
    SourceImage,
    frame_orientation,
    frame_pixel_to_patient,
    mask_to_source,
    opposite,
    read_images,
    spacing_plane,
    to_model,
    to_source,
)
from whyray.imaging.kernels import inside, sampling_matrix
from whyray.imaging.planar import planar_grid, planar_to_grid
from whyray.packages import InputSpec
from whyray.packages.manifest import Intensity

Fit = Literal["pad", "stretch", "crop"]
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)
sizes = st.tuples(st.integers(20, 90), st.integers(20, 90))
spacings = st.tuples(st.floats(0.1, 0.6), st.floats(0.1, 0.6))
fits: st.SearchStrategy[Fit] = st.sampled_from(["pad", "stretch", "crop"])


def read(pixels: np.ndarray, **options: object) -> SourceImage:
    options.setdefault("window", (2048, 4096))
    (image,) = read_images([synthetic.radiograph(pixels, **options)]).or_raise()  # type: ignore[arg-type]
    return image


def spec(shape: tuple[int, int], fit: Fit, **options: object) -> InputSpec:
    return InputSpec(name="x", shape=shape, fit=fit, **options)  # type: ignore[arg-type]


@SETTINGS
@given(st.tuples(st.integers(2, 300), st.integers(2, 300)), spacings, sizes, fits, st.integers(0, 1))
def test_a_map_in_the_source_is_what_each_pixel_reads_of_all_of_the_grid(
    shape: tuple[int, int], spacing: tuple[float, float], model: tuple[int, int], fit: Fit, order: int
) -> None:
    image = read(np.zeros(shape, int), spacing=spacing)
    grid = to_model(image, spec(model, fit)).grid
    values = np.random.default_rng(0).normal(size=model).astype(np.float32)
    weights = []
    for axis in (0, 1):
        scale = grid.to_reference[axis, axis]
        places = (np.arange(shape[axis]) - grid.to_reference[axis, 2]) / scale
        weights.append(sampling_matrix(places, model[axis], step=1 / scale, order=order))
    within = np.outer(
        *(
            inside((np.arange(n) - o) / s, m)
            for n, o, s, m in zip(
                shape, grid.to_reference[:2, 2], grid.to_reference[[0, 1], [0, 1]], model, strict=True
            )
        )
    )

    carried, covered = to_source(values, grid, image, order)

    np.testing.assert_array_equal(covered[0], within)
    np.testing.assert_allclose(carried[0], (weights[0] @ values @ weights[1].T) * within, atol=1e-6)


@SETTINGS
@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), sizes, fits, st.sampled_from([(), (3,)]))
def test_a_place_of_the_grid_is_what_it_reads_of_all_of_the_frame(
    shape: tuple[int, int], model: tuple[int, int], fit: Fit, channels: tuple[int, ...]
) -> None:
    grid = planar_grid(read(np.zeros(shape, int)).frames[0], model, fit)
    values = np.random.default_rng(0).normal(size=(*shape, *channels)).astype(np.float32)
    scale, offset = grid.to_reference[[0, 1], [0, 1]], grid.to_reference[:2, 2]
    rows, columns = (
        sampling_matrix(np.arange(model[axis]) * scale[axis] + offset[axis], shape[axis], step=scale[axis])
        for axis in (0, 1)
    )

    sampled, _ = planar_to_grid(values, grid)

    assert sampled.dtype == np.float32
    assert sampled.flags.c_contiguous
    np.testing.assert_allclose(sampled, np.einsum("ir,rc...,jc->ij...", rows, values, columns), atol=2e-6)


@SETTINGS
@given(sizes, spacings, sizes, fits)
def test_a_linear_function_of_position_is_exact_both_ways(
    shape: tuple[int, int], spacing: tuple[float, float], model: tuple[int, int], fit: Fit
) -> None:
    rows, columns = np.indices(shape)
    pixels = np.rint(1000 + 2000 * rows / shape[0] + 1000 * columns / shape[1]).astype(int)
    image = read(pixels, spacing=spacing)
    exact = (1000 + 2000 * rows / shape[0] + 1000 * columns / shape[1] - 2047.5 + 4095 / 2) / 4095

    made = to_model(image, spec(model, fit))

    grid_rows, grid_columns = np.indices(model)
    row = made.grid.to_reference[0, 0] * grid_rows + made.grid.to_reference[0, 2]
    column = made.grid.to_reference[1, 1] * grid_columns + made.grid.to_reference[1, 2]
    between = (row >= 0) & (row <= shape[0] - 1) & (column >= 0) & (column <= shape[1] - 1)
    wanted = (1000 + 2000 * row / shape[0] + 1000 * column / shape[1] - 2047.5 + 4095 / 2) / 4095
    np.testing.assert_allclose(made.tensor[0, 0][between], wanted[between], atol=0.6 / 4095)
    in_frame = (row > -0.5) & (row < shape[0] - 0.5) & (column > -0.5) & (column < shape[1] - 0.5)
    assert made.valid[in_frame].all()
    assert (made.tensor[0, 0][~made.valid] == 0).all()

    back, covered = to_source(wanted, made.grid, image)
    inverse = np.linalg.inv(made.grid.to_reference)
    at = np.stack([inverse[0, 0] * rows + inverse[0, 2], inverse[1, 1] * columns + inverse[1, 2]])
    inside = ((at >= 0) & (at <= np.array(model)[:, None, None] - 1)).all(axis=0)
    np.testing.assert_allclose(back[0][inside], exact[inside], atol=1e-5)
    assert covered[0][inside].all()
    if fit != "crop":
        assert covered.all()


@SETTINGS
@given(sizes, spacings, sizes, fits, st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7)))
def test_what_lights_up_at_a_place_of_the_grid_lights_up_there_in_the_source_to_within_a_pixel(
    shape: tuple[int, int],
    spacing: tuple[float, float],
    model: tuple[int, int],
    fit: Fit,
    share: tuple[float, float],
) -> None:
    image = read(np.zeros(shape), spacing=spacing)
    grid = to_model(image, spec(model, fit)).grid
    lit = tuple(int(s * (n - 1)) for s, n in zip(share, model, strict=True))
    at = grid.to_reference @ [*lit, 1]
    if not all(1 < p < n - 2 for p, n in zip(at, shape, strict=False)):
        return
    heat = np.zeros(model, np.float32)
    heat[lit] = 1
    back, _ = to_source(heat, grid, image)
    if not back.any():
        return
    index = np.array(np.unravel_index(back[0].argmax(), shape))
    step = np.abs(grid.to_reference[[0, 1], [0, 1]])
    assert (np.abs(index - at[:2]) <= np.maximum(1.0, step / 2) + 1e-6).all()


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_a_round_lesion_stays_round_under_anisotropic_spacing(fit: Fit) -> None:
    spacing = (0.4, 0.1)
    rows, columns = np.indices((100, 360))
    distance = np.hypot((rows - 49.5) * spacing[0], (columns - 179.5) * spacing[1])
    image = read(np.where(distance < 10, 4000, 0), spacing=spacing)
    seen = to_model(image, spec((80, 72), fit)).tensor[0, 0] > 0.5
    height, width = (np.ptp(np.flatnonzero(seen.any(axis=axis))) + 1 for axis in (1, 0))
    assert abs(int(height) - int(width)) <= 1
    stretched = to_model(image, spec((80, 72), "stretch")).tensor[0, 0] > 0.5
    height, width = (np.ptp(np.flatnonzero(stretched.any(axis=axis))) + 1 for axis in (1, 0))
    assert height == pytest.approx(80 * 20 / 40, abs=1.5)
    assert width == pytest.approx(72 * 20 / 36, abs=1.5)


def test_letterbox_is_centred_marked_invalid_and_filled_before_mean_and_std() -> None:
    image = read(np.full((40, 80), 4095), spacing=(1.0, 1.0))
    made = to_model(
        image,
        spec(
            (16, 16), "pad", pad_value=0.5, channels=3, intensity=Intensity(mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1))
        ),
    )
    assert made.tensor.shape == (1, 3, 16, 16)
    assert made.valid.any(axis=1).tolist() == [False] * 4 + [True] * 8 + [False] * 4
    np.testing.assert_allclose(made.tensor[0, :, 0, 0], [0.0, 0.5, 2.0], atol=1e-6)
    np.testing.assert_allclose(made.tensor[0, :, 8, 8], [1.0, 3.0, 7.0], atol=1e-5)


def test_nhwc_is_the_same_picture_with_the_channels_last() -> None:
    image = read(np.arange(4096).reshape(64, 64))
    first = to_model(image, spec((24, 24), "pad", channels=3)).tensor
    last = to_model(image, spec((24, 24), "pad", channels=3, layout="NHWC")).tensor
    np.testing.assert_array_equal(np.moveaxis(last, -1, 1), first)


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    image = read(np.indices((256, 256)).sum(axis=0) % 2 * 4095)
    values = to_model(image, spec((32, 32), "stretch")).tensor[0, 0, 1:-1, 1:-1]
    np.testing.assert_allclose(values, 0.5, atol=0.01)


def test_the_same_shape_changes_no_pixel() -> None:
    image = read(np.random.default_rng(0).integers(0, 4096, (48, 64)))
    made = to_model(image, spec((48, 64), "pad"))
    np.testing.assert_allclose(made.tensor[0, 0], image.display[0], atol=1e-6)
    np.testing.assert_allclose(to_source(made.tensor[0, 0], made.grid, image)[0], image.display, atol=1e-6)


def test_cropped_margins_are_not_covered_and_carry_nothing() -> None:
    image = read(np.zeros((40, 80)), spacing=(1.0, 1.0))
    grid = to_model(image, spec((16, 16), "crop")).grid
    for back, covered in (
        to_source(np.ones((16, 16)), grid, image),
        mask_to_source(np.ones((16, 16), bool), grid, image),
    ):
        assert covered[0].any(axis=0).tolist() == [False] * 20 + [True] * 40 + [False] * 20
        assert (back[~covered] == 0).all()
        assert (back[covered] == 1).all()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"spacing": (0.2, 0.3), "spacing_keyword": "PixelSpacing"}, (0.2, 0.3)),
        ({"spacing": (0.2, 0.3), "spacing_keyword": "ImagerPixelSpacing"}, (0.2, 0.3)),
        ({"spacing": (0.2, 0.3), "spacing_keyword": "NominalScannedPixelSpacing"}, (0.2, 0.3)),
        ({"spacing": (0, 0), "spacing_keyword": "PixelSpacing"}, None),
        ({"spacing": None}, None),
    ],
)
def test_spacing_comes_from_the_first_attribute_that_gives_one(
    options: dict[str, object], expected: tuple[float, float] | None
) -> None:
    assert read(np.zeros((8, 8)), **options).frames[0].spacing == expected


def test_spacing_at_the_detector_is_divided_by_the_magnification() -> None:
    data = synthetic.radiograph(np.zeros((8, 8)), spacing=(0.2, 0.3))
    data.EstimatedRadiographicMagnificationFactor = 1.25
    (image,) = read_images([data]).or_raise()
    assert image.frames[0].spacing == pytest.approx((0.16, 0.24))


def region(**attributes: object) -> Dataset:
    """A 2D region in cm that covers a frame of 8 x 8 pixels."""
    made = Dataset()
    made.RegionSpatialFormat = 1
    made.RegionLocationMinX0 = made.RegionLocationMinY0 = 0
    made.RegionLocationMaxX1 = made.RegionLocationMaxY1 = 7
    made.PhysicalUnitsXDirection = made.PhysicalUnitsYDirection = 3
    made.PhysicalDeltaX, made.PhysicalDeltaY = 0.05, -0.04
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def ultrasound_frame(*regions: Dataset, spacing: tuple[float, float] | None = None) -> SourceFrame:
    data = synthetic.radiograph(np.zeros((8, 8)), spacing=spacing, spacing_keyword="PixelSpacing")
    data.SequenceOfUltrasoundRegions = list(regions)
    (image,) = read_images([data]).or_raise()
    return image.frames[0]


def test_spacing_of_ultrasound_comes_from_its_regions_where_they_agree() -> None:
    assert ultrasound_frame(region()).spacing == pytest.approx((0.4, 0.5))
    assert ultrasound_frame(region(), region(RegionLocationMinX0=2)).spacing == pytest.approx((0.4, 0.5))
    assert ultrasound_frame(region(), region(PhysicalDeltaX=0.06)).spacing is None


@pytest.mark.parametrize(
    "other",
    [
        {"RegionSpatialFormat": 2},
        {"RegionSpatialFormat": 3, "PhysicalUnitsXDirection": 4, "PhysicalUnitsYDirection": 7},
        {"RegionSpatialFormat": 5, "PhysicalUnitsXDirection": 0, "PhysicalUnitsYDirection": 0},
        {"PhysicalUnitsXDirection": 4},
        {"PhysicalUnitsYDirection": 0},
        {"PhysicalDeltaX": 0},
    ],
)
@pytest.mark.parametrize("spacing", [None, (0.4, 0.5)])
def test_a_frame_with_another_region_beside_the_2d_image_has_no_spacing_of_its_own(
    other: dict[str, object], spacing: tuple[float, float] | None
) -> None:
    half = region(RegionLocationMaxX1=3)
    beside = region(RegionLocationMinX0=4, **other)
    assert ultrasound_frame(half, beside, spacing=spacing).spacing is None
    assert ultrasound_frame(beside, half, spacing=spacing).spacing is None


@pytest.mark.parametrize("missing", ["RegionSpatialFormat", "RegionLocationMaxX1", "PhysicalDeltaY"])
def test_a_region_that_does_not_say_what_or_where_it_is_gives_no_spacing(missing: str) -> None:
    incomplete = region()
    delattr(incomplete, missing)
    assert ultrasound_frame(incomplete).spacing is None


def test_a_frame_that_is_larger_than_its_region_has_proportions_and_no_spacing() -> None:
    frame = ultrasound_frame(region(RegionLocationMaxX1=5))
    assert frame.spacing is None
    assert frame.pixel_shape == pytest.approx((0.8, 1.0)), "no length that a result could state in mm"


def letters(image: SourceImage, index: int = 0) -> tuple[str, str] | None:
    frame = image.frames[index]
    return frame_orientation(frame, image.headers[frame.sop_instance_uid])


def test_letters_come_from_patient_orientation_or_from_the_position() -> None:
    assert letters(read(np.zeros((8, 8)))) == ("L", "F")
    data = synthetic.radiograph(np.zeros((8, 8)))
    data.PatientOrientation = ["P", "FL"]
    assert letters(read_images([data]).or_raise()[0]) == ("P", "FL")
    assert (opposite("P"), opposite("FL")) == ("A", "HR")
    del data.PatientOrientation
    assert letters(read_images([data]).or_raise()[0]) is None
    made = synthetic.slices(np.zeros((3, 8, 8), np.int16), synthetic.stack(3, (8, 8), tilt=18))
    (volume,) = read_images(made).or_raise()
    assert letters(volume, 1) == ("L", "PH")


def test_pixels_have_patient_coordinates_only_where_the_source_has_a_position() -> None:
    plane = synthetic.stack(1, (8, 9), distance=[], spacing=(2.0, 3.0), rotation=(10, 20, 30))[0]
    (image,) = read_images(synthetic.slices(np.zeros((1, 8, 9), np.int16), [plane])).or_raise()
    np.testing.assert_allclose(frame_pixel_to_patient(image.frames[0], 5, 2), plane.point(5, 2), atol=1e-6)
    assert frame_pixel_to_patient(image.frames[0], np.zeros((4, 1)), np.zeros((1, 5))).shape == (4, 5, 3)
    with pytest.raises(GeometryError, match="Image Position"):
        frame_pixel_to_patient(read(np.zeros((8, 8))).frames[0], 0, 0)


def test_a_radiograph_is_refused_by_a_volume_package() -> None:
    with pytest.raises(ImageError, match="expects a volume image, found a planar"):
        to_model(read(np.zeros((8, 8))), InputSpec(name="x", layout="NCDHW", kind="volume", shape=(4, 4, 4)))


def test_a_pixel_spacing_that_repeats_the_detectors_is_no_calibration() -> None:
    """PS3.3 10.7.1.3: the magnification of a spot view was left out, and its lesions told 1.8 times as long."""
    data = synthetic.radiograph(np.zeros((8, 8)), spacing=(0.1, 0.1))
    data.PixelSpacing = ["0.10", "0.1"]
    data.EstimatedRadiographicMagnificationFactor = "1.8"
    (image,) = read_images([data]).or_raise()
    assert image.frames[0].spacing == pytest.approx((0.1 / 1.8, 0.1 / 1.8))
    data.PixelSpacingCalibrationType = "FIDUCIAL"
    (image,) = read_images([data]).or_raise()
    assert image.frames[0].spacing == (0.1, 0.1)
    del data.PixelSpacingCalibrationType
    data.PixelSpacing = ["0.056", "0.056"]
    (image,) = read_images([data]).or_raise()
    assert image.frames[0].spacing == (0.056, 0.056)


@pytest.mark.parametrize(
    ("attributes", "plane"),
    [
        ({"PixelSpacing": ["0.1", "0.2"]}, "patient"),
        ({"PixelSpacing": ["0.1", "0.1"]}, "detector"),
        ({}, "detector"),
        ({"EstimatedRadiographicMagnificationFactor": "1.1"}, "estimated"),
        ({"EstimatedRadiographicMagnificationFactor": "1"}, "detector"),
    ],
)
def test_a_spacing_says_in_which_plane_it_is_true(attributes: dict[str, object], plane: str) -> None:
    data = synthetic.radiograph(np.zeros((8, 8)), spacing=(0.1, 0.1))
    for keyword, value in attributes.items():
        setattr(data, keyword, value)
    assert spacing_plane(data, 1) == plane


@pytest.mark.parametrize("factor", ["0.5", "0", "-2"])
def test_a_magnification_that_makes_things_smaller_is_passed_over_with_a_note(factor: str) -> None:
    data = synthetic.radiograph(np.zeros((8, 8)), spacing=(0.2, 0.2))
    data.EstimatedRadiographicMagnificationFactor = factor
    (image,) = read_images([data]).or_raise()
    assert image.frames[0].spacing == (0.2, 0.2)
    assert any("can't be a magnification" in str(note) for note in image.notes)


def test_enhanced_projections_have_their_spacing_and_orientation_in_functional_groups() -> None:
    data = mammography.projections("R", "MLO")
    frames = read_images([data]).or_raise()
    assert {image.frames[0].spacing for image in frames} == {(0.5, 0.5)}
    assert {letters(image) for image in frames} == {("P", "FL")}
    calibration = mammography.item(ObjectPixelSpacingInCenterOfBeam=[0.4, 0.4])
    data.SharedFunctionalGroupsSequence[0].ProjectionPixelCalibrationSequence = [calibration]
    assert read_images([data]).or_raise()[0].frames[0].spacing == (0.4, 0.4)
