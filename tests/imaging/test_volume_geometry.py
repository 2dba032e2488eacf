"""Volumes keep their place in the patient, however they were acquired: to the model's grid and back to the pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import mammography
import synthetic
from synthetic import Plane
from whyray.base.errors import GeometryError, ImageError
from whyray.imaging import SourceImage, mask_to_source, read_images, scores_to_source, to_model, to_source
from whyray.packages import InputSpec
from whyray.packages.manifest import Intensity

angles = st.floats(-180, 180)
SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@st.composite
def stacks(draw: st.DrawFn) -> list[Plane]:
    count = draw(st.integers(5, 9))
    return synthetic.stack(
        count,
        (draw(st.integers(24, 40)), draw(st.integers(24, 40))),
        spacing=(draw(st.floats(0.6, 2.5)), draw(st.floats(0.6, 2.5))),
        distance=draw(st.lists(st.floats(1.0, 5.0), min_size=count - 1, max_size=count - 1)),
        rotation=(draw(angles), draw(angles), draw(angles)),
        tilt=draw(st.floats(-25, 25)),
        centre=(draw(st.floats(-200, 200)), draw(st.floats(-200, 200)), draw(st.floats(-900, 900))),
    )


def volume_spec(shape: tuple[int, int, int], spacing: tuple[float, float, float] | None = None) -> InputSpec:
    return InputSpec(name="x", layout="NCDHW", kind="volume", shape=shape, spacing=spacing)


def read_volume(planes: list[Plane], volume: NDArray[np.int16] | None = None, **options: object) -> SourceImage:
    if volume is None:
        volume = np.zeros((len(planes), *planes[0].shape), np.int16)
    (image,) = read_images(synthetic.slices(volume, planes, **options)).or_raise()  # type: ignore[arg-type]
    assert image.kind == "volume"
    return image


def positions(planes: list[Plane], image: SourceImage) -> NDArray[np.float64]:
    """(slices, rows, columns, 3) in the image's order, from the writer's planes and not from the reader's affine."""
    by_position = {tuple(np.round(plane.position, 4)): plane for plane in planes}
    ordered = [
        by_position[tuple(np.round([float(v) for v in image.headers[f.sop_instance_uid].ImagePositionPatient], 4))]
        for f in image.frames
    ]
    return np.stack([plane.points() for plane in ordered])


def grid_points(shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]


