"""Real head CT: a gantry tilt with uneven distances (GE), and a straight phantom (Philips)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from whyray.imaging import NoteKind, SourceImage, read_images, to_model, to_source
from whyray.packages import InputSpec
from whyray.packages.manifest import Intensity

SERIES = ["ge-human-28-variable-tilt", "philips-phantom-28-5mm"]


@pytest.fixture(scope="module", params=SERIES)
def series(request: pytest.FixtureRequest, shared_data: Path) -> SourceImage:
    paths = sorted((shared_data / "head-ct" / request.param).iterdir())
    (image,) = read_images(paths).images
    return image


def spec(shape: tuple[int, int, int], spacing: tuple[float, float, float] | None = None) -> InputSpec:
    intensity = Intensity(source="modality", window=(40, 400))
    return InputSpec(name="x", layout="NCDHW", kind="volume", shape=shape, spacing=spacing, intensity=intensity)


def test_all_slices_are_there_from_foot_to_head_in_hounsfield_units(series: SourceImage) -> None:
    assert series.shape == (28, 512, 512)
    heights = [float(series.headers[f.sop_instance_uid].ImagePositionPatient[2]) for f in series.frames]
    assert heights == sorted(heights)
    inside = series.modality[14][~series.padding[14]]
    assert np.percentile(inside, 5) < -800
    assert series.modality[14].max() > 300


def test_uneven_distances_are_kept_and_not_taken_for_gaps(shared_data: Path) -> None:
    image = read_images(sorted((shared_data / "head-ct" / SERIES[0]).iterdir())).images[0]
    origins = np.array([frame.to_patient[:3, 3] for frame in image.frames])  # type: ignore[index]
    normal = image.frames[0].to_patient[:3, 2]  # type: ignore[index]
    steps = np.diff(origins @ normal)
    assert sorted({round(float(step), 1) for step in steps}) == [1.1, 4.0, 7.0]
    assert [note.kind for note in image.notes] == [NoteKind.UNEVEN_SLICES]
    assert np.abs(np.diff(origins, axis=0)[:, 1]).max() < 1e-3, "the table moves along z alone: the stack is sheared"


def test_a_place_in_the_head_is_the_same_place_in_every_grid(series: SourceImage) -> None:
    fine, coarse = (to_model(series, spec(shape)) for shape in ((56, 256, 256), (28, 128, 128)))
    index = np.moveaxis(np.indices(coarse.grid.shape), 0, -1).reshape(-1, 3)
    points = index @ coarse.grid.to_reference[:3, :3].T + coarse.grid.to_reference[:3, 3]
    inverse = np.linalg.inv(fine.grid.to_reference)
    in_fine = points @ inverse[:3, :3].T + inverse[:3, 3]
    both = coarse.valid.reshape(-1)
    one = coarse.tensor[0, 0].reshape(-1)[both]

    def agreement(offset: tuple[int, int, int]) -> float:
        at = np.rint(in_fine + offset).astype(int).clip(0, np.array(fine.grid.shape) - 1)
        return float(np.corrcoef(one, fine.tensor[0, 0][tuple(at.T)][both])[0, 1])

    here = agreement((0, 0, 0))
    assert here > 0.94
    for offset in [(2, 0, 0), (-2, 0, 0), (0, 2, 0), (0, -2, 0), (0, 0, 2), (0, 0, -2)]:
        assert agreement(offset) < here - 0.01


@pytest.mark.parametrize("index", [3, 14, 20])
def test_a_slice_carried_to_a_grid_and_back_has_not_moved(series: SourceImage, index: int) -> None:
    made = to_model(series, spec((112, 256, 256)))
    back, covered = to_source(made.tensor[0, 0], made.grid, series)
    assert covered.all()
    original = np.clip((series.modality[index] + 160) / 400, 0, 1)

    def misfit(down: int, across: int) -> float:
        shifted = np.roll(back[index], (down, across), (0, 1))
        return float(((shifted - original)[8:-8, 8:-8] ** 2).mean())

    here = misfit(0, 0)
    for direction in ((1, 0), (0, 1)):
        after, before = misfit(*direction), misfit(-direction[0], -direction[1])
        # The vertex of the parabola through three misfits: the shift in pixels.
        assert abs((before - after) / (2 * (before - 2 * here + after))) < 0.1
    for neighbour in (index - 1, index + 1):
        other = np.clip((series.modality[neighbour] + 160) / 400, 0, 1)
        assert here < 0.8 * float(((back[index] - other) ** 2).mean())


def test_file_order_does_not_matter(shared_data: Path) -> None:
    paths = sorted((shared_data / "head-ct" / SERIES[0]).iterdir())
    first = read_images(paths).images[0]
    second = read_images(np.random.default_rng(0).permutation(np.array(paths, object))).images[0]
    assert [f.sop_instance_uid for f in first.frames] == [f.sop_instance_uid for f in second.frames]
    np.testing.assert_array_equal(first.modality, second.modality)


def test_a_real_tilted_slice_lies_where_its_header_says(shared_data: Path) -> None:
    path = shared_data / "head-ct" / SERIES[0] / "14.dcm"
    header = pydicom.dcmread(path, stop_before_pixels=True)
    image = read_images([path]).or_raise()[0]
    row, column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    corner = np.array(header.ImagePositionPatient, float) + 511 * 0.4882812 * (row + column)
    np.testing.assert_allclose(image.frames[0].to_patient @ [511, 511, 0, 1], [*corner, 1], atol=1e-3)  # type: ignore[operator]
