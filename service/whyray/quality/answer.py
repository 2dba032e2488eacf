"""Whether there is something to explain: maps of findings that a model all but excludes point anywhere."""

from __future__ import annotations

import math

from whyray.explain import Case
from whyray.inference import target_spec
from whyray.quality.card import Grade, Measurement

NAME = "answer against its threshold"
SPOKEN, SILENT = 0.4, 1 / 8
"""Odds of the answer over odds of its threshold, which no prevalence that a site sets changes. Chosen on folds 0 to 2
of cxr-opacity's boxes so that at most a tenth of right maps is withheld; docs/trust.md says what folds 3 and 4 gave."""
_SOURCE = "docs/trust.md: maps of radiographs with radiologists' boxes, by weights that had not seen the patients"


def answer_against_threshold(case: Case) -> list[Measurement]:
    """How far the answer about the case's first target lies below its threshold, as a ratio of odds, 0 or more.

    Nothing for a segmentation or a regression, whose answers are no probabilities. No forward pass.
    """
    model = case.model
    if model.task in ("segmentation", "regression"):
        return []
    target = case.targets[0]
    probability = float(model.answer(case.run.logits)[0, target])
    ratio = _odds(probability) / _odds(target_spec(model, model.targets[target]).threshold)
    grade = Grade.GREEN if ratio >= SPOKEN else Grade.AMBER if ratio >= SILENT else Grade.RED
    rule = (
        f"odds of the answer over odds of its threshold; green from {SPOKEN:g}, red below {SILENT:.2g}: there is "
        "nothing that a map could show"
    )
    return [Measurement(NAME, "record", ratio, 1.0, grade, rule, _SOURCE)]


def _odds(probability: float) -> float:
    held = min(max(probability, 1e-9), 1 - 1e-9)
    return held / (1 - held) if math.isfinite(held) else 0.0
