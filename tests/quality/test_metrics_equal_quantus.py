from __future__ import annotations

import numpy as np
import pytest

from explain.references import reference
from whyray.quality.complexity import entropy, gini


def test_sparseness_is_that_of_quantus() -> None:
    quantus = reference("quantus")
    values = np.abs(np.random.default_rng(0).normal(size=(40, 30))).ravel()
    expected = quantus.Sparseness(disable_warnings=True).evaluate_batch(values[None], values[None].copy())
    assert gini(values) == pytest.approx(float(expected[0]), abs=1e-3)


def test_entropy_is_that_of_quantus() -> None:
    quantus = reference("quantus")
    values = np.abs(np.random.default_rng(1).normal(size=600))
    expected = quantus.Complexity(disable_warnings=True).evaluate_batch(values[None], values[None].copy())
    assert entropy(values) == pytest.approx(float(expected[0]), rel=1e-6)
