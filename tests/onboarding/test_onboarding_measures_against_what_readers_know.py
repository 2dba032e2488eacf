"""Localisation, calibration and distance of cases: what onboarding measures where a site knows more of its images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from inference import nets
from whyray.base.errors import ExplanationError, ModelOutputError, PackageError
from whyray.explain import Heatmap, explain
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import OnboardingImage, onboard
from whyray.onboarding.calibration import calibration, expected_calibration_error
from whyray.onboarding.localisation import Marked, average_precision, intersection_over_union, localisation, pointing
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


@pytest.mark.parametrize("levels", [3, 10_000])
def test_auprc_is_that_of_scikit_learn_with_and_without_ties(levels: int) -> None:
    rng = np.random.default_rng(levels)
    values = (rng.integers(0, levels, (20, 30)) / levels).astype(np.float32)
    truth = rng.random((20, 30)) < 0.1
    expected = average_precision_score(truth.ravel(), values.ravel())
    assert average_precision(values, truth) == pytest.approx(expected, abs=1e-9)


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


def marked(values_of: object) -> list[Marked]:
    rng, found = np.random.default_rng(0), []
    for number in range(12):
        row, column = rng.integers(0, 24, 2)
        truth = box(slice(row, row + 8), slice(column, column + 8))
        heatmap = Heatmap(values_of(truth).astype(np.float32), "one", "rise", signed=False, unit="logit")  # type: ignore[operator]
        found.append(Marked(number, rng.random((1, 1, 32, 32)).astype(np.float32), heatmap, truth))
    return found


def test_maps_that_point_are_above_every_baseline_and_maps_of_the_centre_are_not() -> None:
    from whyray.onboarding.localisation import centre_map

    good = localisation(marked(lambda truth: truth + 0.1), seed=0)
    centred = localisation(marked(lambda truth: centre_map(truth.shape)), seed=0)
    assert good["maps"] == good["images"] == 12
    for metric in ("pointing game", "AUPRC", "IoU"):
        assert good[metric]["above every baseline"]
        assert good[metric]["map"]["value"] == 1
        assert not centred[metric]["above every baseline"]
        low, high = centred[metric]["map"]["interval"]
        assert low <= centred[metric]["map"]["value"] <= high
        assert centred[metric]["map"]["value"] == centred[metric]["centre"]["value"]
    assert good["AUPRC"]["random"]["value"] < 0.2


def test_maps_of_one_image_count_as_one_in_intervals() -> None:
    apart = marked(lambda truth: np.random.default_rng(int(truth.argmax())).random(truth.shape))
    together = [Marked(0, each.x, each.heatmap, each.truth) for each in apart]
    low, high = localisation(together, seed=0)["AUPRC"]["map"]["interval"]
    assert low == high
    low, high = localisation(apart, seed=0)["AUPRC"]["map"]["interval"]
    assert low < high


def test_calibration_error_is_zero_for_true_frequencies_and_the_gap_for_false_ones() -> None:
    positive = range(5, 100, 10)
    said = np.repeat([each / 100 for each in positive], 100)
    true = np.concatenate([np.arange(100) < each for each in positive]).astype(float)
    assert expected_calibration_error(said, true) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(np.full(40, 0.9), np.zeros(40)) == pytest.approx(0.9)


def test_calibration_says_nothing_of_few_images_and_skips_labels_that_are_unknown() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (50, 2)).astype(float)
    labels[:35, 1] = np.nan
    found = calibration(["a", "b"], rng.random((50, 2)).astype(np.float32), labels, seed=0)
    low, high = found["a"]["interval"]
    assert low <= high
    assert 0 < found["a"]["ECE"] < 1
    assert found["b"]["images"] == 15
    assert "ECE" not in found["b"]


def test_what_a_site_knows_of_its_images_comes_into_report_and_page(tmp_path: Path) -> None:
    model = fresh(tmp_path)
    truth = {"two": box(slice(2, 12), slice(3, 13))}
    images = [
        OnboardingImage(nets.image("plain", seed).numpy(), truth if seed % 2 else {}, {"one": seed % 3 == 0})
        for seed in range(24)
    ]
    report = onboard(model, images, only=["layer-cam", "expected-gradients"], explained=8)
    found = report["methods"]["layer-cam"]
    assert sum(found["grades"].values()) == 8
    assert found["localisation"]["maps"] == 8
    assert report["calibration"]["one"]["positive"] == 8
    assert report["case space"]["images"] == 24
    page = (model.package.folder / "onboarding" / "report.html").read_text()
    assert "Localisation" in page
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
        onboard(fresh(tmp_path), [image], only=["layer-cam"])
    assert not (tmp_path / "plain" / "1.0.0" / "onboarding").exists()


def test_a_case_unlike_the_onboarding_images_is_said_to_be_so_on_its_card(tmp_path: Path) -> None:
    model = fresh(tmp_path)
    images = [nets.image("plain", seed).numpy() for seed in range(1, 13)]
    onboard(model, images, only=["layer-cam"], explained=1)

    def distance(x: np.ndarray) -> object:
        card = assess(model, x, explain(model, x, target="one", method="occlusion"))
        return next(each for each in card.measurements if each.aspect == "case")

    known, strange = distance(images[3]), distance(np.random.default_rng(0).normal(3, 4, images[0].shape))
    assert known.value == pytest.approx(0, abs=1e-6)
    assert known.grade is Grade.GREEN
    assert strange.value > strange.baseline
    assert strange.grade is Grade.AMBER


def test_without_a_report_or_with_few_images_no_card_speaks_of_distance(tmp_path: Path) -> None:
    model, x = fresh(tmp_path), nets.image("plain").numpy()
    for _ in range(2):
        card = assess(model, x, explain(model, x, target="one", method="layer-cam"))
        assert not [each for each in card.measurements if each.aspect == "case"]
        onboard(model, [x, -x], only=["layer-cam"])


def test_expected_gradients_take_the_onboarding_images_as_references(tmp_path: Path) -> None:
    model = fresh(tmp_path)
    x, other = (nets.image("plain", seed).numpy() for seed in (1, 2))
    with pytest.raises(ExplanationError, match="no images from onboarding"):
        explain(model, x, target="one", method="expected-gradients")
    onboard(model, [x, other], only=["layer-cam"])
    # The image itself is no reference: with one other, these are integrated gradients from that other.
    found = explain(model, x, target="one", method="expected-gradients", samples=64)
    gain = float((model.logits(x) - model.logits(other))[0, 0])
    assert found.values.sum() == pytest.approx(gain, rel=0.05)
    onboard(model, [x], only=["layer-cam"])
    with pytest.raises(ExplanationError, match="is the only reference"):
        explain(model, x, target="one", method="expected-gradients")


def test_no_pixel_of_an_image_is_kept_where_that_is_the_wish(tmp_path: Path) -> None:
    from PIL import Image

    model = fresh(tmp_path)
    onboard(model, [nets.image("plain", seed).numpy() for seed in range(3)], only=["layer-cam"], keep_images=False)
    folder = model.package.folder / "onboarding"
    # the known answers are logits of pictures that are made by rule
    kept = {"report.json", "report.html", "layer-cam.png", "known-answers.npz"}
    assert {each.name for each in folder.iterdir()} == kept
    assert Image.open(folder / "layer-cam.png").size == (32, 32)


@pytest.mark.parametrize("method", ["gradient", "integrated-gradients", "deep-lift", "lrp", "smooth-grad"])
def test_the_card_of_a_gradient_method_tells_how_the_twin_differs_from_what_answered(method: str) -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    heatmap = explain(model, x, target="one", method=method)
    own = model.twin(method).gradients(x, [0])[1]
    gap = float(np.abs(own - model.logits(x)).max() / max(1.0, np.abs(model.logits(x)).max()))
    found = next(each for each in assess(model, x, heatmap).measurements if each.aspect == "engine")
    assert heatmap.evidence["engine_parity"] == pytest.approx(gap, abs=1e-7)
    assert found.value >= heatmap.evidence["engine_parity"]
