"""`whyray package units`: a folder of pictures becomes what unit-report needs, and a page to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.conftest import Cli
from explain.units import detectors
from whyray.explain import UnitReport, explain
from whyray.packages import read_artefact


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return detectors.package(tmp_path / "packages")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve films, each with a mask of its blob; of three of them nobody drew a mask."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    masks = tmp_path / "masks" / "blob"
    masks.mkdir(parents=True)
    for seed in range(12):
        values, blob = detectors.picture(seed)
        Image.fromarray(np.rint(values * 255).astype(np.uint8)).save(folder / f"film.{seed:02}.png")
        if seed < 9:
            Image.fromarray(blob.astype(np.uint8) * 255).save(masks / f"film.{seed:02}.png")
    return folder


def test_a_site_surveys_a_package_and_unit_report_tells_what_was_found(
    cli: Cli, package: Path, pictures: Path, tmp_path: Path
) -> None:
    masks = tmp_path / "masks"
    said = cli("package", "units", package, "--images", pictures, "--masks", masks, "--maximise", 1)
    assert said.code == 0, said.everything
    assert "4 units of features, surveyed on 12 images" in said.everything
    assert "detect one of 1 concepts (by chance: 0)" in said.everything
    artefact = read_artefact(package / "onboarding" / "units.npz")
    assert artefact.facts.details["images with masks"] == {"blob": 9}
    unit_report = explain(
        detectors.load(package), detectors.picture(99)[0][None, None], target="bright", method="unit-report"
    )
    assert isinstance(unit_report, UnitReport)
    assert unit_report.units[0].concept == "blob"
    page = (package / "onboarding" / "units.html").read_text("utf-8")
    assert "SYNTHETIC" in page
    assert "blob" in page
    assert page.count("<img") >= 4 * 4
    assert "film" not in page


def test_without_patches_no_pixel_is_kept(cli: Cli, package: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    assert cli("package", "units", package, "-i", pictures, "--no-patches", "--out", out).code == 0
    place = out / "detectors" / "1.0.0"
    assert "patches" not in read_artefact(place / "units.npz").arrays
    assert "<img" not in (place / "units.html").read_text("utf-8")
    assert not (package / "onboarding").exists()


def test_wishes_that_cannot_be_met_are_told_in_two_lines(
    cli: Cli, package: Path, pictures: Path, tmp_path: Path
) -> None:
    cli("package", "units", package, "-i", tmp_path / "nowhere").refused("nowhere")
    cli("package", "units", package, "-i", pictures, "--layer", "logits").refused("logits", "units on a grid")
    empty = tmp_path / "empty"
    empty.mkdir()
    cli("package", "units", package, "-i", pictures, "--masks", empty).refused("CONCEPT/IMAGE.png")
    cli("package", "units", package, "-i", pictures, "--reconstructed").refused("autoencoder")


def test_an_image_that_can_not_be_taken_is_told(cli: Cli, package: Path, pictures: Path) -> None:
    Image.new("RGB", (40, 40), (200, 10, 10)).save(pictures / "colour.png")
    said = cli("package", "units", package, "-i", pictures)
    assert said.code == 1
    assert "colour.png" in said.everything
