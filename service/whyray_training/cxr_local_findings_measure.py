"""What cxr-findings@2 reports of itself: which findings it answers, how well, and whether their maps hit boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, DoubleArray, FloatArray
from whyray_training import figures
from whyray_training.cxr_boxed_data import BoxedRadiographs
from whyray_training.cxr_data import FINDINGS
from whyray_training.cxr_local_findings_fit import OPAQUE
from whyray_training.cxr_opacity_measure import interval, localised, marked_places

WORTH_ANSWERING = 0.6
"""AUC below which a finding is not answered; nor is it where the interval includes 0.5."""
ANY, EACH = 0.11, 0.045
"""Shares of normal radiographs that may be called for any finding, and for one; a little below 12 % and 5 %."""
_BOX_NAMES = {"Infiltrate": "Infiltration"}


@dataclass(frozen=True)
class HeldOut:
    """By heads that had not seen the patient: logits (N, 14), evidence (N, 14, 28, 28), lungs (N, 28, 28), fold."""

    logits: DoubleArray
    evidence: FloatArray
    lungs: FloatArray
    fold: NDArray[np.int64]


def measured(data: BoxedRadiographs, held_out: HeldOut, seed: int) -> dict[str, Any]:
    """All figures of the card, with 95 % bootstrap intervals over patients."""
    rng = np.random.default_rng(seed)
    normal = data.healthy & np.isin(data.rsna, ("", "Normal"))
    aucs = {finding: _auc(data, held_out, k, rng) for k, finding in enumerate(FINDINGS)}
    answered = [name for name, auc in aucs.items() if auc["value"] >= WORTH_ANSWERING and auc["low"] > 0.5]
    columns = [FINDINGS.index(name) for name in answered]
    if not columns:
        return {"answered": answered, "auc": aucs}
    told, called = _answers(data, normal, held_out, columns)
    mean = interval(
        lambda chosen: figures.mean_auc(data.labels[chosen][:, columns], held_out.logits[chosen][:, columns]),
        data.patients,
        rng,
    )
    return {
        "answered": answered,
        "not_answered": [name for name in FINDINGS if name not in answered],
        "auc": aucs,
        "mean_auc": mean,
        "mean_auc_of_all": figures.rounded(figures.mean_auc(data.labels, held_out.logits)),
        "normal": int(normal.sum()),
        "normals_called": interval(
            lambda chosen: float(called[normal][chosen].any(axis=1).mean()), data.patients[normal], rng
        ),
        "findings": told,
        "nih_maps": _nih_boxes(data, held_out, answered, rng),
        "rsna_maps": _rsna_boxes(data, held_out, answered, rng),
    }


def _auc(data: BoxedRadiographs, held_out: HeldOut, k: int, rng: np.random.Generator) -> figures.Interval:
    truth, score = data.labels[:, k], held_out.logits[:, k]
    return interval(lambda chosen: figures.auc(truth[chosen], score[chosen]), data.patients, rng)


def _answers(
    data: BoxedRadiographs, normal: BoolArray, held_out: HeldOut, columns: list[int]
) -> tuple[dict[str, Any], BoolArray]:
    """One entry a finding, and (N, answered): called by the scaling and the threshold that other folds gave."""
    logits, truth = held_out.logits[:, columns], data.labels[:, columns]
    probability, called = np.zeros(logits.shape), np.zeros(logits.shape, bool)
    for fold in np.unique(held_out.fold):
        rest, here = held_out.fold != fold, held_out.fold == fold
        scaling = _scalings(logits[rest], truth[rest])
        probability[here] = _scaled(logits[here], scaling)
        called[here] = probability[here] >= _thresholds(_scaled(logits[rest], scaling)[normal[rest]])
    scaling = _scalings(logits, truth)
    thresholds = _thresholds(_scaled(logits, scaling)[normal])
    told = {
        FINDINGS[column]: {
            "positives": int(truth[:, k].sum()),
            "prevalence": figures.rounded(truth[:, k].mean()),
            "calibration": list(scaling[k]),
            "threshold": figures.rounded(thresholds[k]),
            "ece": figures.expected_calibration_error(truth[:, k], probability[:, k]),
            "sensitivity": figures.rounded(called[truth[:, k] == 1, k].mean()),
            "normals_called": figures.rounded(called[normal, k].mean()),
        }
        for k, column in enumerate(columns)
    }
    return told, called


def _scalings(logits: DoubleArray, truth: DoubleArray) -> list[tuple[float, float]]:
    return [figures.platt(logits[:, k], truth[:, k]) for k in range(logits.shape[1])]


def _scaled(logits: DoubleArray, scaling: list[tuple[float, float]]) -> DoubleArray:
    return np.stack([figures.sigmoid(a * logits[:, k] + b) for k, (a, b) in enumerate(scaling)], axis=1)


def _thresholds(normals: DoubleArray) -> DoubleArray:
    """(answered,): the same share of the normal radiographs for each finding, so small that ANY holds, too."""
    for specificity in np.arange(1 - EACH, 1.0, 0.0025):
        thresholds = np.minimum(0.999, np.ceil(np.quantile(normals, specificity, axis=0) * 1000 + 1e-9) / 1000)
        if (normals >= thresholds).any(axis=1).mean() <= ANY:
            break
    return np.asarray(thresholds)


def _nih_boxes(
    data: BoxedRadiographs, held_out: HeldOut, answered: list[str], rng: np.random.Generator
) -> dict[str, Any]:
    """Every box of the NIH's whose finding is answered; where one image has several findings, each counts."""
    rows, columns, truths = [], [], []
    for row, boxes in enumerate(data.boxes):
        for source, name in boxes:
            finding = _BOX_NAMES.get(name, name)
            if source == "NIH" and finding in answered:
                rows.append(row)
                columns.append(FINDINGS.index(finding))
                truths.append(marked_places(data, row, source, (name,)))
    return _maps(data, held_out, np.array(rows, int), np.array(columns, int), truths, rng)


def _rsna_boxes(
    data: BoxedRadiographs, held_out: HeldOut, answered: list[str], rng: np.random.Generator
) -> dict[str, Any]:
    """Radiographs with RSNA's boxes that have the label of an opacity, each by the first such finding's evidence."""
    rows, columns = [], []
    for row in np.flatnonzero(data.rsna == "Lung Opacity"):
        named = [FINDINGS.index(name) for name in OPAQUE if name in answered and data.labels[row, FINDINGS.index(name)]]
        if named:
            rows.append(int(row))
            columns.append(named[0])
    truths = [marked_places(data, row, "RSNA", ("Lung Opacity",)) for row in rows]
    return _maps(data, held_out, np.array(rows, int), np.array(columns, int), truths, rng)


def _maps(
    data: BoxedRadiographs,
    held_out: HeldOut,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    truths: list[BoolArray],
    rng: np.random.Generator,
) -> dict[str, Any]:
    if not len(rows):
        return {"images": 0}
    evidence = held_out.evidence[rows, columns]
    return localised(data, rows, truths, evidence, held_out.lungs[rows], held_out.fold[rows], rng)
