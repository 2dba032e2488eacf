"""Where a map points: the salient region, by a rule that can be said in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FRACTION = 0.5
"""Of the maximum: above the 15-20 % of CAM boxes (Zhou et al. 2016, section 3.2), which flood a radiograph."""


def salient_region(
    values: NDArray[np.float32], valid: NDArray[np.bool_] | None, signed: bool, *, fraction: float = FRACTION
) -> tuple[NDArray[np.bool_], str]:
    """The places that count most for the target, and the rule in words. Empty where nothing counts for it.

    `values` in any spatial shape; `valid` is False where the map must not be believed (padding) or None. Of a signed
    map only positive values count: those that speak for the target.
    """
    # most maps are valid everywhere and finite: then nothing is copied
    positive = values if valid is None or valid.all() else np.where(valid, values, 0)
    peak = float(positive.max(initial=0))
    if not np.isfinite(peak):
        positive = np.where(np.isfinite(positive), positive, 0)
        peak = float(positive.max(initial=0))
    least, rule = salient_from(peak, signed=signed, fraction=fraction)
    if least is None:
        return np.zeros(values.shape, bool), rule
    return np.asarray(positive >= least), rule


def salient_from(peak: float, *, signed: bool, fraction: float = FRACTION) -> tuple[float | None, str]:
    """From which value on a place counts most, where `peak` is the largest, and the rule in words; None: none does."""
    rule = f"at least {fraction:.0%} of the {'largest positive value' if signed else 'maximum'}"
    if peak <= 0:
        return None, f"{rule}; nothing is positive"
    return fraction * peak, rule
