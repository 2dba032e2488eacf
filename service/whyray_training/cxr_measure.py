"""What the chest package reports of itself: figures of answers that came from models which had not seen the patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whyray.base.arrays import DoubleArray
from whyray_training import figures
from whyray_training.cxr_data import FINDINGS, Radiographs

SPECIFICITY = 0.90
ENOUGH_POSITIVES = 20
_CHEST = (0.08, 0.06, 0.92, 0.90)
_REGIONS = {
    "Cardiomegaly": (0.28, 0.36, 0.88, 0.86),
    "Effusion": (0.06, 0.25, 0.94, 0.96),
    "Pneumothorax": (0.06, 0.03, 0.94, 0.90),
    "Pleural_Thickening": (0.05, 0.04, 0.95, 0.92),
    "Hernia": (0.25, 0.40, 0.80, 0.98),
}
"""Where on a frontal radiograph a finding can lie: left, top, right, bottom as shares of the image; else the chest.

Looked at when measuring, never when training.
"""


@dataclass(frozen=True)
class HeldOut:
    """For each radiograph, by a model that had not seen the patient: (N, 14) each.

    answers: logits; disturbed: logits of one augmented copy; probe, disturbed_probe: logits of ridge regression on the
    frozen features of images as they are; inside: share of the positive class activation map in the finding's region.
    """

    answers: DoubleArray
    disturbed: DoubleArray
    probe: DoubleArray
    disturbed_probe: DoubleArray
    inside: DoubleArray


def region_areas() -> DoubleArray:
    """(14,) share of the image that each finding's region covers: what a map without any sense of place would score."""
    boxes = np.array([_REGIONS.get(finding, _CHEST) for finding in FINDINGS])
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def share_in_region(maps: DoubleArray) -> DoubleArray:
    """(N, 14, G, G) class activation maps to (N, 14): positive evidence inside the region / all positive evidence."""
    centres = (np.arange(maps.shape[-1]) + 0.5) / maps.shape[-1]
    positive, inside = np.maximum(maps, 0), np.zeros(maps.shape[:2])
    for k, finding in enumerate(FINDINGS):
        left, top, right, bottom = _REGIONS.get(finding, _CHEST)
        rows, columns = (centres > top) & (centres < bottom), (centres > left) & (centres < right)
        inside[:, k] = positive[:, k][:, rows][:, :, columns].sum(axis=(1, 2))
    return np.asarray(inside / np.maximum(positive.sum(axis=(2, 3)), 1e-6))


def cross_validated(data: Radiographs, fold_of: npt.NDArray[np.int64], held_out: HeldOut, seed: int) -> dict[str, Any]:
    """The means, the gain over the linear probe, and one entry a finding."""
    areas = region_areas()
    return {
        "mean_auc": figures.mean_auc_interval(data.labels, held_out.answers, seed),
        "probe_mean_auc": figures.mean_auc_interval(data.labels, held_out.probe, seed),
        "gain_over_probe": figures.bootstrap(
            lambda cases: (
                figures.mean_auc(data.labels[cases], held_out.answers[cases])
                - figures.mean_auc(data.labels[cases], held_out.probe[cases])
            ),
            len(data),
            seed,
        ),
        "disturbed_mean_auc": figures.mean_auc_interval(data.labels, held_out.disturbed, seed),
        "disturbed_probe_mean_auc": figures.mean_auc_interval(data.labels, held_out.disturbed_probe, seed),
        "teacher_mean_auc": figures.mean_auc_interval(data.labels, data.teacher, seed),
        "findings": {
            finding: _finding(data, fold_of, held_out, k, seed) | {"region_area": figures.rounded(areas[k], 2)}
            for k, finding in enumerate(FINDINGS)
        },
    }


def kept_out(data: Radiographs, answers: DoubleArray, seed: int) -> dict[str, Any]:
    """AUC of the shipped weights on radiographs that no training and no choice has seen, where positives are enough."""
    return {
        "images": len(data),
        "patients": len(np.unique(data.patients)),
        "findings": {
            finding: {
                "positives": int(data.labels[:, k].sum()),
                "auc": figures.auc_interval(data.labels[:, k], answers[:, k], seed),
            }
            for k, finding in enumerate(FINDINGS)
            if data.labels[:, k].sum() >= ENOUGH_POSITIVES
        },
    }


def _finding(data: Radiographs, fold_of: npt.NDArray[np.int64], held_out: HeldOut, k: int, seed: int) -> dict[str, Any]:
    truth, logit, teacher = data.labels[:, k], held_out.answers[:, k], data.teacher[:, k]
    against_labels = truth.sum() >= ENOUGH_POSITIVES
    goal = truth if against_labels else figures.sigmoid(teacher)
    crossed, present = np.zeros(len(truth)), np.zeros(len(truth), bool)
    for fold in np.unique(fold_of):
        rest, here = fold_of != fold, fold_of == fold
        a, b = figures.platt(logit[rest], goal[rest])
        crossed[here] = figures.sigmoid(a * logit[here] + b)
        threshold = figures.threshold_at_specificity(truth[rest], figures.sigmoid(a * logit[rest] + b), SPECIFICITY)
        present[here] = crossed[here] >= threshold
    a, b = figures.platt(logit, goal)
    return {
        "positives": int(truth.sum()),
        "auc": figures.auc_interval(truth, logit, seed),
        "probe_auc": figures.rounded(figures.auc(truth, held_out.probe[:, k])),
        "teacher_auc": figures.auc_interval(truth, teacher, seed),
        "agreement": figures.rounded(np.corrcoef(logit, teacher)[0, 1], 2),
        "calibration": [a, b],
        "calibrated_on": "NIH labels" if against_labels else "teacher",
        "ece": figures.expected_calibration_error(truth, crossed),
        "threshold": figures.threshold_at_specificity(truth, figures.sigmoid(a * logit + b), SPECIFICITY),
        "sensitivity": figures.rounded(present[truth == 1].mean(), 2) if truth.any() else float("nan"),
        "specificity": figures.rounded((~present)[truth == 0].mean(), 2),
        "evidence_in_region": figures.rounded(held_out.inside[truth == 1, k].mean(), 2)
        if truth.any()
        else float("nan"),
    }
