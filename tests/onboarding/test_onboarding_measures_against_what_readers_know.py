"""Localisation, calibration and distance of cases: what onboarding measures where a site knows more of its images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from inference import nets
from whyray.base.errors import ConfigError, ExplanationError, ModelOutputError, PackageError
from whyray.explain import Heatmap, explain
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import OnboardingImage, onboard
from whyray.onboarding.calibration import calibration
from whyray.onboarding.images import read_known
from whyray.onboarding.localisation import (
    MarkedFinding,
    average_precision,
    baseline_scores,
    centre_map,
    intersection_over_union,
    localisation,
    pointing,
    usual_places,
)
from whyray.packages.localisation_report import MethodLocalisation
from whyray.quality import Grade, assess

CPU = RuntimeOptions(device="cpu", intra_op_threads=1)


def fresh(tmp_path: Path, name: str = "plain") -> Model:
    folder = tmp_path / name / "1.0.0"
    shutil.copytree(nets.packed(name), folder)
    return load_package(folder, options=CPU)


def box(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((32, 32), bool)
    mask[rows, columns] = True
    return mask


def test_auprc_is_that_counted_by_hand_with_and_without_ties() -> None:
    """Precision at every threshold, weighted by the recall that it adds."""
    truth = np.array([[True, False], [True, False]])
    assert average_precision(np.array([[0.9, 0.8], [0.7, 0.6]], np.float32), truth) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.array([[0.9, 0.9], [0.9, 0.6]], np.float32), truth) == pytest.approx(2 / 3)
    assert average_precision(np.array([[0.9, 0.9], [0.7, 0.6]], np.float32), truth) == pytest.approx(0.25 + 1 / 3)


def test_metrics_of_a_right_and_of_a_wrong_map_are_what_they_must_be() -> None:
    truth = box(slice(4, 8), slice(20, 28))
    right = truth.astype(np.float32)
    assert (pointing(right, truth), average_precision(right, truth), intersection_over_union(right, truth)) == (1, 1, 1)
    wrong = 1 - right
    assert (pointing(wrong, truth), intersection_over_union(wrong, truth)) == (0, 0)
    assert average_precision(wrong, truth) == pytest.approx(truth.mean())
    half = right.copy()
    half[4:6] = 0
    assert intersection_over_union(half, truth) == 0.5
    signed = -wrong
    assert intersection_over_union(signed, truth, True) == 0
    assert average_precision(np.zeros_like(right), truth) == pytest.approx(truth.mean())


def marked(values_of: object, *, together: bool = False) -> MethodLocalisation:
    """Twelve boxed findings with maps that `values_of` makes of their boxes."""
    model, rng, findings, maps = nets.loaded("plain"), np.random.default_rng(0), [], {}
    for number in range(12):
        row, column = rng.integers(0, 24, 2)
        truth = box(slice(row, row + 8), slice(column, column + 8))
        x = rng.random((1, 1, 32, 32)).astype(np.float32)
        findings.append(MarkedFinding("one" if together else str(number), number, x, "one", truth))
        maps[number] = Heatmap(values_of(truth).astype(np.float32), "one", "rise", signed=False, unit="logit")  # type: ignore[operator]
    return localisation(findings, maps, range(12), baseline_scores(model, findings, 0), 0)


def test_maps_that_point_are_above_every_baseline_and_maps_of_the_centre_are_not() -> None:
    good, centred = marked(lambda truth: truth + 0.1), marked(lambda truth: centre_map(truth.shape))
    assert good.boxes == good.images == good.patients == good.hits == 12
    for figure in (good.maps.hit_rate, good.maps.auprc, good.maps.iou):
        assert figure.value == 1
    assert all(lead.above for lead in good.ahead.values())
    assert not any(lead.above for lead in centred.ahead.values())
    assert centred.maps == centred.baselines["centre"]
    assert centred.hits == good.centre_prior_hits < 12
    assert centred.maps.iou.low <= centred.maps.iou.value <= centred.maps.iou.high
    assert good.baselines["random"].auprc.value < 0.2
    assert (
        good.words == f"maps of this package hit 12 of 12 boxed findings; the centre of the image hits {centred.hits}, "
        f"the place where most boxes of others lie {good.usual_place_hits}"
    )


def test_maps_of_one_patient_count_as_one_in_intervals() -> None:
    def noise(truth: np.ndarray) -> np.ndarray:
        return np.random.default_rng(int(truth.argmax())).random(truth.shape)

    together, apart = marked(noise, together=True), marked(noise)
    assert together.maps.auprc.low == together.maps.auprc.high
    assert together.patients == 1
    assert apart.maps.auprc.low < apart.maps.auprc.high
    assert together.maps.auprc.value == apart.maps.auprc.value


def test_the_usual_place_is_where_boxes_of_other_patients_lie_and_knows_nothing_of_the_own() -> None:
    here, there = box(slice(0, 8), slice(0, 8)), box(slice(20, 28), slice(20, 28))
    x = np.zeros((1, 1, 32, 32), np.float32)
    findings = [MarkedFinding(str(number), number, x, "one", here) for number in range(3)]
    findings += [MarkedFinding("odd", 3, x, "one", there), MarkedFinding("odd", 4, x, "one", there)]
    places = usual_places(findings)
    assert (places(findings[0]) == 2.0 * here + 2.0 * there).all()
    assert (places(findings[3]) == 3.0 * here).all()
    assert baseline_scores(nets.loaded("plain"), findings, 0)["usual place"].hit == [1, 1, 1, 0, 0]


def test_a_finding_without_a_map_is_missed_and_a_map_that_is_the_same_everywhere_points_nowhere() -> None:
    whole = box(slice(0, 32), slice(0, 32))
    findings = [
        MarkedFinding(str(number), number, np.zeros((1, 1, 32, 32), np.float32), "one", whole) for number in range(4)
    ]
    right = Heatmap(np.eye(32, dtype=np.float32), "one", "rise", signed=False, unit="logit")
    flat = Heatmap(np.ones((32, 32), np.float32), "one", "rise", signed=False, unit="logit")
    baselines = baseline_scores(nets.loaded("plain"), findings, 0)
    measured = localisation(findings, {0: right, 1: right, 2: flat}, range(4), baselines, 0)
    assert (measured.hits, measured.boxes, measured.refused, measured.maps.hit_rate.value) == (2, 4, 1, 0.5)


def test_calibration_says_nothing_of_few_images_and_skips_labels_that_are_unknown() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (50, 2)).astype(float)
    labels[:35, 1] = np.nan
    figures = calibration(["a", "b"], rng.random((50, 2)).astype(np.float32), labels, seed=0)
    low, high = figures["a"]["interval"]
    assert low <= high
    assert 0 < figures["a"]["ECE"] < 1
    assert figures["b"]["images"] == 15
    assert "ECE" not in figures["b"]


def test_what_a_site_knows_of_its_images_comes_into_report_and_page(tmp_path: Path) -> None:
    model = fresh(tmp_path)
    truth = {"two": box(slice(2, 12), slice(3, 13))}
    images = [
        OnboardingImage(nets.image("plain", seed).numpy(), truth if seed % 2 else {}, {"one": seed % 3 == 0})
        for seed in range(24)
    ]
    report = onboard(model, images, only=["layer-cam", "expected-gradients"], explained=8, this_machine=False)
    figures = report["methods"]["layer-cam"]
    assert sum(figures["grades"].values()) == 8
    assert figures["localisation"]["boxes"] == 12  # all that are marked, however few are explained for cards
    assert report["calibration"]["one"]["positive"] == 8
    assert report["case space"]["images"] == 24
    page = (model.package.folder / "onboarding" / "report.html").read_text()
    assert "Localisation" in page
    assert "No method is preferred: 12 boxed findings, fewer than 20, are too few to tell which map is right." in page
    assert "Calibration" in page


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (OnboardingImage(np.zeros((1, 1, 32, 32)), {"two": np.zeros((32, 32), bool)}), PackageError),
        (OnboardingImage(np.zeros((1, 1, 32, 32)), {"two": np.ones((16, 16), bool)}), PackageError),
        (OnboardingImage(np.zeros((1, 1, 32, 32)), {"four": np.ones((32, 32), bool)}), ModelOutputError),
        (OnboardingImage(np.zeros((1, 1, 31, 32))), ModelOutputError),
    ],
)
def test_marks_and_images_that_do_not_fit_are_refused_before_anything_is_measured(
    tmp_path: Path, image: OnboardingImage, error: type[Exception]
) -> None:
    with pytest.raises(error):
        onboard(fresh(tmp_path), [image], only=["layer-cam"], this_machine=False)
    assert not (tmp_path / "plain" / "1.0.0" / "onboarding").exists()


def test_a_case_unlike_the_onboarding_images_is_said_to_be_so_on_its_card(tmp_path: Path) -> None:
    model = fresh(tmp_path)
    images = [nets.image("plain", seed).numpy() for seed in range(1, 13)]
    onboard(model, images, only=["layer-cam"], explained=1, this_machine=False)

    def distance(x: np.ndarray) -> object:
        card = assess(model, x, explain(model, x, target="one", method="occlusion"))
        return next(measurement for measurement in card.measurements if measurement.aspect == "case")

    known, strange = distance(images[3]), distance(np.random.default_rng(0).normal(3, 4, images[0].shape))
    assert known.value == pytest.approx(0, abs=1e-6)
    assert known.grade is Grade.GREEN
    assert strange.value > strange.baseline
    assert strange.grade is Grade.AMBER


def test_without_a_report_or_with_few_images_no_card_speaks_of_distance(tmp_path: Path) -> None:
    model, x = fresh(tmp_path), nets.image("plain").numpy()
    for _ in range(2):
        card = assess(model, x, explain(model, x, target="one", method="layer-cam"))
        assert not [measurement for measurement in card.measurements if measurement.aspect == "case"]
        onboard(model, [x, -x], only=["layer-cam"], this_machine=False)


def test_expected_gradients_take_the_onboarding_images_as_references(tmp_path: Path) -> None:
    model = fresh(tmp_path)
    x, other = (nets.image("plain", seed).numpy() for seed in (1, 2))
    with pytest.raises(ExplanationError, match="no images from onboarding"):
        explain(model, x, target="one", method="expected-gradients")
    onboard(model, [x, other], only=["layer-cam"], this_machine=False)
    # The image itself is no reference: with one other, these are integrated gradients from that other.
    heatmap = explain(model, x, target="one", method="expected-gradients", samples=64)
    gain = float((model.logits(x) - model.logits(other))[0, 0])
    assert heatmap.values.sum() == pytest.approx(gain, rel=0.05)
    onboard(model, [x], only=["layer-cam"], this_machine=False)
    with pytest.raises(ExplanationError, match="is the only reference"):
        explain(model, x, target="one", method="expected-gradients")


def test_no_pixel_of_an_image_is_kept_where_that_is_the_wish(tmp_path: Path) -> None:
    from PIL import Image

    model = fresh(tmp_path)
    onboard(
        model,
        [nets.image("plain", seed).numpy() for seed in range(3)],
        only=["layer-cam"],
        keep_images=False,
        this_machine=False,
    )
    folder = model.package.folder / "onboarding"
    # the known answers are logits of pictures that are made by rule
    kept = {"report.json", "report.html", "layer-cam.png", "known-answers.npz"}
    assert {path.name for path in folder.iterdir()} == kept
    assert Image.open(folder / "layer-cam.png").size == (32, 32)


@pytest.mark.parametrize("method", ["gradient", "integrated-gradients", "deep-lift", "lrp", "smooth-grad"])
def test_the_card_of_a_gradient_method_tells_how_the_twin_differs_from_what_answered(method: str) -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    heatmap = explain(model, x, target="one", method=method)
    own = model.gradients.twin(method).gradients(x, [0])[1]
    gap = float(np.abs(own - model.logits(x)).max() / max(1.0, np.abs(model.logits(x)).max()))
    parity = next(
        measurement for measurement in assess(model, x, heatmap).measurements if measurement.aspect == "engine"
    )
    assert heatmap.evidence["engine_parity"] == pytest.approx(gap, abs=1e-7)
    assert parity.value >= heatmap.evidence["engine_parity"]


def test_boxes_are_read_by_the_names_that_nihs_lists_give_to_their_columns(tmp_path: Path) -> None:
    truth, labels = tmp_path / "boxes.csv", tmp_path / "labels.csv"
    truth.write_text("Image Index,finding,source,x,y,width,height\na.png,one,RSNA,1,2,3,4\na.png,one,RSNA,5,6,7,8\n")
    labels.write_text("Image Index,Patient ID\na.png,61\nb.png,61\n")
    known = read_known(truth, labels, ["one", "two"])
    assert known.boxes["a.png"]["one"] == [(1, 2, 3, 4), (5, 6, 7, 8)]
    assert known.patients["a.png"] == known.patients["b.png"] != "61"


def test_boxes_of_no_target_of_the_package_are_refused_instead_of_being_left_out(tmp_path: Path) -> None:
    truth = tmp_path / "boxes.csv"
    truth.write_text("image,target,x,y,width,height\na.png,Opacity,1,2,3,4\n")
    with pytest.raises(ConfigError, match="it marks Opacity; the package answers one"):
        read_known(truth, None, ["one"])
