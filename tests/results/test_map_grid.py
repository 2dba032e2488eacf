"""A Parametric Map lies on the grid of its heatmap, where the source's pixels below it say that it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

import synthetic
from results.answers import CARDIOMEGALY, a_map, answer_about, blob, centre_of, image_of
from results.sources import read
from whyray.imaging import ModelGrid, SourceImage, to_source
from whyray.imaging.planar import planar_grid
from whyray.imaging.volume import volume_grid
from whyray.results import Finding, build_results, encode


def film(spacing: tuple[float, float] | None = (0.5, 0.25)) -> SourceImage:
    pixels = np.add.outer(np.arange(120), np.arange(80)) * 8
    return image_of([synthetic.radiograph(pixels, spacing=spacing, study="map-grid")])


def parametric_map(image: SourceImage, grid: ModelGrid, at: tuple[int, ...], templates) -> Dataset:  # type: ignore[no-untyped-def]
    """Of a heatmap with one lit cell; as read from its file."""
    values = np.zeros(grid.shape, np.float32)
    values[at] = 3.0
    on_pixels, covered = to_source(values, grid, image)
    heatmap = replace(
        a_map(image, on_pixels),
        covered=covered,
        on_grid=values if image.kind == "volume" else values[None],
        grid=grid,
    )
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(heatmap,))])
    (result,) = build_results(answer, ["pm"], templates)
    return read(encode(result.dataset))


def lit_in_patient(data: Dataset) -> np.ndarray:
    """Where the brightest cell lies, by equation C.7.6.2.1-1 of PS3.3, from what the object alone says."""
    values = data.pixel_array.reshape(int(data.NumberOfFrames), data.Rows, data.Columns)
    frame, row, column = np.unravel_index(np.argmax(values), values.shape)
    (shared,) = data.SharedFunctionalGroupsSequence
    cosines = [float(one) for one in shared.PlaneOrientationSequence[0].ImageOrientationPatient]
    across, down = np.reshape(cosines, (2, 3))
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    place = data.PerFrameFunctionalGroupsSequence[frame].PlanePositionSequence[0]
    position = np.array([float(one) for one in place.ImagePositionPatient])
    return np.asarray(position + column * between_columns * across + row * between_rows * down)


@pytest.mark.parametrize(("fit", "cells"), [("pad", (16, 6)), ("stretch", (16, 16)), ("crop", (16, 16))])
def test_the_map_of_a_radiograph_has_the_cells_of_its_grid_that_lie_on_the_film(fit, cells, templates, errors_of):  # type: ignore[no-untyped-def]
    image = film()
    frame = image.frames[0]
    grid = planar_grid(frame, (16, 16), fit)
    data = parametric_map(image, grid, (5, 9), templates)
    assert (data.Rows, data.Columns) == cells
    down, across = (grid.to_reference @ [5, 9, 1])[:2] * np.array(frame.pixel_shape)
    # rows and columns are turned as Patient Orientation says, the first pixel of the film is their origin
    assert np.linalg.norm(lit_in_patient(data)) == pytest.approx(np.hypot(down, across), abs=1e-4)
    assert data.pixel_array.max() == 3.0
    assert errors_of(encode(data)) == []


@pytest.mark.parametrize(("tilt", "stored_along"), [(0.0, None), (12.0, None), (0.0, 1), (0.0, -1)])
def test_a_map_of_a_volume_lies_in_the_patient_where_the_model_saw_it(tilt, stored_along, templates, errors_of):  # type: ignore[no-untyped-def]
    planes = synthetic.stack(9, (40, 50), spacing=(2.0, 1.5), distance=4.0, tilt=tilt)
    image = image_of(synthetic.slices(np.zeros((9, 40, 50), np.int16), planes))
    grid = volume_grid(image.frames, (6, 10, 12), None, stored_along=stored_along)
    data = parametric_map(image, grid, (4, 2, 7), templates)
    np.testing.assert_allclose(lit_in_patient(data), (grid.to_reference @ [4, 2, 7, 1])[:3], atol=1e-3)
    groups = data.PerFrameFunctionalGroupsSequence
    assert all(group.DerivationImageSequence[0].SourceImageSequence for group in groups)
    if not tilt:  # a tilted grid has no right angles, so the map is on the pixels of the source
        assert (int(data.NumberOfFrames), data.Rows, data.Columns) == (6, 10, 12)
    assert errors_of(encode(data)) == []


def test_a_map_that_has_no_grid_of_its_own_lies_on_the_pixels_of_the_source(templates):  # type: ignore[no-untyped-def]
    image = film(None)
    answer = answer_about(
        image,
        [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(a_map(image, blob(image, centre_of(image))),))],
    )
    (result,) = build_results(answer, ["pm"], templates)
    assert (result.dataset.Rows, result.dataset.Columns) == image.shape[1:]
