"""Why a card is not green, said in the language of the page."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import whyray.quality
from whyray.base.errors import (
    ArtefactMissing,
    ConfigError,
    ExplanationError,
    GeometryError,
    InternalError,
    ModelOutputError,
    PackageError,
    TierMissing,
)
from whyray.quality import Grade, Measurement, QualityCard, salient_region
from whyray.results import load_templates
from whyray.results.reasons import reasons_in
from whyray.results.refusal import Refusal, RefusalReason

LANGUAGES = ("de", "es", "fr", "ja")
_BY_FORMAT = {
    "name.replace('_gap', ' gap')": {"completeness gap", "conservation gap"},
    "POSITION": {"likeness to ordinary images"},
    "DISTANCE": {"distance from ordinary images"},
    "OWN_REFERENCES": {"distance from the package's references"},
    "ANATOMY": {"anatomy that can be"},
    "PART_OF_GRID": {"part of the grid"},
    "NAME": {
        "answer against its threshold",
        "answers as when it was onboarded",
        "weights that learned nothing",
    },
    "RECORD": {"maps that hit what readers marked"},
    "NO_RECORD": {"marks that such maps were compared with"},
    "DIFFERING": {"answers that differ between images"},
    "STATED_ORIENTATION": {"stated orientation"},
    "measured.name": set(),  # the same measurement, with what it cost this time
    "f'stability under {name}'": {"stability under noise", "stability under 1-pixel shift"},
}


STATED = {"stated body part", "stated view"}
"""What `whyray.jobs.scope` measures of headers."""


def measured_names() -> set[str]:
    """All names that `whyray.quality` gives to measurements, read from its code."""
    names: set[str] = set()
    for path in Path(whyray.quality.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
        passing_on = {
            function.name
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef) and function.args.args[:1] and function.args.args[0].arg == "name"
        }
        for call in calls:
            if call.func.id not in {"Measurement", *passing_on} or not call.args:  # type: ignore[attr-defined]
                continue
            given = call.args[0]
            if isinstance(given, ast.Constant):
                names.add(given.value)
            elif ast.unparse(given) != "name":
                names |= _BY_FORMAT[ast.unparse(given)]
            else:
                named = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and _assigns_name(node)]
                names |= {assignment.value.value for assignment in named if isinstance(assignment.value, ast.Constant)}
    return names


def _assigns_name(assignment: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "name" for target in assignment.targets)


def card(*measurements: tuple[str, float, float | None, Grade]) -> QualityCard:
    return QualityCard(
        tuple(
            Measurement(name, "fidelity", value, baseline, grade, "SSIM; green from 0.8, red below 0.5", "ours")
            for name, value, baseline, grade in measurements
        )
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_a_word_for_every_measurement_and_for_nothing_else(language: str) -> None:
    names = measured_names() | STATED
    assert len(names) > 60
    assert set(load_templates().wording(language).measured.names) == names


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_measurements_are_called_the_same(language: str) -> None:
    words = list(load_templates().wording(language).measured.names.values())
    assert len(set(words)) == len(words)


def test_english_reasons_are_those_of_the_card() -> None:
    grade_card = card(("stability under noise", 0.697, None, Grade.AMBER), ("deletion AUC", 0.5, 0.4, Grade.RED))
    assert reasons_in(grade_card, load_templates().wording("en")) == grade_card.reasons
    assert reasons_in(QualityCard(()), load_templates().wording("en")) == QualityCard(()).reasons


def test_german_reasons_name_the_measurement_its_value_and_its_grade_worst_first() -> None:
    grade_card = card(
        ("entropy", 0.1, None, Grade.GREEN),
        ("stability under noise", 0.697, None, Grade.AMBER),
        ("deletion AUC", 0.5, 0.4, Grade.RED),
    )
    assert reasons_in(grade_card, load_templates().wording("de")) == (
        "Lösch-AUC 0,5 (Vergleichswert 0,4): rot",
        "Stabilität bei Rauschen 0,697: gelb",
    )


def test_a_name_that_a_site_left_out_stays_as_it_is() -> None:
    wording = load_templates().wording("fr")
    bare = wording.model_copy(update={"measured": wording.measured.model_copy(update={"names": {}})})
    assert reasons_in(card(("entropy", 0.1, None, Grade.AMBER)), bare) == ("entropy 0,1 : orange",)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("peak", [0.0, 1.0])
def test_every_language_has_words_for_every_rule_of_a_region(language: str, signed: bool, peak: float) -> None:
    _, rule = salient_region(np.full((2, 2), peak, np.float32), None, signed)
    assert rule in load_templates().wording(language).region_rules


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_no_reason_why_a_method_could_not_explain_lacks_a_translation(language: str) -> None:
    """They were the errors' own words: English in every language, with paths of files."""
    words, english = (load_templates().wording(code).refusals for code in (language, "en"))
    assert words.model_fields_set == set(get_args(RefusalReason))
    for reason in get_args(RefusalReason):
        said = words.clause(Refusal(reason, "/srv/model.onnx"))
        assert said
        assert "/" not in said
        assert language == "en" or said != english.clause(Refusal(reason, ""))


def test_every_error_that_a_method_may_raise_has_a_reason() -> None:
    reasons = {
        TierMissing("x"): "model",
        ArtefactMissing("x"): "missing",
        PackageError("x"): "missing",
        ConfigError("x"): "settings",
        GeometryError("x"): "image",
        ModelOutputError("x"): "answer",
        ExplanationError("x"): "no_result",
        InternalError("x"): "defect",
    }
    assert {error: Refusal.of(error).reason for error in reasons} == reasons
    assert set(reasons.values()) == set(get_args(RefusalReason))
