"""Maps that stay the same with other weights show the image, not the model: nobody gets them as an explanation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explain.anatomy.planted_anatomy import IN_RIGHT_LUNG, anatomy_package, detector, lit, mask_of
from inference import nets
from planted import BRIGHT
from trust.records import localisation_of, onboarded_with
from whyray.base.errors import ExplanationError, PackageError
from whyray.explain import (
    Attribution,
    Case,
    Heatmap,
    PreferredMap,
    audiences,
    expanded,
    explain,
    grad_cam,
    occlusion,
    preferred_map,
)
from whyray.explain.anatomy import allowed_in
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import OnboardingImage, method_measuring, onboard, randomisation_check
from whyray.onboarding.onboarding_page import page
from whyray.onboarding.questions import Question
from whyray.packages.localisation_report import TargetHits
from whyray.packages.randomisation_report import ORDER_KEPT, SIMILARITY, randomised_maps_in, randomised_maps_of
from whyray.packages.report_warnings import warnings_in
from whyray.quality import Budget, Grade, assess
from whyray.quality.cells import edge_map
from whyray.quality.randomised_maps import maps_without_training
from whyray.results import load_templates
from whyray.results.trust import trust_in

CPU = RuntimeOptions(device="cpu", intra_op_threads=1, cache=None)
NAME = "map with randomised weights"


def edges(monkeypatch: pytest.MonkeyPatch, method: type) -> None:
    """The method draws the edges of the image from now on, whatever the model."""
    monkeypatch.setattr(
        method, "attribute", lambda self, case, parameters: [Attribution(edge_map(case.x))] * len(case.targets)
    )


class Square:
    """The same 8 x 8 places whatever the image and the model, with as much noise in them, another each time."""

    def __init__(self, noise: float) -> None:
        self._noise = noise
        self._rng = np.random.default_rng(0)

    def __call__(self, method: Any, case: Case, parameters: Any) -> list[Attribution]:
        drawn = np.zeros(case.shape, np.float32)
        drawn[8:16, 8:16] = 1 - self._noise * self._rng.random((8, 8))
        return [Attribution(drawn)] * len(case.targets)


def package(folder: Path) -> Path:
    place = folder / "dense" / "1.0.0"
    shutil.copytree(nets.packed("dense"), place)
    return place


def onboarded(folder: Path, count: int = 4) -> Model:
    images = [nets.image("dense", seed).numpy() for seed in range(1, 1 + count)]
    onboard(load_package(folder, options=CPU), images, only=["grad-cam", "occlusion"], this_machine=False)
    return load_package(folder, options=CPU)


def measured(model: Model, method: str) -> dict[str, Grade]:
    x = nets.image("dense", 9).numpy()
    heatmap = explain(model, x, target=model.targets[0], method=method)
    assert isinstance(heatmap, Heatmap)
    return {one.name: one.grade for one in assess(model, x, heatmap, budget=Budget(repeats=False)).measurements}


def test_maps_of_edges_are_withheld_and_another_method_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges(monkeypatch, grad_cam.GradCam)
    model = onboarded(package(tmp_path))
    assert measured(model, "grad-cam")[NAME] is Grade.RED
    assert measured(model, "occlusion")[NAME] is not Grade.RED
    preferred = preferred_map(model)
    assert preferred.method == "occlusion"
    assert "maps by grad-cam were nearly the same with the model's weights shuffled" in preferred.because
    assert "grad-cam" not in expanded({"radiologist": {}}, model)
    warned = warnings_in(model.report() or {}, model.package)
    assert [words for words in warned if words.startswith("maps by grad-cam are nearly the same")]
    assert "maps by grad-cam are nearly the same" in model.package.report.with_suffix(".html").read_text()


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_square_that_is_drawn_whatever_the_model_is_withheld(
    noise: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = Square(noise)
    monkeypatch.setattr(grad_cam.GradCam, "attribute", lambda *given: drawn(*given))
    model = onboarded(package(tmp_path))
    assert measured(model, "grad-cam")[NAME] is Grade.RED
    assert preferred_map(model).method == "occlusion"


@pytest.mark.parametrize("changes", [True, False])
def test_maps_kept_to_anatomy_are_compared_inside_it(
    changes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside they are 0 by any weights: that says nothing of whether they depend on these."""
    anatomy_package(tmp_path)
    model = detector(tmp_path)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, 64, 64)).astype(np.float32)
    images = [np.float32(0.1) + np.abs(part)[None, None] for part in noise]

    def mapped(_: object, x: np.ndarray, **__: object) -> list[Heatmap]:
        allowed = allowed_in(model, x, BRIGHT)
        drawn = rng.random((64, 64)) if changes else x[0, 0]
        return [Heatmap(np.where(allowed, drawn, 0).astype(np.float32), BRIGHT, "anatomy-constrained", False, "")]

    monkeypatch.setattr(randomisation_check, "heatmaps", mapped)
    maps = [mapped(model, x)[0] for x in images]
    changed = [("100% of the weights", model)]
    check = randomisation_check.randomisation_check(model, "anatomy-constrained", asked(images), maps, changed, {}, 0)
    assert (check[ORDER_KEPT]["100% of the weights"] < 0.2) is changes


