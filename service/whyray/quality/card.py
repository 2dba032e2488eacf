"""The quality card: the measured trustworthiness of one explanation, and whether it may be shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Aspect = Literal["engine", "fidelity", "sanity", "robustness", "complexity", "anatomy", "case"]
WITHHOLDING: frozenset[Aspect] = frozenset({"engine", "fidelity", "sanity"})


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
    `forwards` is the cost in forward passes of the model.
    """

    name: str
    aspect: Aspect
    value: float
    baseline: float | None
    grade: Grade
    rule: str
    source: str
    forwards: int = 0


@dataclass(frozen=True)
class QualityCard:
    """All measurements of one explanation."""

    measurements: tuple[Measurement, ...]

    @property
    def grade(self) -> Grade:
        """The overall grade: red if withheld; else amber if any measurement is amber or red; else green.

        A card without measurements is red: nothing is shown unmeasured.
        """
        if self.withheld:
            return Grade.RED
        worst = max((_ORDER[measurement.grade] for measurement in self.measurements), default=2)
        return Grade.GREEN if worst == 0 else Grade.AMBER

    @property
    def withheld(self) -> bool:
        """Whether the explanation must not be shown: red in engine, fidelity or sanity, or not measured at all."""
        return not self.measurements or any(
            measurement.grade is Grade.RED and measurement.aspect in WITHHOLDING for measurement in self.measurements
        )

    @property
    def concerns(self) -> tuple[Measurement, ...]:
        """The measurements that are not green, worst first."""
        worse = (measurement for measurement in self.measurements if measurement.grade is not Grade.GREEN)
        return tuple(sorted(worse, key=lambda each: -_ORDER[each.grade]))

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
