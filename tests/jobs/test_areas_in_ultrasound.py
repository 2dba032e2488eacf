"""An area in mm² is told of what lies in one calibrated 2D region of ultrasound, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import Dataset

import synthetic
from explain.anatomy.planted_anatomy import SIZE, anatomy_package
from whyray.imaging import read_images
from whyray.inference import load_package
from whyray.jobs.image_findings import findings_of, prepare


def region(columns: tuple[int, int], *, spatial_format: int = 1, units: int = 3, delta: float = 0.05) -> Dataset:
    made = Dataset()
    made.RegionSpatialFormat, made.RegionDataType, made.RegionFlags = spatial_format, 1, 0
    made.RegionLocationMinX0, made.RegionLocationMaxX1 = columns
    made.RegionLocationMinY0, made.RegionLocationMaxY1 = 0, SIZE - 1
    made.PhysicalUnitsXDirection, made.PhysicalUnitsYDirection = units, 3
    made.PhysicalDeltaX, made.PhysicalDeltaY = delta, delta
    return made


def areas(folder: Path, *regions: Dataset) -> dict[str, float | None]:
    """Of structures in columns 6 to 25, 27 to 36 and 38 to 57."""
    data = synthetic.radiograph(np.zeros((SIZE, SIZE)), spacing=None)
    data.SequenceOfUltrasoundRegions = list(regions)
    anatomy_package(folder)
    (image,) = read_images([data]).or_raise()
    prepared = prepare(image, load_package("planted-anatomy@1", search=[folder]), [])
    return {finding.target.name: finding.value for finding in findings_of(prepared)}


def test_beside_a_spectrum_only_what_lies_in_the_2d_region_has_an_area(tmp_path: Path) -> None:
    told = areas(tmp_path, region((0, 31)), region((32, 63), spatial_format=3, units=4))
    assert told == {"right lung": 800 * 0.25, "heart": None, "left lung": None}


def test_what_lies_beside_the_only_region_has_no_area(tmp_path: Path) -> None:
    assert areas(tmp_path, region((0, 31))) == {"right lung": 800 * 0.25, "heart": None, "left lung": None}


def test_two_2d_regions_have_each_their_own_spacing(tmp_path: Path) -> None:
    told = areas(tmp_path, region((0, 31)), region((32, 63), delta=0.1))
    assert told == {"right lung": 800 * 0.25, "heart": None, "left lung": 800 * 1.0}


def test_a_region_that_covers_the_frame_gives_all_of_it_an_area(tmp_path: Path) -> None:
    assert areas(tmp_path, region((0, 63))) == {"right lung": 200.0, "heart": 50.0, "left lung": 200.0}
