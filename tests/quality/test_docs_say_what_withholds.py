"""docs/explanations.md names the thresholds that the code has."""

from __future__ import annotations

from pathlib import Path

import pytest

from whyray.explain.anatomy import LEAST_INSIDE
from whyray.quality import anatomy, assess, complexity, fidelity, known_answers, robustness
from whyray.quality.card import WITHHOLDING
from whyray.quality.case_space import SHARE

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "explanations.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("metric", "green", "red"),
    [
        ("engine parity", "≤ 0.001", "> 0.01"),
        ("completeness gap, conservation gap", "≤ 5 %", "> 20 %"),
        ("kept by biases", "≤ 20 %", "> 50 %"),
        ("target-swap similarity", "< 0.95", "never"),
        ("repeatability", "≥ 0.6", "< 0.3"),
        ("stability under noise, under 1-pixel shift", "≥ 0.8", "< 0.5"),
        ("sparseness", "≥ 0.2", "never"),
        ("insertion - deletion AUC", "1 standard deviation above random orders", "below"),
        ("answers as when it was onboarded", "≤ 0.02", "> 0.1"),
        ("made again", "≤ 0.05", "> 0.05"),
        ("share inside anatomy", "≥ 60 %", "< 50 %"),
    ],
)
def test_the_table_of_the_card_has_these_thresholds(metric: str, green: str, red: str) -> None:
    cells = next(line.split("|") for line in PAGE.splitlines() if line.startswith(f"| {metric} |"))
    assert cells[4].strip() == green
    assert cells[5].strip().startswith(red)


def test_and_they_are_those_of_the_code() -> None:
    import importlib

    engine = importlib.import_module(assess.__module__)
    assert (engine.PARITY_GREEN, engine.PARITY_RED) == (0.001, 0.01)
    assert (fidelity.COMPLETE, fidelity.INCOMPLETE) == (0.05, 0.2)
    assert (fidelity.PLACED, fidelity.LOST) == (0.2, 0.5)
    assert robustness.SAME_MAP == 0.95
    assert (robustness.REPEATED, robustness.UNREPEATED) == (0.6, 0.3)
    assert (robustness.STABLE, robustness.UNSTABLE) == (0.8, 0.5)
    assert complexity.SPARSE == 0.2
    assert SHARE == 0.95
    assert (anatomy.SURELY_INSIDE, LEAST_INSIDE) == (0.6, 0.5)
    assert (known_answers.SAME, known_answers.OTHER) == (0.02, 0.1)
    assert (robustness.AGAIN, fidelity.BETTER) == (0.05, 1.0)
    assert "whichever of the three questions fails" in PAGE
    assert {"engine", "fidelity", "sanity", "anatomy", "record", "scope", "case"} == WITHHOLDING