def asked(images: list[np.ndarray]) -> list[Question]:
    return [Question(number, x, "a target") for number, x in enumerate(images)]


def test_maps_of_nothing_are_no_images_that_it_was_checked_on(tmp_path: Path) -> None:
    model = load_package(package(tmp_path), options=CPU)
    images = [nets.image("dense", seed).numpy() for seed in range(4)]
    empty = [Heatmap(np.zeros(model.spatial_shape, np.float32), model.targets[0], "grad-cam", False, "")] * 4
    check = randomisation_check.randomisation_check(model, "grad-cam", asked(images), empty, [("last", model)], {}, 0)
    assert check["images"] == 0


def test_without_a_map_by_all_weights_shuffled_nothing_is_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_package(package(tmp_path), options=CPU)
    rng = np.random.default_rng(0)
    images = [nets.image("dense", seed).numpy() for seed in range(4)]
    drawn = [
        Heatmap(rng.random(model.spatial_shape, np.float32), model.targets[0], "grad-cam", False, "") for _ in images
    ]
    other = load_package(model.package.folder, options=CPU)

    def mapped(asked_of: object, *_: object, **__: object) -> list[Heatmap]:
        if asked_of is other:
            raise RuntimeError
        return [Heatmap(rng.random(model.spatial_shape, np.float32), model.targets[0], "grad-cam", False, "")]

    monkeypatch.setattr(randomisation_check, "heatmaps", mapped)
    changed = [("25% of the weights", model), ("50% of the weights", model), ("100% of the weights", other)]
    check = randomisation_check.randomisation_check(model, "grad-cam", asked(images), drawn, changed, {}, 0)
    assert check[SIMILARITY]["50% of the weights"] is not None
    assert check["passed"] is False


