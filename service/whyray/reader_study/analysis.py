"""What the answers of a reader study say: with explanation, without, and the difference, each with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import DoubleArray
from whyray.base.errors import ConfigError
from whyray.reader_study.agreement import fleiss_kappa, krippendorff_alpha, mean_cohen_kappa
from whyray.reader_study.bootstrap import Draws, Estimate, draw, estimate, mean_auc, weighted_mean
from whyray.reader_study.design import Condition, ReadingFact
from whyray.reader_study.kit import Truth

CONDITIONS: tuple[Condition, Condition] = ("with", "without")


@dataclass(frozen=True)
class Measure:
    """A figure of a condition: its name, its meaning in words, and in which direction it is better (0: neither)."""

    name: str
    meaning: str
    better: int


MEASURES: tuple[Measure, ...] = (
    Measure("accuracy", "share of answers that are right", 1),
    Measure("sensitivity", "share of present findings that readers call present", 1),
    Measure("specificity", "share of absent findings that readers call absent", 1),
    Measure("auc", "area under the ROC curve of answer and confidence, averaged over readers", 1),
    Measure("confidence", "mean confidence", 0),
    Measure("seconds", "geometric mean of the time a case took, in seconds; breaks left out", -1),
    Measure("reliance", "share of answers like the model's, where the model is right", 1),
    Measure("over-reliance", "share of answers like the model's, where the model is wrong", -1),
    Measure("agreement", "Krippendorff's alpha of the answers, nominal; interval over cases alone", 1),
)
RATIOS = frozenset({"seconds"})
"""Measures that are compared as a ratio (with / without) instead of a difference."""


@dataclass(frozen=True)
class Agreement:
    """Agreement between readers in one condition; None where it can't be had."""

    krippendorff_alpha: float | None
    krippendorff_alpha_confidence: float | None
    """Of confidence towards 'present', ordinal."""
    fleiss_kappa: float | None
    mean_cohen_kappa: float | None


@dataclass(frozen=True)
class ReaderFigures:
    """One reader's figures in one condition."""

    reader: str
    condition: Condition
    readings: int
    accuracy: float | None
    confidence: float | None
    seconds: float | None
    over_reliance: float | None


@dataclass(frozen=True)
class Analysis:
    """Everything that a report shows; measures by name.

    `differences` are with minus without (with over without for `RATIOS`), from the same draws.
    """

    conditions: dict[Condition, dict[str, Estimate]]
    differences: dict[str, Estimate]
    agreement: dict[Condition, Agreement]
    readers: tuple[ReaderFigures, ...]
    readings: dict[Condition, int]
    timed: dict[Condition, int]
    cases: int
    model_accuracy: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Table:
    """The answers of one condition as arrays (readers, cases), NaN where there is none."""

    present: DoubleArray
    confidence: DoubleArray
    log_seconds: DoubleArray


def analyse(facts: Sequence[ReadingFact], truth: Truth, *, draws: int = 2000, seed: int = 0) -> Analysis:
    """All figures, with 95 % intervals by bootstrap over readers and cases.

    Raises
    ------
    ConfigError
        If there is no answer, or an answer is about a case that the truth does not name.
    """
    known = {true_case.number: true_case for true_case in truth.cases}
    strange = sorted({fact.case for fact in facts} - set(known))
    if not facts or strange:
        raise ConfigError(
            f"answers about {', '.join(strange)}, which the truth does not name" if strange else "there is no answer",
            advice="Give the truth file that was exported with this kit.",
        )
    readers, cases = sorted({fact.reader for fact in facts}), sorted(known)
    is_true = np.array([known[case].truth for case in cases])
    model = np.array([known[case].model_says for case in cases])
    tables = {condition: _table(facts, condition, readers, cases) for condition in CONDITIONS}
    resampled = draw(len(readers), len(cases), draws, np.random.default_rng(seed))
    plain = {condition: _measures(tables[condition], is_true, model, None) for condition in CONDITIONS}
    drawn = {condition: _measures(tables[condition], is_true, model, resampled) for condition in CONDITIONS}
    with np.errstate(invalid="ignore", divide="ignore"):
        differences = {
            measure.name: estimate(
                float(_compared(measure.name, plain)[0]),
                _compared(measure.name, drawn),
            )
            for measure in MEASURES
        }
    return Analysis(
        conditions={
            condition: {
                measure.name: estimate(float(plain[condition][measure.name][0]), drawn[condition][measure.name])
                for measure in MEASURES
            }
            for condition in CONDITIONS
        },
        differences=differences,
        agreement={condition: _agreement(tables[condition]) for condition in CONDITIONS},
        readers=tuple(_of_readers(tables, readers, is_true, model)),
        readings={condition: int((~np.isnan(tables[condition].present)).sum()) for condition in CONDITIONS},
        timed={condition: int((~np.isnan(tables[condition].log_seconds)).sum()) for condition in CONDITIONS},
        cases=len(cases),
        model_accuracy=float((is_true == model).mean()),
        notes=tuple(_notes(readers, is_true, model)),
    )


