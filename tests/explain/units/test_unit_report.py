"""unit-report finds planted detectors, adds up, and agrees with torch hooks."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explain.units import detectors
from inference import nets
from whyray.base.errors import ArtefactMissing, ExplanationError, PackageError
from whyray.explain import NOTHING, Case, UnitReport, explain, explainable, explained_image, method_named, why_not
from whyray.explain.units import contributions, layer_named
from whyray.explain.units.artefact import LEVELS, Units
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import UnitImage, UnitSurveyOptions, survey_units
from whyray.packages import write_artefact
from whyray.quality import Grade, assess_typed

DAY = date(2026, 1, 2)


def with_units(model: Model, images: list[UnitImage], layer: str | None = None, **wanted: object) -> Model:
    survey = survey_units(
        model,
        images,
        layer_named(model, layer),
        wanted=UnitSurveyOptions(**wanted),  # type: ignore[arg-type]
        source="made by the test",
        licence="none",
        made=DAY,
        synthetic=False,
        rng=np.random.default_rng(0),
    )
    folder = model.package.folder / "onboarding"
    write_artefact(folder / "units.npz", survey.facts, survey.arrays)
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = detectors.package(tmp_path_factory.mktemp("units"))
    return with_units(detectors.load(path), detectors.references())


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return detectors.picture(99)[0][None, None]


def report(model: Model, image: np.ndarray, target: str = "bright", **parameters: object) -> UnitReport:
    explanation = explain(model, image, target=target, method="unit-report", **parameters)
    assert isinstance(explanation, UnitReport)
    return explanation


def test_the_planted_detector_carries_its_answer(model: Model, image: np.ndarray) -> None:
    bright, edges = report(model, image), report(model, image, "edges")
    assert bright.units[0].unit == 0
    assert edges.units[0].unit == 2
    assert bright.units[0].contribution > 0


def test_contributions_and_the_base_sum_to_the_logit(model: Model, image: np.ndarray) -> None:
    explanation = report(model, image, units=4)
    assert explanation.unit_count == 4
    assert explanation.base == pytest.approx(float(detectors.BIAS[0]))
    assert explanation.base + sum(unit.contribution for unit in explanation.units) == pytest.approx(
        explanation.total, abs=1e-5
    )
    assert explanation.total == pytest.approx(float(model.session.run(image).logits[0, 0]))
    assert explanation.evidence["completeness_gap"] < 1e-5


def test_a_unit_that_nothing_hears_has_no_effect(model: Model, image: np.ndarray) -> None:
    deaf = next(unit for unit in report(model, image, units=4).units if unit.unit == 1)
    assert deaf.contribution == 0
    assert deaf.ablation == 0


def test_ablation_is_the_change_with_the_unit_at_its_mean(model: Model, image: np.ndarray) -> None:
    unit = report(model, image).units[0]
    mean = np.mean([model.session.run(reference.x).features[0, 0] for reference in detectors.references()])
    assert unit.ablation == pytest.approx(-(unit.contribution - float(detectors.HEAD[0, 0]) * mean), abs=1e-4)
    assert abs(unit.ablation) > 0.1


def test_what_is_the_same_in_many_references_is_not_below_itself() -> None:
    """A unit behind a ReLU that is silent in six of ten references, as it is here, is not stronger than these."""
    references = np.concatenate([np.zeros(60), np.linspace(0.1, 1, 40)])
    quantiles = np.quantile(references, LEVELS)[None].astype(np.float32)
    artefact: Any = None
    units = Units(artefact, "layer", np.zeros(1), quantiles, (), np.array([-1], np.int16), np.zeros(1, np.float32))
    assert units.percentile(0, 0.0) == 0
    assert units.percentile(0, 0.1) == pytest.approx(60, abs=2.5)
    assert units.percentile(0, 0.55) == pytest.approx(80, abs=2.5)
    assert units.percentile(0, 1.5) == 100
    assert np.isnan(units.percentile(0, float("nan")))


def test_percentiles_lie_between_the_references(model: Model) -> None:
    dark, bright = np.full((1, 1, 32, 32), 0.3, np.float32), np.full((1, 1, 32, 32), 1.0, np.float32)
    unit = {unit.unit: unit for unit in report(model, dark, units=4).units}[0]
    assert unit.percentile == 0
    assert {unit.unit: unit for unit in report(model, bright, units=4).units}[0].percentile == 100


def test_the_detector_is_named_by_dissection_and_shows_what_excites_it(model: Model, image: np.ndarray) -> None:
    unit = report(model, image).units[0]
    assert unit.concept == "blob"
    assert unit.iou is not None
    assert unit.iou > 0.04
    assert unit.patches is not None
    assert unit.patches.shape[0] == 4
    assert (unit.patches.max(axis=(1, 2)) > 0.8).all()
    assert unit.activation_map is not None
    assert unit.activation_map.shape == (32, 32)


@pytest.mark.parametrize("name", ["plain", "flatten", "dense", "unet"])
def test_contributions_equal_a_torch_hooks_gradient_times_activation(name: str, tmp_path: Path) -> None:
    model = load_package(nets.pack(tmp_path, name), options=RuntimeOptions(intra_op_threads=1))
    net, x = nets.make(name), nets.image(name)
    targets = [model.target_index(target) for target in explainable(explained_image(model, x.numpy()))]
    case = Case(model, x.numpy(), targets, context=NOTHING)
    contributed = contributions(case, layer_named(model, None), np.zeros(1, np.float32))
    taken: list[torch.Tensor] = []

    def hook(module: torch.nn.Module, given: object, answer: torch.Tensor) -> None:
        answer.retain_grad()
        taken.append(answer)

    net.last.register_forward_hook(hook)
    for row, target in enumerate(targets):
        taken.clear()
        logits = net(x.clone().requires_grad_(True))[0, target]
        score = logits if case.regions is None else (logits * torch.from_numpy(case.regions[row])).sum()
        score.backward()
        theirs = (taken[0].grad * taken[0]).flatten(2).sum(dim=2)[0].detach().numpy()
        np.testing.assert_allclose(contributed.values[row], theirs, atol=1e-4 * np.abs(theirs).max())
        if contributed.base is not None:
            assert float(contributed.base[row] + contributed.values[row].sum()) == pytest.approx(float(score), abs=1e-3)
    assert (contributed.base is None) == (name == "flatten")


def test_ablation_ranks_where_the_head_has_no_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier layer has no closed form and no gradient of its own: ablation by re-running what follows it."""
    model = detectors.load(detectors.package(tmp_path, hidden=True))
    case = Case(model, detectors.picture(5)[0][None, None], [0], context=NOTHING)
    contributed = contributions(case, layer_named(model, "shifted"), np.full(4, -1.0, np.float32))
    assert contributed.how == "ablation"
    assert int(np.abs(contributed.values[0]).argmax()) == 0
    assert contributed.values[0, 1] == 0