def ramp(points: NDArray[np.float64], direction: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """A linear function of patient position that stays within 0..1 up to `reach` mm from the centre."""
    return 0.5 + (points @ direction) / (2 * reach)


def well_inside(points: NDArray[np.float64], planes: list[Plane], margin: float) -> NDArray[np.bool_]:
    """Points whose projection lies in every slice, `margin` mm from its rim, between the first slice and the last."""
    inside = np.ones(points.shape[:-1], np.bool_)
    heights = []
    for plane in planes:
        offset = points - np.asarray(plane.position)
        for axis, step, count in (
            (plane.row, plane.spacing[1], plane.shape[1]),
            (plane.column, plane.spacing[0], plane.shape[0]),
        ):
            along = offset @ np.asarray(axis)
            inside &= (along >= margin) & (along <= step * (count - 1) - margin)
        heights.append(offset @ plane.normal)
    return inside & (heights[0] >= -1e-6) & (heights[-1] <= 1e-6)


@SETTINGS
@given(stacks(), st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.sampled_from([(9, 20, 22), (24, 60, 50)]))
def test_a_linear_function_of_position_is_exact_inside_both_ways(
    planes: list[Plane], direction: list[float], shape: tuple[int, int, int]
) -> None:
    gradient = np.asarray(direction)
    assume(np.linalg.norm(gradient) > 0.1)
    gradient /= np.linalg.norm(gradient)
    image = read_volume(planes)
    source = positions(planes, image)
    centre, reach = source.reshape(-1, 3).mean(axis=0), 200.0
    image = replace(image, display=ramp(source - centre, gradient, reach).astype(np.float32))

    given_to_model = to_model(image, volume_spec(shape))

    points = grid_points(shape, given_to_model.grid.to_reference)
    voxel = np.linalg.norm(given_to_model.grid.to_reference[:3, :3], axis=0).max()
    wanted = ramp(points - centre, gradient, reach)
    compared = well_inside(points, planes, margin=voxel + max(planes[0].spacing))
    assert given_to_model.valid[compared].all()
    np.testing.assert_allclose(given_to_model.tensor[0, 0][compared], wanted[compared], atol=2e-5)

    back, covered = to_source(wanted, given_to_model.grid, image)
    grid_index = np.linalg.inv(given_to_model.grid.to_reference)
    index = source @ grid_index[:3, :3].T + grid_index[:3, 3]
    between_centres = ((index >= 0) & (index <= np.asarray(shape) - 1)).all(axis=-1)
    assert covered.all(), "the grid spans the whole source when no spacing is asked for"
    np.testing.assert_allclose(
        back[between_centres], ramp(source - centre, gradient, reach)[between_centres], atol=2e-5
    )


@SETTINGS
@given(stacks(), st.tuples(*[st.floats(0.2, 0.8)] * 3))
def test_a_marker_at_a_known_patient_point_lands_in_its_voxel_and_comes_back_to_its_pixel(
    planes: list[Plane], share: tuple[float, float, float]
) -> None:
    shape = (16, 32, 32)
    slice_index = int(share[0] * len(planes))
    marker = planes[slice_index].point(*(round(s * (n - 1)) for s, n in zip(share[1:], planes[0].shape, strict=True)))
    volume = synthetic.volume_of(planes, synthetic.ball(tuple(marker), 3.0))  # type: ignore[arg-type]
    image = read_volume(planes, volume, window=(-350.0, 1300.0))

    given_to_model = to_model(image, volume_spec(shape))

    affine = given_to_model.grid.to_reference
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    weight = given_to_model.tensor[0, 0].astype(np.float64)
    weight[weight < 0.5 * weight.max()] = 0
    centre = (grid_points(shape, affine) * weight[..., None]).sum(axis=(0, 1, 2)) / weight.sum()
    slice_distance = max(np.diff(sorted(plane.normal @ np.asarray(plane.position) for plane in planes)))
    assert np.linalg.norm(centre - marker) <= np.linalg.norm(voxel) / 2 + slice_distance / 2

    lit = np.rint(np.linalg.inv(affine) @ [*marker, 1])[:3].astype(int)
    heat = np.zeros(shape, np.float32)
    heat[tuple(lit)] = 1
    back, _ = to_source(heat, given_to_model.grid, image)
    source = positions(planes, image)
    brightest = source[np.unravel_index(np.asarray(back).argmax(), back.shape)]
    unit = affine[:3, :3] / voxel
    off = np.abs(unit.T @ (brightest - marker))
    # Half a voxel from rounding the marker to the grid, and at most the source's own sampling beside it.
    own = np.abs(
        unit.T
        @ np.stack(
            [
                np.asarray(planes[0].row) * planes[0].spacing[1],
                np.asarray(planes[0].column) * planes[0].spacing[0],
                planes[0].normal * slice_distance,
            ],
            axis=1,
        )
    ).max(axis=1)
    assert (off <= voxel / 2 + own + 1e-6).all()


@pytest.mark.parametrize("rotation", [(0, 0, 0), (25, -15, 40), (90, 0, 0), (0, 90, 90), (180, 0, 0)])
def test_a_heatmap_on_a_source_voxel_lights_exactly_that_voxel_when_grids_agree(
    rotation: tuple[float, float, float],
) -> None:
    planes = synthetic.stack(8, (20, 24), spacing=(1.5, 0.75), distance=3.0, rotation=rotation)
    image = read_volume(planes)
    probe = to_model(image, volume_spec((4, 4, 4))).grid.to_reference
    unit = probe[:3, :3] / np.linalg.norm(probe[:3, :3], axis=0)
    own = np.stack([planes[0].normal, np.asarray(planes[0].column), np.asarray(planes[0].row)])
    order = np.abs(own @ unit).argmax(axis=0)
    shape = np.array(image.shape)[order]
    grid = to_model(image, volume_spec(tuple(shape))).grid
    heat = np.random.default_rng(3).random(tuple(shape)).astype(np.float32)

    back, covered = to_source(heat, grid, image)

    assert covered.all()
    np.testing.assert_allclose(np.sort(np.asarray(back).ravel()), np.sort(heat.ravel()), atol=1e-4)
    index = np.rint(
        positions(planes, image) @ np.linalg.inv(grid.to_reference)[:3, :3].T + np.linalg.inv(grid.to_reference)[:3, 3]
    ).astype(int)
    np.testing.assert_allclose(back, heat[tuple(np.moveaxis(index, -1, 0))], atol=1e-4)


@SETTINGS
@given(
    st.lists(st.floats(-6, 6), min_size=6, max_size=8),
    st.tuples(angles, angles, angles),
    st.lists(st.floats(-1, 1), min_size=3, max_size=3),
)
def test_slices_whose_tilt_changes_along_the_series_are_interpolated_from_their_own_planes(
    tilts: list[float], rotation: tuple[float, float, float], direction: list[float]
) -> None:
    gradient = np.asarray(direction)
    assume(np.linalg.norm(gradient) > 0.1)
    gradient /= np.linalg.norm(gradient)
    planes = synthetic.fan(tilts, (32, 30), spacing=(1.2, 1.0), distance=7.0, rotation=rotation)
    image = read_volume(planes)
    source = positions(planes, image)
    image = replace(image, display=ramp(source, gradient, 100.0).astype(np.float32))
    shape = (24, 30, 30)

    given_to_model = to_model(image, volume_spec(shape))

    points = grid_points(shape, given_to_model.grid.to_reference)
    ordered = sorted(planes, key=lambda plane: plane.normal @ np.asarray(plane.position))
    compared = well_inside(points, ordered, margin=4.0)
    compared &= points @ ordered[0].normal - ordered[0].normal @ np.asarray(ordered[0].position) > 2
    assert compared.sum() > 100
    np.testing.assert_allclose(
        given_to_model.tensor[0, 0][compared], ramp(points, gradient, 100.0)[compared], atol=2e-4
    )
    back, covered = to_source(ramp(points, gradient, 100.0), given_to_model.grid, image)
    index = np.linalg.inv(given_to_model.grid.to_reference)
    coordinates = source @ index[:3, :3].T + index[:3, 3]
    between = ((coordinates >= 0) & (coordinates <= np.asarray(shape) - 1)).all(axis=-1)
    assert covered[between].all()
    np.testing.assert_allclose(back[between], ramp(source, gradient, 100.0)[between], atol=2e-5)


def test_a_voxel_is_valid_exactly_where_the_slice_nearest_to_it_has_a_pixel() -> None:
    planes = synthetic.stack(
        7, (30, 26), spacing=(1.1, 0.9), distance=[2, 3, 1, 4, 2, 2], rotation=(20, 35, 5), tilt=24
    )
    image = read_volume(planes)
    made = to_model(replace(image, display=np.ones(image.shape, np.float32)), volume_spec((20, 40, 44)))
    points = grid_points((20, 40, 44), made.grid.to_reference)
    offsets = points[..., None, :] - np.array([plane.position for plane in planes])
    heights = offsets @ planes[0].normal
    columns = offsets @ np.asarray(planes[0].row) / 0.9
    rows = offsets @ np.asarray(planes[0].column) / 1.1
    nearest = np.abs(heights).argmin(axis=-1)[..., None]
    row, column = (np.take_along_axis(values, nearest, -1)[..., 0] for values in (rows, columns))
    margins = np.stack([row + 0.5, 29.5 - row, column + 0.5, 25.5 - column])
    # The first slice reaches half its distance to the second below itself, the last likewise above.
    steps = heights[..., :-1] - heights[..., 1:]
    margins = np.concatenate(
        [margins, [heights[..., 0] + steps[..., 0] / 2, steps[..., -1] / 2 - heights[..., -1]]]
    ).min(axis=0)
    first, second = np.moveaxis(np.sort(np.abs(heights), axis=-1)[..., :2], -1, 0)
    settled = (np.abs(margins) > 1e-3) & (second - first > 1e-3)
    np.testing.assert_array_equal(made.valid[settled], (margins > 0)[settled])
    assert 0.2 < made.valid.mean() < 0.95
    np.testing.assert_allclose(made.tensor[0, 0][made.valid], 1, atol=1e-5)


def test_slices_that_zoom_along_the_series_keep_their_own_pixel_spacing() -> None:
    wide, narrow = (synthetic.stack(8, (30, 30), spacing=(mm, mm), distance=3.0, tilt=8) for mm in (1.5, 1.2))
    planes = wide[:4] + narrow[4:]
    below, above = read_volume(wide[:4]), read_volume(narrow[4:], series="narrow")
    image = replace(
        below,
        frames=below.frames + above.frames,
        headers={**below.headers, **above.headers},
        modality=np.concatenate([below.modality, above.modality]),
        padding=np.concatenate([below.padding, above.padding]),
    )
    source = positions(planes, image)
    gradient = np.array([0.6, 0.48, 0.64])
    image = replace(image, display=ramp(source, gradient, 100.0).astype(np.float32))
    made = to_model(image, volume_spec((16, 24, 24)))
    points = grid_points((16, 24, 24), made.grid.to_reference)
    compared = well_inside(points, planes, margin=4.0)
    assert compared.sum() > 500
    np.testing.assert_allclose(made.tensor[0, 0][compared], ramp(points, gradient, 100.0)[compared], atol=2e-5)


@pytest.mark.parametrize("tilts", [[10.0] * 6, [-4.0, 2.0, 0.0, 3.0, -1.0, 5.0]], ids=["parallel", "fanned"])
def test_colour_volumes_are_resampled_channel_by_channel(tilts: list[float]) -> None:
    image = read_volume(synthetic.fan(tilts, (20, 22), distance=5.0))
    values = np.random.default_rng(2).random((*image.shape, 3)).astype(np.float32)
    spec = InputSpec(name="x", layout="NCDHW", kind="volume", shape=(9, 12, 10), channels=3)
    colour = to_model(replace(image, display=values), spec).tensor
    for channel in range(3):
        single = to_model(replace(image, display=values[..., channel].copy()), volume_spec((9, 12, 10))).tensor
        np.testing.assert_allclose(colour[0, channel], single[0, 0], atol=1e-6)


def test_the_grid_lies_head_up_back_down_left_right_whatever_the_acquisition() -> None:
    for rotation in [(0, 0, 0), (0, 0, 90), (90, 0, 0), (0, 90, 0), (180, 0, 0), (10, 80, -5)]:
        planes = synthetic.stack(6, (20, 20), distance=3.0, rotation=rotation)
        affine = to_model(read_volume(planes), volume_spec((8, 8, 8))).grid.to_reference
        unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        assert unit[2, 0] > 0.7, "slices run towards the head"
        assert unit[1, 1] > 0.7, "rows run towards the back"
        assert unit[0, 2] > 0.7, "columns run towards the left"


@pytest.mark.parametrize("against_normal", [False, True])
@pytest.mark.parametrize("side", ["R", "L"])
@pytest.mark.parametrize("angle", [0.0, 44.0, 46.0, 90.0])
def test_tomosynthesis_is_given_as_its_frames_are_stored_however_far_it_is_turned(
    side: Literal["R", "L"], angle: float, against_normal: bool
) -> None:
    """By the patient's axes a view of 46 degrees came with its rows as slices, one of 44 degrees did not; and frames
    that are stored against their normal came in reverse."""
    data = mammography.tomosynthesis(side, "MLO", angle=angle, spot_slices=(1,), against_normal=against_normal)
    (image,) = read_images([data]).or_raise()
    stored = data.pixel_array.astype(np.float32) / 1023
    assert_given_and_back_as_stored(image, stored, [frame.frame_number for frame in image.frames])


@pytest.mark.parametrize("against_normal", [False, True])
def test_a_series_of_tomosynthesis_is_given_in_the_order_of_its_instance_numbers(against_normal: bool) -> None:
    planes = synthetic.stack(6, (20, 24), distance=1.0)
    stored = np.random.default_rng(5).integers(0, 1000, (6, 20, 24)).astype(np.int16)
    made = synthetic.slices(stored, planes[::-1] if against_normal else planes, shuffled=False, window=(499.5, 1000))
    for data in made:
        data.Modality = "MG"
    (image,) = read_images(made[::2] + made[1::2]).or_raise()
    numbers = {data.SOPInstanceUID: int(data.InstanceNumber) for data in made}
    order = [numbers[frame.sop_instance_uid] for frame in image.frames]
    assert_given_and_back_as_stored(image, stored / np.float32(999), order)


def assert_given_and_back_as_stored(image: SourceImage, stored: NDArray[np.float32], numbers: list[int]) -> None:
    """`numbers` of the image's frames as they are sorted, from 1, as they are stored."""
    given = to_model(image, volume_spec(image.shape).model_copy(update={"intensity": Intensity()}))
    np.testing.assert_allclose(given.tensor[0, 0], stored, atol=2e-3)
    values = np.random.default_rng(3).random(image.shape).astype(np.float32)
    at = np.array(numbers) - 1
    back, covered = to_source(values, given.grid, image)
    assert np.asarray(covered).all()
    np.testing.assert_allclose(back, values[at], atol=1e-5)
    mask, _ = mask_to_source(values > 0.5, given.grid, image)
    np.testing.assert_array_equal(np.asarray(mask), (values > 0.5)[at])


def test_with_a_spacing_the_grid_is_centred_and_the_rest_is_padded() -> None:
    planes = synthetic.stack(10, (20, 30), spacing=(1.0, 2.0), distance=4.0, centre=(5.0, -7.0, 11.0))
    volume = np.full((10, 20, 30), 1000, np.int16)
    image = read_volume(planes, volume)
    spec = InputSpec(
        name="x",
        layout="NCDHW",
        kind="volume",
        shape=(16, 40, 16),
        spacing=(4.0, 1.0, 2.0),
        pad_value=0.25,
        intensity=Intensity(source="modality", window=(500, 1000), mean=(0.5,), std=(0.5,)),
    )

    given_to_model = to_model(image, spec)

    centre = given_to_model.grid.to_reference @ [7.5, 19.5, 7.5, 1]
    np.testing.assert_allclose(centre[:3], (5.0, -7.0, 11.0), atol=1e-6)
    assert given_to_model.valid.sum() == 10 * 20 * 16, "ten slices, twenty rows, sixteen of thirty columns"
    np.testing.assert_allclose(given_to_model.tensor[0, 0][given_to_model.valid], 1.0, atol=1e-5)
    np.testing.assert_allclose(given_to_model.tensor[0, 0][~given_to_model.valid], (0.25 - 0.5) / 0.5)
    _, covered = to_source(given_to_model.tensor[0, 0], given_to_model.grid, image)
    assert covered.sum() == 10 * 20 * 16


def test_a_coarse_grid_averages_slices_instead_of_skipping_them() -> None:
    planes = synthetic.stack(64, (32, 32), distance=1.0)
    checker = (np.indices((64, 32, 32)).sum(axis=0) % 2).astype(np.int16) * 1000
    image = read_volume(planes, checker, window=(499.5, 1001.0))
    values = to_model(image, volume_spec((8, 8, 8))).tensor[0, 0, 1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(values, 0.5, atol=0.02)


def test_a_mask_keeps_its_labels_and_its_place() -> None:
    planes = synthetic.stack(12, (30, 36), spacing=(0.8, 1.1), distance=2.5, rotation=(15, 5, -20), tilt=12)
    image = read_volume(planes)
    grid = to_model(image, volume_spec((10, 24, 24))).grid
    points = grid_points(grid.shape, grid.to_reference)
    labels = np.where(np.linalg.norm(points, axis=-1) < 9, 70_001, 3).astype(np.int32)

    back, covered = mask_to_source(labels, grid, image)

    assert back.dtype == np.int32
    assert set(np.unique(back)) == {3, 70_001}
    assert covered.all()
    radius = np.linalg.norm(positions(planes, image), axis=-1)
    voxel = np.linalg.norm(grid.to_reference[:3, :3], axis=0)
    off = np.linalg.norm(voxel) / 2
    assert (back[radius < 9 - off] == 70_001).all()
    assert (back[radius > 9 + off] == 3).all()


def test_scores_are_interpolated_before_the_largest_is_taken() -> None:
    planes = synthetic.stack(8, (64, 64), distance=2.0)
    image = read_volume(planes)
    grid = to_model(image, volume_spec((8, 8, 8))).grid
    points = grid_points(grid.shape, grid.to_reference)
    first = (0.5 + points[..., 0] / 100).astype(np.float32)

    back, _ = scores_to_source(np.stack([1 - first, first]), grid, image)

    left = positions(planes, image)[..., 0]
    assert (back == (left > 0)).all(), "the border is at the source's resolution, not at the grid's"


def test_values_that_do_not_belong_to_the_grid_are_refused() -> None:
    image = read_volume(synthetic.stack(4, (8, 8)))
    grid = to_model(image, volume_spec((4, 4, 4))).grid
    with pytest.raises(GeometryError, match="expected values on a grid"):
        to_source(np.zeros((4, 4, 5)), grid, image)


def test_a_volume_is_refused_by_a_planar_package_and_by_one_of_another_modality() -> None:
    image = read_volume(synthetic.stack(4, (8, 8)))
    with pytest.raises(ImageError, match="expects a planar image, found a volume"):
        to_model(image, InputSpec(name="x", shape=(8, 8)))
    with pytest.raises(ImageError, match="expects MR, found 'CT'"):
        to_model(image, InputSpec(name="x", layout="NCDHW", kind="volume", shape=(4, 4, 4), modalities=("MR",)))