def _table(facts: Sequence[ReadingFact], condition: Condition, readers: list[str], cases: list[str]) -> _Table:
    made = [np.full((len(readers), len(cases)), np.nan) for _ in range(3)]
    for fact in facts:
        if fact.condition != condition:
            continue
        place = readers.index(fact.reader), cases.index(fact.case)
        made[0][place], made[1][place] = float(fact.says_present), fact.confidence
        if fact.seconds is not None and fact.seconds > 0:
            made[2][place] = np.log(fact.seconds)
    return _Table(*made)


def _only(values: DoubleArray, cases: NDArray[np.bool_]) -> DoubleArray:
    return np.where(cases[None, :], values, np.nan)


def _like(answers: DoubleArray, wanted: NDArray[np.bool_]) -> DoubleArray:
    """1 where the answer is as wanted (cases,), 0 where not, NaN where there is none."""
    return np.where(np.isnan(answers), np.nan, (answers == wanted[None, :]).astype(float))


def _scores(table: _Table) -> DoubleArray:
    return np.where(table.present == 1, table.confidence, -table.confidence)


def _measures(
    table: _Table, truth: NDArray[np.bool_], model: NDArray[np.bool_], draws: Draws | None
) -> dict[str, DoubleArray]:
    right, followed = _like(table.present, truth), _like(table.present, model)
    return {
        "accuracy": weighted_mean(right, draws),
        "sensitivity": weighted_mean(_only(right, truth), draws),
        "specificity": weighted_mean(_only(right, ~truth), draws),
        "auc": mean_auc(_scores(table), truth, draws),
        "confidence": weighted_mean(table.confidence, draws),
        "seconds": np.exp(weighted_mean(table.log_seconds, draws)),
        "reliance": weighted_mean(_only(followed, model == truth), draws),
        "over-reliance": weighted_mean(_only(followed, model != truth), draws),
        # a reader drawn twice would agree with himself: cases alone are resampled here
        "agreement": krippendorff_alpha(table.present, "nominal", None if draws is None else draws.cases),
    }


def _compared(name: str, measured: dict[Condition, dict[str, DoubleArray]]) -> DoubleArray:
    one, other = measured["with"][name], measured["without"][name]
    return one / other if name in RATIOS else one - other


def _agreement(table: _Table) -> Agreement:
    return Agreement(
        krippendorff_alpha=_number(float(krippendorff_alpha(table.present)[0])),
        krippendorff_alpha_confidence=_number(float(krippendorff_alpha(_scores(table), "ordinal")[0])),
        fleiss_kappa=_number(fleiss_kappa(table.present)),
        mean_cohen_kappa=_number(mean_cohen_kappa(table.present)),
    )


def _of_readers(
    tables: dict[Condition, _Table], readers: list[str], truth: NDArray[np.bool_], model: NDArray[np.bool_]
) -> list[ReaderFigures]:
    return [
        ReaderFigures(
            reader=reader,
            condition=condition,
            readings=int((~np.isnan(table.present[index])).sum()),
            accuracy=_mean(_like(table.present, truth)[index]),
            confidence=_mean(table.confidence[index]),
            seconds=None if (mean := _mean(table.log_seconds[index])) is None else float(np.exp(mean)),
            over_reliance=_mean(_only(_like(table.present, model), model != truth)[index]),
        )
        for index, reader in enumerate(readers)
        for condition, table in tables.items()
    ]


def _mean(values: DoubleArray) -> float | None:
    good = values[~np.isnan(values)]
    return float(good.mean()) if len(good) else None


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _notes(readers: Sequence[str], truth: NDArray[np.bool_], model: NDArray[np.bool_]) -> list[str]:
    notes = []
    if len(readers) == 1:
        notes.append("One reader: intervals are over cases alone and say nothing about other readers.")
    elif len(readers) < 5:
        notes.append(f"{len(readers)} readers: what they have in common with other readers is hardly known.")
    wrong = int((truth != model).sum())
    if wrong < 10:
        notes.append(f"The model is wrong in {wrong} cases: over-reliance rests on these alone.")
    return notes