def test_without_the_artefact_it_is_refused_by_name_with_the_command(tmp_path: Path) -> None:
    model = detectors.load(detectors.package(tmp_path))
    refusal = why_not(method_named("unit-report"), model)
    assert isinstance(refusal, ArtefactMissing)
    assert "whyray package units" in refusal.advice


def test_an_artefact_of_another_layer_is_refused(model: Model, image: np.ndarray) -> None:
    with pytest.raises(PackageError, match="made of the layer 'features'"):
        report(model, image, layer="shifted")
    with pytest.raises(ExplanationError, match="no tensor of units"):
        report(model, image, layer="logits")


def test_units_of_another_layer_are_told_where_that_layer_is_asked_for(tmp_path: Path, image: np.ndarray) -> None:
    model = with_units(detectors.load(detectors.package(tmp_path)), detectors.references(), layer="shifted")
    assert why_not(method_named("unit-report"), model) is not None
    assert why_not(method_named("unit-report"), model, {"layer": "shifted"}) is None
    assert report(model, image, layer="shifted").units


@pytest.mark.parametrize("name", ["network-dissection", "activation-maximisation"])
def test_what_describes_a_package_is_refused_in_routes_with_a_clear_word(name: str, model: Model) -> None:
    refusal = why_not(method_named(name), model)
    assert refusal is not None
    assert "no single answer" in refusal.message
    assert "whyray package units" in refusal.advice


def test_a_true_report_is_graded_better_than_forged_ones(model: Model, image: np.ndarray) -> None:
    from dataclasses import replace

    true = report(model, image, units=2)
    card = assess_typed(model, image, true, context=NOTHING)
    graded = {measurement.name: measurement.grade for measurement in card.measurements}
    assert not card.withheld, card.reasons
    assert graded["engine parity"] is graded["contributions add up"] is graded["numbers re-derived"] is Grade.GREEN
    first, *rest = true.units
    forged = replace(true, units=(replace(first, contribution=first.contribution + 0.5), *rest))
    assert assess_typed(model, image, forged, context=NOTHING).withheld
    silent = next(unit for unit in report(model, image, units=4).units if unit.unit == 1)
    empty = replace(true, units=(silent,))
    assert assess_typed(model, image, empty, context=NOTHING).withheld


def test_the_report_keeps_the_models_maps_on_real_radiographs(shared_data: Path, tmp_path: Path) -> None:
    from PIL import Image

    from whyray.packages import copy_package, find_package

    path = copy_package(find_package("cxr-findings@1", ()), tmp_path)
    bundled = load_package(path, options=RuntimeOptions(intra_op_threads=1))
    files = sorted((shared_data / "nih-cxr" / "images").glob("*.png"))[8:20]
    pictures = [np.asarray(Image.open(file).convert("L").resize((224, 224)), np.float32) / 255 for file in files]
    with_units(bundled, [UnitImage(picture[None, None], picture) for picture in pictures[:10]], units_with_patches=8)
    explanation = report(bundled, pictures[11][None, None], "Effusion")
    assert explanation.evidence["completeness_gap"] < 1e-3
    card = assess_typed(bundled, pictures[11][None, None], explanation, context=NOTHING)
    named = {measurement.name: measurement for measurement in card.measurements}
    assert named["units needed"].value > (named["units needed"].baseline or 0)
    assert named["changes with the weights"].value <= 0.5
    assert not card.withheld, card.reasons
