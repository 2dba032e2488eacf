"""The procedural head: valid CT objects, the same every time, in the geometry that was asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from peers import require
from whyray.demo.phantom import Scan, phantom, planes, write_phantom

SMALL = Scan(slices=12, distance=12.0, size=96, spacing=(2.4, 2.4))


@pytest.mark.parametrize(
    "scan",
    [
        SMALL,
        Scan(slices=3, size=64, spacing=(3.5, 3.0), rotation=(20.0, -10.0, 5.0)),
        Scan(slices=3, size=64, tilt=17.0),
    ],
    ids=["axial", "oblique", "tilted"],
)
def test_dciodvfy_finds_no_error_in_any_slice(scan: Scan, tmp_path: Path) -> None:
    program = require("dciodvfy", "dicom3tools")
    for path in write_phantom(tmp_path, scan):
        said = subprocess.run([program, "-new", str(path)], capture_output=True, text=True, check=False)
        errors = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]
        assert errors == []


def test_the_same_scan_gives_the_same_bytes_and_another_seed_another_study(tmp_path: Path) -> None:
    first, second = write_phantom(tmp_path / "1", SMALL), write_phantom(tmp_path / "2", SMALL)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    (other,) = phantom(Scan(slices=1, size=16, seed=2))
    assert other.StudyInstanceUID != dcmread(first[0]).StudyInstanceUID


def test_tissues_have_their_hounsfield_units() -> None:
    volume = np.stack([data.pixel_array.astype(float) - 1024 for data in phantom(SMALL)])
    assert volume[0, 0, 0] == pytest.approx(-1000, abs=25)
    middle = volume[5:7]
    brain = middle[(middle > 10) & (middle < 60)]
    assert 25 < np.median(brain) < 42
    assert 0.02 < np.mean(volume > 300) < 0.2, "there is a skull"
    assert np.mean(volume < -500) > 0.4, "there is air around"
    assert volume.max() > 1000


def test_an_oblique_scan_cuts_the_same_head() -> None:
    straight = phantom(Scan(slices=1, size=64, spacing=(3.0, 3.0), noise=0.01))[0].pixel_array.astype(float)
    turned = phantom(Scan(slices=1, size=64, spacing=(3.0, 3.0), noise=0.01, rotation=(0, 0, 90.0)))[0].pixel_array
    # turned by 90° about z, the row direction is +y and the column direction -x: the picture is the same, turned
    expected = np.rot90(straight, 1)
    assert np.mean(np.abs(expected[2:-2, 2:-2] - turned.astype(float)[2:-2, 2:-2]) < 150) > 0.93


def test_a_tilted_gantry_moves_along_the_table_and_not_along_the_normal() -> None:
    positions, row, column = planes(Scan(slices=4, distance=5.0, tilt=20.0))
    steps = np.diff(positions, axis=0)
    assert steps == pytest.approx(np.tile([0.0, 0.0, 5.0], (3, 1)))
    normal = np.cross(row, column)
    assert np.degrees(np.arccos(normal @ [0, 0, 1])) == pytest.approx(20.0)
