"""The quality card: the measured trustworthiness of one explanation, and whether it may be shown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Aspect = Literal["engine", "fidelity", "sanity", "robustness", "complexity", "anatomy", "record", "scope", "case"]
CardQuestion = Literal["image", "model", "place"]
"""Is this image one the model was made for; is the map faithful to the model; does it lie where it can, and did this
package's maps prove right before."""
QUESTIONS: Mapping[CardQuestion, frozenset[Aspect]] = {
    "image": frozenset({"scope", "case"}),
    "model": frozenset({"engine", "fidelity", "sanity"}),
    "place": frozenset({"anatomy", "record"}),
}
"""What answers each question. Robustness and complexity are told and decide nothing: on radiographs with boxes they did
not tell right maps from wrong ones (docs/trust.md)."""
WITHHOLDING: frozenset[Aspect] = frozenset().union(*QUESTIONS.values())
"""Red in one of these withholds the explanation: whichever of the three questions fails."""


class Grade(StrEnum):
    """Green: as good as the threshold's source asks. Amber: shown with 'LOW RELIABILITY'. Red: see `withheld`."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


_ORDER = {Grade.GREEN: 0, Grade.AMBER: 1, Grade.RED: 2}


def worst_of(grades: Iterable[Grade]) -> Grade | None:
    """The worst of some grades; None of none."""
    return max(grades, key=_ORDER.__getitem__, default=None)


@dataclass(frozen=True)
class Measurement:
    """One metric of one explanation.

    `value` and `baseline` are in the metric's own unit (the baseline is what no explanation at all would reach, e.g.
    the mean over random orders); `rule` says in words how the grade follows; `source` names paper and section;
    `forwards` is the cost in forward passes of the model. Where value and baseline are shares of something that was
    counted, `of` says how many.
    """

    name: str
    aspect: Aspect
    value: float
    baseline: float | None
    grade: Grade
    rule: str
    source: str
    forwards: int = 0
    of: int | None = None

    def __post_init__(self) -> None:
        """What is no number was not measured, so it is green of nothing, whatever came of comparing it."""
        if self.grade is Grade.GREEN and not math.isfinite(self.value):
            object.__setattr__(self, "grade", Grade.RED)
            object.__setattr__(self, "rule", f"red: the value is no number; {self.rule}")


def largest_or_nan(numbers: Iterable[float]) -> float:
    """The largest of some numbers; NaN where one of them is, or where there are none.

    Python's `max` passes over a NaN that does not come first, and so a gap that nobody knows would be none.
    """
    known = list(numbers)
    return math.nan if not known or any(math.isnan(number) for number in known) else float(max(known))


@dataclass(frozen=True)
class QualityCard:
    """All measurements of one explanation."""

    measurements: tuple[Measurement, ...]

    @property
    def grade(self) -> Grade:
        """The overall grade: that of the worst of the three questions.

        A card without measurements is red: nothing is shown unmeasured.
        """
        return worst_of(self.answers.values()) or Grade.RED

    @property
    def answers(self) -> dict[CardQuestion, Grade]:
        """By question, the worst grade of what was measured about it; questions that nothing was measured of are left
        out. What decides no question is left out too."""
        graded = {
            question: worst_of(measurement.grade for measurement in self.measurements if measurement.aspect in aspects)
            for question, aspects in QUESTIONS.items()
        }
        return {question: grade for question, grade in graded.items() if grade is not None}

    @property
    def withheld(self) -> bool:
        """Whether the explanation must not be shown: red in one of the three questions, or not measured at all."""
        return self.grade is Grade.RED

    @property
    def concerns(self) -> tuple[Measurement, ...]:
        """The measurements that are not green and decide one of the three questions, worst first."""
        worse = (
            measurement
            for measurement in self.measurements
            if measurement.grade is not Grade.GREEN and measurement.aspect in WITHHOLDING
        )
        return tuple(sorted(worse, key=lambda measurement: -_ORDER[measurement.grade]))

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence for each concern, in English."""
        if not self.measurements:
            return ("not measured",)
        return tuple(
            f"{concern.name} {concern.value:.3g}"
            + (f" (baseline {concern.baseline:.3g})" if concern.baseline is not None else "")
            + f": {concern.grade.value}; {concern.rule}"
            for concern in self.concerns
        )

    @property
    def forwards(self) -> int:
        """Forward passes that the card cost."""
        return sum(measurement.forwards for measurement in self.measurements)
