"""Probabilities for another prevalence than the one that a calibration was fitted at.

Saerens, Latinne and Decaestecker 2002 (Neural Computation 14), eq. 2.4: where only the prevalence differs, and what a
finding looks like does not, the odds of each answer are multiplied by the ratio of the odds of the new prevalence to
those of the old. For one finding, answered yes or no, that is a constant added to the log odds.
"""

from __future__ import annotations

import math

from whyray.packages.manifest import TargetSpec


def log_odds(probability: float) -> float:
    """ln(p / (1 - p)); minus and plus infinity at 0 and 1."""
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability) - math.log1p(-probability)


def from_log_odds(value: float) -> float:
    """The probability with these log odds."""
    return 0.5 * (1 + math.tanh(0.5 * value))


def shift_between(stated: float, prevalence: float) -> float:
    """What is added to the log odds of an answer that holds at `stated` (0..1), so that it holds at `prevalence`."""
    return log_odds(prevalence) - log_odds(stated)


def at_prevalence(target: TargetSpec, prevalence: float) -> TargetSpec:
    """The target as it is answered at another prevalence (0..1, neither end).

    Probability and threshold move together, so that whoever is called present stays so. The logit that explanations
    are of stays as it is: the shift is part of the calibration.

    Raises
    ------
    ValueError
        If the package states no prevalence for this target: nobody knows what to move from.
    """
    if target.prevalence is None or target.calibration is None:
        raise ValueError(f"the package states no prevalence for {target.name!r}")
    a, b = target.calibration
    shift = shift_between(target.prevalence, prevalence)
    return target.model_copy(
        update={
            "calibration": (a, b + shift),
            "threshold": from_log_odds(log_odds(target.threshold) + shift),
            "prevalence": prevalence,
        }
    )
