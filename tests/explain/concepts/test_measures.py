"""Measures of images that nobody has to label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from explain.concepts.planted_concepts import SIZE, concept_package, images, model_of
from whyray.explain import Case, Context, Structure
from whyray.explain.concepts import measure_concepts, measured
from whyray.explain.concepts.measures import MEASURES, cardiothoracic_ratio
from whyray.inference import RuntimeOptions, load_package


def block(left: int, right: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[5:25, left:right] = True
    return mask


def case_with(tmp_path: Path, *structures: Structure) -> Case:
    return Case(model_of(concept_package(tmp_path)), images(1)[0], [0], context=Context(structures=structures))


def test_the_cardiothoracic_ratio_is_the_hearts_width_over_that_of_both_lungs(tmp_path: Path) -> None:
    lungs = Structure("Right lung", block(2, 12)), Structure("Left lung", block(18, 26))
    case = case_with(tmp_path, *lungs, Structure("Heart", block(10, 22)))
    assert cardiothoracic_ratio(case) == pytest.approx(12 / 24)


def test_without_a_heart_there_is_no_ratio(tmp_path: Path) -> None:
    case = case_with(tmp_path, Structure("Right lung", block(2, 12)), Structure("Left lung", block(18, 26)))
    assert np.isnan(cardiothoracic_ratio(case))


def test_measures_are_those_of_the_displayed_image(tmp_path: Path) -> None:
    shown = np.zeros((SIZE, SIZE), np.float32)
    shown[:, : SIZE // 2] = 1.0
    case = Case(model_of(concept_package(tmp_path)), images(1)[0], [0], context=Context(display=shown))
    values = measured(case)
    assert values["brightness"] == pytest.approx(0.5)
    assert values["contrast"] == pytest.approx(0.5)
    assert values["left minus right brightness"] == pytest.approx(1.0)
    assert values["upper minus lower brightness"] == pytest.approx(0.0)
    assert values["sharpness"] == pytest.approx(0.5 / (SIZE - 1))


def test_the_ratio_is_measured_only_where_a_package_knows_anatomy(tmp_path: Path) -> None:
    assert [concept.name for concept in measure_concepts(model_of(concept_package(tmp_path)))] == list(MEASURES)
    chest = load_package("cxr-findings@1", options=RuntimeOptions(device="cpu", intra_op_threads=1))
    assert measure_concepts(chest)[-1].name == "cardiothoracic ratio"
