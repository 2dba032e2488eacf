"""How alike two maps are is what SciPy says, without the second that loading its statistics takes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from whyray.quality.similarity import rank_correlation

MAPS = arrays(np.float32, (4, 5), elements=st.integers(-6, 6).map(float))


@settings(max_examples=100, deadline=None)
@given(first=MAPS, second=MAPS)
def test_rank_correlation_is_scipys_with_ties_and_without(first: np.ndarray, second: np.ndarray) -> None:
    correlation = rank_correlation(first, second)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        assert correlation == 0.0
    else:
        assert correlation == pytest.approx(spearmanr(first.ravel(), second.ravel()).statistic, abs=1e-12)


def test_rank_correlation_of_a_volume_needs_no_scipy_stats() -> None:
    code = """
import sys
import numpy as np
from whyray.quality.similarity import rank_correlation
values = np.random.default_rng(0).random((3, 20, 20), np.float32)
assert rank_correlation(values, values**3) > 0.999999
assert rank_correlation(values, -values) < -0.999999
print("scipy.stats" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