def test_a_network_that_no_map_is_told_by_hides_no_map_that_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its last layer shuffled a network may be one that a method refuses: half and all of the weights tell."""
    model, refused = (
        load_package(package(tmp_path), options=CPU),
        load_package(package(tmp_path / "other"), options=CPU),
    )
    images = [nets.image("dense", seed).numpy() for seed in range(4)]
    maps = [Heatmap(edge_map(x), model.targets[0], "grad-cam", False, "") for x in images]

    def mapped(other: Model, x: np.ndarray, **_: object) -> list[Heatmap]:
        if other is refused:
            raise ExplanationError("nothing to explain")
        return [Heatmap(edge_map(x), model.targets[0], "grad-cam", False, "")]

    monkeypatch.setattr(randomisation_check, "heatmaps", mapped)
    changed = [("last layer", refused), ("50% of the weights", model), ("100% of the weights", model)]
    sanity = randomisation_check.randomisation_check(model, "grad-cam", asked(images), maps, changed, {}, 0)
    known = randomised_maps_of({"parameters": {}, "sanity": sanity})
    assert known is not None
    assert (known.independent, known.images) == (True, 4)


def test_the_reason_is_said_in_a_radiologists_words_in_every_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges(monkeypatch, grad_cam.GradCam)
    model = onboarded(package(tmp_path))
    x = nets.image("dense", 9).numpy()
    heatmap = explain(model, x, target=model.targets[0], method="grad-cam")
    assert isinstance(heatmap, Heatmap)
    card = assess(model, x, heatmap, budget=Budget(repeats=False))
    card = type(card)(tuple(one for one in card.measurements if one.name == NAME))
    templates = load_templates()
    said = {
        language: trust_in(card, templates.wording(language)).sentence for language in ("en", "de", "fr", "es", "ja")
    }
    assert said["en"] == "Not shown: it would look nearly the same if the model had learned nothing."
    assert len(set(said.values())) == 5


def test_where_nothing_can_stand_in_there_is_no_map_for_radiologists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges(monkeypatch, grad_cam.GradCam)
    edges(monkeypatch, occlusion.Occlusion)
    model = onboarded(package(tmp_path))
    preferred = preferred_map(model)
    assert preferred.method is None
    assert preferred.because == (
        "maps by grad-cam were nearly the same with the model's weights shuffled, and so were those by occlusion, "
        "which could stand in for it"
    )
    assert not {"grad-cam", "occlusion"} & set(expanded({"radiologist": {}}, model))


def test_what_can_not_be_made_is_not_said_to_be_nearly_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges(monkeypatch, grad_cam.GradCam)
    model = onboarded(package(tmp_path))
    refusal = ExplanationError("it takes too long")
    monkeypatch.setattr(audiences, "why_not", lambda method, _: refusal if method.name == "occlusion" else None)
    monkeypatch.setattr(audiences, "LOCAL_EVIDENCE", "no such method")
    preferred = preferred_map(model)
    assert preferred.method is None
    assert preferred.because.endswith("and occlusion, which could stand in for it, can't be made here")


FIGURE = {"value": 0.9, "low": 0.8, "high": 1.0}
FIGURES = {"hit_rate": FIGURE, "iou": FIGURE, "auprc": FIGURE}


def measured_on_boxes(model: Model, boxes: int = 50, **hits: int) -> dict[str, Any]:
    """The report of the model, with what its maps reached on boxes, as if they had been compared."""
    report: dict[str, Any] = json.loads(model.package.report.read_text())
    for name, count in hits.items():
        report["methods"].setdefault(name.replace("_", "-"), {})["localisation"] = {
            **{"hits": count, "boxes": boxes, "centre_prior_hits": 3, "images": boxes, "patients": boxes, "ahead": {}},
            **{"maps": {"hits": count, **FIGURES}, "baselines": {}, "targets": {}},
        }
    return report


def preferred_by(report: dict[str, Any], model: Model, *search: Path) -> PreferredMap:
    model.package.report.write_text(json.dumps(report))
    return preferred_map(load_package(model.package.folder, search=search, options=CPU))


def stays(report: dict[str, Any], method: str) -> None:
    report["methods"][method]["sanity"][ORDER_KEPT] |= {"50% of the weights": 0.93, "100% of the weights": 0.9}


def test_a_method_that_did_best_on_boxes_is_passed_over_all_the_same(tmp_path: Path) -> None:
    """Edges may hit boxes: they are no explanation of the model for that."""
    model = onboarded(package(tmp_path))
    report = measured_on_boxes(model, grad_cam=45, occlusion=20)
    found = "maps of this package hit {} of 50 boxed findings; the centre of the image hits 3"
    first = preferred_by(report, model)
    assert (first.method, first.because) == ("grad-cam", f"grad-cam did best of 2 methods: {found.format(45)}")
    stays(report, "grad-cam")
    second = preferred_by(report, model)
    assert (second.method, second.because) == (
        "occlusion",
        "of 2 methods that were measured only occlusion counts (maps by grad-cam don't depend on the weights): "
        + found.format(20),
    )


def test_of_those_that_were_passed_over_none_is_counted(tmp_path: Path) -> None:
    model = onboarded(package(tmp_path))
    report = measured_on_boxes(model, grad_cam=45, occlusion=20, layer_cam=10)
    stays(report, "grad-cam")
    assert preferred_by(report, model).because.startswith(
        "occlusion did best of 2 methods (maps by grad-cam don't depend on the weights): maps of this package hit 20"
    )


def test_many_boxes_are_not_called_few_where_no_measured_map_depends_on_the_weights(tmp_path: Path) -> None:
    model = onboarded(package(tmp_path))
    report = measured_on_boxes(model, grad_cam=45)
    stays(report, "grad-cam")
    preferred = preferred_by(report, model)
    unpreferred = "No method is preferred: 50 boxed findings, but maps by all methods that were measured don&#x27;t"
    assert unpreferred in page(report, model.package)
    assert preferred.method == "occlusion"
    assert preferred.because == (
        "maps by grad-cam were nearly the same with the model's weights shuffled; 50 boxed findings, but maps by all "
        "methods that were measured don't depend on the weights, so that nobody knows whether this map points at the "
        "right place"
    )
    report["methods"]["grad-cam"]["localisation"]["complete"] = False
    assert "no method was measured on all of the boxed findings, 50 at most" in preferred_by(report, model).because
    report = measured_on_boxes(model, boxes=19, grad_cam=15)
    stays(report, "grad-cam")
    assert "19 boxed findings, fewer than 20, are too few" in preferred_by(report, model).because


@pytest.mark.parametrize(
    ("half", "whole", "grade"),
    [
        (0.9, 0.81, Grade.RED),
        (0.9, 0.8, Grade.AMBER),
        (0.51, 1, Grade.AMBER),
        (0.5, 1, Grade.GREEN),
        (1, -1, Grade.GREEN),
    ],
)
def test_both_draws_of_other_weights_must_give_the_map_again(
    half: float, whole: float, grade: Grade, tmp_path: Path
) -> None:
    folder = package(tmp_path)
    onboarded(folder)
    path = folder / "onboarding" / "report.json"
    report = json.loads(path.read_text())
    report["methods"]["grad-cam"]["sanity"][ORDER_KEPT] |= {"50% of the weights": half, "100% of the weights": whole}
    path.write_text(json.dumps(report))
    assert measured(load_package(folder, options=CPU), "grad-cam")[NAME] is grade


def test_two_images_with_three_marked_targets_each_are_two_images(tmp_path: Path) -> None:
    folder = package(tmp_path)
    model = load_package(folder, options=CPU)
    box = np.zeros(model.spatial_shape, bool)
    box[4:12, 4:12] = True
    marks = dict.fromkeys(model.targets[:3], box)
    assert len(marks) == 3
    images = [OnboardingImage(nets.image("dense", seed).numpy(), marks) for seed in (1, 2)]
    report = onboard(model, images, only=["grad-cam"], this_machine=False)
    assert report["images"] == report["methods"]["grad-cam"]["sanity"]["images"] == 2
    assert NAME not in measured(load_package(folder, options=CPU), "grad-cam")


def test_three_images_and_reports_of_earlier_versions_say_nothing(tmp_path: Path) -> None:
    model = onboarded(package(tmp_path), count=3)
    assert NAME not in measured(model, "grad-cam")
    report = model.report() or {}
    for entry in report["methods"].values():
        del entry["sanity"][ORDER_KEPT]
    assert randomised_maps_in(report, model.package) == {}
    report["methods"]["grad-cam"]["sanity"][ORDER_KEPT] = "much"
    with pytest.raises(PackageError, match="the randomisation check of grad-cam is not as this version writes it"):
        randomised_maps_in(report, model.package)


# --- maps that are made of other maps --------------------------------------------------------------------------------
def kept_by(kept: float, **parameters: object) -> dict[str, Any]:
    sanity = {ORDER_KEPT: {"50% of the weights": kept, "100% of the weights": kept}, "images": 4, "passed": True}
    return {"parameters": parameters, "sanity": sanity}


@pytest.mark.parametrize(
    ("of", "grade"), [("grad-cam", Grade.RED), ("occlusion", Grade.GREEN), ("layer-cam", None), ("rise", None)]
)
@pytest.mark.parametrize("method", ["anatomy-constrained", "normal-contrast"])
def test_what_is_made_of_a_map_that_stays_is_withheld_with_it(
    method: str, of: str, grade: Grade | None, tmp_path: Path
) -> None:
    model = onboarded(package(tmp_path))
    report = json.loads(model.package.report.read_text())
    report["methods"] = {
        "grad-cam": kept_by(0.95),
        "occlusion": kept_by(0.1),
        "layer-cam": kept_by(0.1),
        method: kept_by(0.2, of="occlusion"),
    }
    model.package.report.write_text(json.dumps(report))
    card = maps_without_training(load_package(model.package.folder, options=CPU), method, of=of)
    assert [one.grade for one in card] == ([] if grade is None else [grade])
    del report["methods"][method]
    model.package.report.write_text(json.dumps(report))
    card = maps_without_training(load_package(model.package.folder, options=CPU), method, of=of)
    assert [one.grade for one in card] == ([Grade.RED] if of == "grad-cam" else [])


def test_a_cut_out_of_a_map_that_stays_is_not_the_map_for_radiologists(tmp_path: Path) -> None:
    anatomy_package(tmp_path)
    model = detector(tmp_path)
    hit = TargetHits(boxes=50, hits=40, centre_prior_hits=14)
    less = TargetHits(boxes=50, hits=30, centre_prior_hits=14)
    reached = {
        "anatomy-constrained": localisation_of({BRIGHT: hit}, of="grad-cam"),
        "occlusion": localisation_of({BRIGHT: less}),
    }
    onboarded_with(model.package.folder, reached)
    report = json.loads(model.package.report.read_text())
    report["methods"] |= {"grad-cam": kept_by(0.1)}
    assert preferred_by(report, model, tmp_path).method == "anatomy-constrained"
    report["methods"] |= {"grad-cam": kept_by(0.95)}
    assert preferred_by(report, model, tmp_path).method == "occlusion"


def test_onboarding_makes_no_map_of_one_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anatomy_package(tmp_path)
    model = detector(tmp_path)
    images = [OnboardingImage(lit(IN_RIGHT_LUNG), {BRIGHT: mask_of("right lung")}) for _ in range(20)]

    def of(independent: str) -> str:
        def check(_: Model, name: str, *__: object) -> dict[str, Any]:
            sanity: dict[str, Any] = kept_by(0.95 if name == independent else 0.1)["sanity"]
            return {**sanity, SIMILARITY: {}, "SSIM of unrelated maps": 0.2}

        monkeypatch.setattr(method_measuring, "randomisation_check", check)
        only = ["grad-cam", "layer-cam", "anatomy-constrained"]
        report = onboard(model, images, only=only, explained=2, this_machine=False)
        assert "localisation" in report["methods"][independent]
        return str(report["methods"]["anatomy-constrained"]["parameters"]["of"])

    assert of("grad-cam") == "layer-cam"
    assert of("layer-cam") == "grad-cam"
