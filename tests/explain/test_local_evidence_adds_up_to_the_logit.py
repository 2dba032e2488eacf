"""local-evidence: the terms of the package's own sum, where they are, and never believed where they don't add up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference import nets
from local_evidence import BIAS, CELL, SIZE, TARGETS, evidence_package, loaded, spot
from whyray.base.errors import ArtefactMissing, ExplanationError, PackageError
from whyray.explain import Heatmap, explain, explained_image, method_named, why_not
from whyray.explain.grid import upsample_sum
from whyray.inference import Model
from whyray.onboarding import check_package, checked_package, onboard
from whyray.packages import read_package
from whyray.quality import assess


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return loaded(evidence_package(tmp_path_factory.mktemp("packages")))


def told(model: Model, x: np.ndarray, target: str) -> Heatmap:
    heatmap = explain(model, x, target=target, method="local-evidence")
    assert isinstance(heatmap, Heatmap)
    return heatmap


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), target=st.sampled_from(TARGETS))
def test_bias_and_the_sum_of_the_map_are_the_logit_of_any_image(model: Model, seed: int, target: str) -> None:
    x = np.random.default_rng(seed).random((1, 1, SIZE, SIZE), np.float32)
    heatmap, number = told(model, x, target), TARGETS.index(target)
    logit = float(model.logits(x)[0, number])
    assert BIAS[number] + heatmap.values.sum(dtype=np.float64) == pytest.approx(logit, abs=1e-4)
    assert heatmap.evidence["completeness_gap"] < 1e-4
    assert (heatmap.unit, heatmap.signed, heatmap.layer) == ("logit", True, "evidence")


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 5), (7, 7)])
def test_the_map_is_largest_where_the_evidence_is_and_speaks_against_the_other_target(
    model: Model, row: int, column: int
) -> None:
    x = spot(row, column)
    place = np.unravel_index(told(model, x, "bright").values.argmax(), (SIZE, SIZE))
    assert (place[0] // CELL, place[1] // CELL) == (row, column)
    against = told(model, x, "dark").values
    assert against.max() < 0
    assert np.unravel_index(against.argmin(), (SIZE, SIZE)) == place


@pytest.mark.parametrize("shape", [(5, 7), (16, 23), (8, 8), (40, 9)])
def test_spreading_cells_over_a_finer_grid_keeps_their_sum(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    assert upsample_sum(values, shape).sum(axis=(1, 2)) == pytest.approx(values.sum(axis=(1, 2)), abs=1e-4)


def test_the_map_comes_with_the_answer_without_another_pass(model: Model) -> None:
    image = explained_image(model, spot(1, 1))
    assert image.run.logits.size
    before = model.session.forwards
    explain(model, image, target="bright", method="local-evidence")
    assert model.session.forwards == before


def test_its_card_measures_that_it_adds_up(model: Model) -> None:
    x = spot(3, 3)
    card = assess(model, x, told(model, x, "bright"))
    gap = next(measurement for measurement in card.measurements if measurement.name == "completeness gap")
    assert gap.value is not None
    assert gap.value < 1e-4


def test_a_package_in_order_is_told_of_and_onboarded(tmp_path: Path) -> None:
    folder = evidence_package(tmp_path)
    assert [finding.severity for finding in check_package(folder)] == ["warning"]  # that it is not onboarded
    assert "local evidence: of 'evidence'" in " ".join(checked_package(folder).explained)
    report = onboard(loaded(folder), [spot(1, 2), spot(4, 4)], only=["local-evidence"], this_machine=False)
    assert report["local evidence"]["largest gap of a sum"] < 1e-4
    assert sum(report["methods"]["local-evidence"]["grades"].values()) == 2


@pytest.mark.parametrize("fault", [{"scale": 0.9}, {"scale": 1e-6}])
def test_evidence_that_is_not_the_answer_is_refused_by_check_onboarding_and_explanation(
    tmp_path: Path, fault: dict[str, float]
) -> None:
    folder = evidence_package(tmp_path, **fault)
    errors = [finding for finding in check_package(folder) if finding.severity == "error"]
    assert "the answer is not evidence.bias plus the sum of 'evidence'" in errors[0].message
    assert "leave evidence out" in errors[0].advice
    model = loaded(folder)
    with pytest.raises(PackageError, match=r"is not evidence\.bias plus"):
        onboard(model, [spot(0, 0)])
    assert not model.package.report.exists()
    with pytest.raises(ExplanationError, match="off the answer by"):
        told(model, spot(0, 0), "bright")


def test_a_wrong_bias_is_refused_with_the_right_one(tmp_path: Path) -> None:
    errors = [
        finding for finding in check_package(evidence_package(tmp_path, missing=0.25)) if finding.severity == "error"
    ]
    assert errors[0].advice == "Set evidence.bias to [-1.75, 1.75]."


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"evidence": {"output": "elsewhere"}}, "evidence.output says 'elsewhere'"),
        ({"evidence": {"output": "logits", "bias": 0.0}}, "has shape"),
    ],
)
def test_a_tensor_that_is_no_evidence_is_refused_with_its_name(tmp_path: Path, changes: dict, words: str) -> None:
    errors = [
        finding for finding in check_package(evidence_package(tmp_path, **changes)) if finding.severity == "error"
    ]
    assert words in errors[0].message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"evidence": {"output": "evidence", "bias": [0.0]}}, "evidence.bias needs one number, or 2"),
        ({"task": "segmentation"}, "evidence is for classification, multi-label, regression"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict, words: str) -> None:
    with pytest.raises(PackageError, match=words):
        read_package(evidence_package(tmp_path, **changes))


def test_a_package_without_evidence_is_told_what_it_lacks() -> None:
    refusal = why_not(method_named("local-evidence"), nets.loaded("plain"))
    assert isinstance(refusal, ArtefactMissing)
    assert "under evidence in model.yaml" in str(refusal.advice)
