"""Reports that come with bundled packages, and cards that say first what a package is worth on other patients."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from inference import nets
from whyray.base.errors import PackageError
from whyray.inference import load_package
from whyray.onboarding import OnboardingImage, onboard
from whyray.packages import BUNDLED, package_digest, read_package
from whyray.packages.localisation_report import FEWEST_BOXES, localisation_in
from whyray.packages.onboarding_report import proofs_in, read_report
from whyray.packages.randomisation_report import FEWEST_IMAGES, randomised_maps_in
from whyray_training.methods_on_boxes import PAGE, renewed, table
from whyray_training.onboard_bundled import decisive_files, renew_digest
from whyray_training.onboarding_radiographs import boxes_of_targets, fold_rows
from whyray_training.other_patients import CARDS
from whyray_training.other_patients_card import NOT_CONFIRMED, TITLE, confirmed, not_told_words
from whyray_training.randomisation_of_bundled import with_randomisation

ONBOARDED = sorted(path.parents[1] for path in BUNDLED.glob("*/*/onboarding/report.json"))
BOX = (1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize("folder", ONBOARDED, ids=[f"{folder.parent.name}-{folder.name}" for folder in ONBOARDED])
def test_a_report_that_comes_along_is_of_the_package_as_it_is_and_of_patients_it_had_not_seen(folder: Path) -> None:
    """Where this fails: `python -m whyray_training.onboard_bundled`, with --same-graph where only words changed."""
    package = read_package(folder)
    report = read_report(package)
    assert report is not None
    measured = localisation_in(report, package)
    assert all(localisation.held_out for localisation in measured.values())
    assert (report["tier"] == "T2") == bool(proofs_in(report))
    assert {path.name for path in (folder / "onboarding").iterdir()} <= {"report.json", "normal-maps.npz"}
    assert not {"batch", "compiled", "calibration", "case space"} & set(report)
    assert "/tmp" not in package.report.read_text("utf-8")


def test_a_package_whose_map_is_its_answer_comes_with_what_that_map_hit() -> None:
    packages = [read_package(folder) for folder in ONBOARDED]
    local = [package for package in packages if package.manifest.evidence is not None]
    assert local
    for package in local:
        assert localisation_in(read_report(package), package)["local-evidence"].boxes >= FEWEST_BOXES


def test_a_card_that_is_written_anew_needs_no_measuring_and_a_manifest_that_is_another_does(tmp_path: Path) -> None:
    folder = tmp_path / "plain" / "1.0.0"
    shutil.copytree(nets.packed("plain"), folder)
    (folder / "onboarding").mkdir()
    report = {"digest": package_digest(folder), "tier": "T1", "files": decisive_files(folder)}
    (folder / "onboarding" / "report.json").write_text(json.dumps(report))
    (folder / "MODEL_CARD.md").write_text("other words")
    with pytest.raises(PackageError, match="changed after it was onboarded"):
        read_report(read_package(folder))
    renew_digest(folder)
    assert read_report(read_package(folder)) is not None
    with (folder / "model.yaml").open("a") as manifest:
        manifest.write("methods: {rise: {masks: 123}}\n")
    with pytest.raises(ValueError, match=r"model\.yaml changed"):
        renew_digest(folder)


def test_a_box_marks_the_target_that_is_called_so_and_an_opacity_the_first_labelled_one() -> None:
    row = {"Image Index": "a.png", "Finding Labels": "Pneumonia|Effusion|Infiltration"}
    boxes = {"a.png": {("RSNA", "Lung Opacity"): (BOX,), ("NIH", "Infiltrate"): (BOX,), ("NIH", "Effusion"): (BOX,)}}
    assert boxes_of_targets(row, boxes, ("Lung Opacity",)) == {"Lung Opacity": [BOX]}
    assert boxes_of_targets(row, boxes, ("Infiltration", "Pneumonia")) == {"Infiltration": [BOX, BOX]}
    assert boxes_of_targets(row, boxes, ("Pneumonia", "Effusion")) == {"Pneumonia": [BOX], "Effusion": [BOX]}
    assert boxes_of_targets(row, boxes, ("Abnormal",)) == {"Abnormal": [BOX] * 3}
    assert boxes_of_targets({**row, "Finding Labels": "Mass"}, boxes, ("Pneumonia",)) == {}
    assert boxes_of_targets({**row, "Image Index": "b.png"}, boxes, ("Abnormal",)) == {}


def test_no_patient_is_in_two_folds(tmp_path: Path) -> None:
    (tmp_path / "fold-rows.csv").write_text("image,patient,fold\na,1,0\nb,1,0\nc,2,4\n")
    assert fold_rows(tmp_path) == {"1": 0, "2": 4}
    (tmp_path / "fold-rows.csv").write_text("image,patient,fold\na,1,0\nb,1,3\n")
    with pytest.raises(ValueError, match="two folds"):
        fold_rows(tmp_path)


@pytest.mark.parametrize("name", list(CARDS))
def test_a_card_says_first_what_the_package_is_worth_on_other_patients(name: str) -> None:
    folder = BUNDLED / name / "1.0.0"
    metrics, card = json.loads((folder / "metrics.json").read_text()), (folder / "MODEL_CARD.md").read_text()
    assert card.index(TITLE) < card.index("## ", card.index(TITLE) + 3)
    assert card.index("## ") == card.index(TITLE)
    assert f"{metrics['other_patients']['images']} radiographs of" in card


def test_a_figure_that_other_patients_contradict_is_not_said_and_a_finding_not_told_is_named() -> None:
    figure = {"value": 0.787, "low": 0.7, "high": 0.86}
    agreeing, other = ({"auc": {"value": value, "low": value - 0.05, "high": value + 0.05}} for value in (0.77, 0.67))
    assert confirmed(figure, None) == confirmed(figure, agreeing) == "0.787 (0.700 to 0.860)"
    assert confirmed(figure, other) == NOT_CONFIRMED
    told = {"targets": {"Effusion": {"told": False}, "Abnormal": {"told": True}}}
    assert not_told_words({"other_patients": told}) == " Not told from chance on other patients: Effusion."
    assert not_told_words({}) == ""


def test_the_page_says_of_methods_on_boxes_what_the_reports_say() -> None:
    """Where this fails: `python -m whyray_training.onboard_bundled --same-graph` writes the tables anew."""
    text = PAGE.read_text("utf-8")
    assert renewed(text) == text
    assert "local-evidence" in table()


def test_a_manifest_that_a_later_version_reads_with_more_keys_is_no_other_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "plain" / "1.0.0"
    shutil.copytree(nets.packed("plain"), folder)
    (folder / "onboarding").mkdir()
    earlier = dict.fromkeys(decisive_files(folder), "as an earlier version had it")
    report = {"digest": package_digest(folder), "tier": "T1", "files": earlier}
    (folder / "onboarding" / "report.json").write_text(json.dumps(report))
    renew_digest(folder)
    renewed_report = json.loads((folder / "onboarding" / "report.json").read_text())
    assert renewed_report["files"] == decisive_files(folder)


def test_the_randomisation_check_by_itself_says_what_onboarding_says(tmp_path: Path) -> None:
    folder = tmp_path / "plain" / "1.0.0"
    shutil.copytree(nets.packed("plain"), folder)
    model = load_package(folder)
    rng = np.random.default_rng(0)
    images = [OnboardingImage(rng.random(model.network.input_shape, np.float32)) for _ in range(5)]
    report = onboard(model, images, only=["grad-cam", "occlusion", "lrp"], keep_images=False)
    early = {name: {**entry, "sanity": {}} for name, entry in report["methods"].items()}
    again = with_randomisation(model, {**report, "methods": early, "learned weights": None}, images)
    assert again == report
    assert any(maps.images >= FEWEST_IMAGES for maps in randomised_maps_in(again, model.package).values())


@pytest.mark.parametrize("folder", ONBOARDED, ids=[f"{folder.parent.name}-{folder.name}" for folder in ONBOARDED])
def test_maps_of_bundled_packages_depend_on_their_weights(folder: Path) -> None:
    """Where this fails: `python -m whyray_training.onboard_bundled --randomisation`."""
    package = read_package(folder)
    known = randomised_maps_in(read_report(package), package)
    assert not [name for name, maps in known.items() if maps.independent]
    assert package.manifest.evidence is None or "local-evidence" in known
