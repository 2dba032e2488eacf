"""What cxr-opacity reports of itself: answers and maps by heads that had not seen the patient, beside simple maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.filters import threshold_otsu
from torch.nn import functional

from whyray.base.arrays import BoolArray, DoubleArray, FloatArray
from whyray.base.statistics import bootstrap_interval
from whyray.onboarding.localisation import average_precision, centre_map, pointing
from whyray_training import figures
from whyray_training.cxr_boxed_data import SIDE, BoxedRadiographs
from whyray_training.cxr_local_net import GRID, INPUT_SIZE
from whyray_training.cxr_opacity_truth import OPACITY, OTHER_OPACITY, OTHER_SOURCE, SOURCE, OpacityTruth

SPECIFICITY = 0.97
"""Aimed at on held-out answers, so that at most 5 % of normal radiographs elsewhere are expected to be called."""
BASELINES = ("centre", "boxes of other patients", "brightness inside the lungs")


@dataclass(frozen=True)
class HeldOut:
    """For each of N radiographs, by heads that had not seen the patient.

    logits: (N,); evidence: (N, 28, 28); lungs: (N, 28, 28) where the lungs are, 0..1; fold: (N,).
    """

    logits: DoubleArray
    evidence: FloatArray
    lungs: FloatArray
    fold: NDArray[np.int64]


def measured(data: BoxedRadiographs, truth: OpacityTruth, held_out: HeldOut, seed: int) -> dict[str, Any]:
    """All figures of the card, with 95 % bootstrap intervals over patients."""
    rng = np.random.default_rng(seed)
    boxed = np.flatnonzero(truth.opacity)
    answer, called = _answers(truth, held_out)
    return {
        "auc": {
            "normal": _auc(data, truth.opacity, truth.normal, held_out.logits, rng),
            "normal_as_read": _auc(data, truth.opacity, data.rsna == "Normal", held_out.logits, rng),
            "other": _auc(data, truth.opacity, truth.other, held_out.logits, rng),
        },
        **answer,
        "normals_called": _share(data, truth.normal, called, rng),
        "maps": _of_boxes(data, boxed, held_out, SOURCE, OPACITY, rng),
        "nih_maps": _of_boxes(data, np.flatnonzero(truth.marked), held_out, OTHER_SOURCE, OTHER_OPACITY, rng),
    }


def otsu_overlap(values: FloatArray, truth: BoolArray) -> float:
    """Intersection over union of what Otsu's threshold of the positive part of a map keeps, and what was marked."""
    positive = np.maximum(values, 0)
    if positive.max() <= positive.min():
        return 0.0
    region = positive > threshold_otsu(positive)
    return float((region & truth).sum() / (region | truth).sum())


SCORES: Mapping[str, Callable[[FloatArray, BoolArray], float]] = {
    "hits": pointing,
    "overlap": otsu_overlap,
    "auprc": average_precision,
}


def enlarged(maps: FloatArray) -> FloatArray:
    """(n, G, G) to (n, 448, 448), bilinear: how maps are shown."""
    smooth = functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(maps))[:, None].float(), size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear"
    )
    return np.asarray(smooth[:, 0].numpy())


def _answers(truth: OpacityTruth, held_out: HeldOut) -> tuple[dict[str, Any], BoolArray]:
    """Calibration, threshold and their worth; and (N,) who is called by what the other folds set."""
    read = np.flatnonzero(~truth.unsure)
    logits, positive, fold = held_out.logits[read], truth.opacity[read].astype(float), held_out.fold[read]
    probability, called = np.zeros(len(read)), np.zeros(len(read), bool)
    for held_out_fold in np.unique(fold):
        here = fold == held_out_fold
        (scale, shift), threshold = scaling_and_threshold(truth, held_out, held_out.fold != held_out_fold)
        probability[here] = figures.sigmoid(scale * logits[here] + shift)
        called[here] = probability[here] >= threshold
    (scale, shift), threshold = scaling_and_threshold(truth, held_out, np.ones(len(truth.opacity), bool))
    every = np.zeros(len(truth.opacity), bool)
    every[read] = called
    figures_of_answers = {
        "counts": {
            "opacity": int(truth.opacity.sum()),
            "other": int(truth.other.sum()),
            "normal": int(truth.normal.sum()),
            "unsure": int(truth.unsure.sum()),
        },
        "prevalence": figures.rounded(positive.mean()),
        "calibration": [scale, shift],
        "threshold": threshold,
        "ece": figures.expected_calibration_error(positive, probability),
        "sensitivity": figures.rounded(called[positive == 1].mean()),
        "others_called": figures.rounded(called[truth.other[read]].mean()),
    }
    return figures_of_answers, every


def scaling_and_threshold(
    truth: OpacityTruth, held_out: HeldOut, among: BoolArray
) -> tuple[tuple[float, float], float]:
    """Platt scaling of held-out logits and the threshold of the probability, by the radiographs `among`, (N,)."""
    read = among & ~truth.unsure
    scale, shift = figures.platt(held_out.logits[read], truth.opacity[read].astype(float))
    probability = figures.sigmoid(scale * held_out.logits[read] + shift)
    return (scale, shift), _threshold(probability, truth.normal[read])


def _threshold(probability: DoubleArray, normal: BoolArray) -> float:
    return figures.threshold_at_specificity((~normal).astype(float), probability, SPECIFICITY)


def _of_boxes(
    data: BoxedRadiographs,
    rows: NDArray[np.int64],
    held_out: HeldOut,
    source: str,
    findings: tuple[str, ...],
    rng: np.random.Generator,
) -> dict[str, Any]:
    if not len(rows):
        return {"images": 0}
    truths = [marked_places(data, int(row), source, findings) for row in rows]
    return localised(data, rows, truths, held_out.evidence[rows], held_out.lungs[rows], held_out.fold[rows], rng)


def marked_places(data: BoxedRadiographs, row: int, source: str, findings: tuple[str, ...]) -> BoolArray:
    """(448, 448): the boxes of one image on the model's grid."""
    centres = ((np.arange(INPUT_SIZE) + 0.5) * SIDE / INPUT_SIZE).astype(int)
    return np.asarray(data.marked(row, source, findings)[centres][:, centres], bool)


def localised(
    data: BoxedRadiographs,
    rows: NDArray[np.int64],
    truths: Sequence[BoolArray],
    evidence: FloatArray,
    lungs: FloatArray,
    fold: NDArray[np.int64],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Hits, overlap and AUPRC of maps and of simple ones, and how much the AUPRC is above each of those.

    For n images, the `rows` of the data: truths (448, 448) each; evidence and lungs (n, 28, 28); fold (n,).
    """
    maps = {"evidence": enlarged(evidence), **_simple_maps(data.images[rows], truths, lungs, fold)}
    scores = {
        way: {
            name: np.array([score(heatmap, there) for heatmap, there in zip(values, truths, strict=True)])
            for name, score in SCORES.items()
        }
        for way, values in maps.items()
    }
    patients = data.patients[rows]
    report: dict[str, Any] = {
        way: {name: _mean(values, patients, rng) for name, values in by_name.items()} for way, by_name in scores.items()
    }
    for way in BASELINES:
        report[way]["auprc_above"] = _mean(scores["evidence"]["auprc"] - scores[way]["auprc"], patients, rng)
    return {"images": len(rows), "patients": len(np.unique(patients)), **report}


def _simple_maps(
    images: NDArray[np.uint8], truths: Sequence[BoolArray], lungs: FloatArray, fold: NDArray[np.int64]
) -> dict[str, FloatArray]:
    covered = functional.adaptive_avg_pool2d(torch.from_numpy(np.stack(truths)).float(), GRID).numpy()
    elsewhere = np.stack([covered[fold != own_fold].mean(axis=0) for own_fold in fold])
    bright = functional.adaptive_avg_pool2d(torch.from_numpy(images).float() / 255, GRID).numpy()
    centre = np.repeat(centre_map((INPUT_SIZE, INPUT_SIZE))[None], len(images), axis=0)
    return dict(zip(BASELINES, (centre, enlarged(elsewhere), enlarged(bright * lungs)), strict=True))


def _auc(
    data: BoxedRadiographs, positive: BoolArray, negative: BoolArray, logits: DoubleArray, rng: np.random.Generator
) -> figures.Interval:
    rows = np.flatnonzero(positive | negative)
    truth, score = positive[rows].astype(float), logits[rows]
    return interval(lambda chosen: figures.auc(truth[chosen], score[chosen]), data.patients[rows], rng)


def _share(data: BoxedRadiographs, among: BoolArray, called: BoolArray, rng: np.random.Generator) -> figures.Interval:
    rows = np.flatnonzero(among)
    return _mean(called[rows].astype(float), data.patients[rows], rng)


def _mean(values: DoubleArray, patients: NDArray[np.int64], rng: np.random.Generator) -> figures.Interval:
    return interval(lambda chosen: float(values[chosen].mean()), patients, rng)


def interval(
    measure: Callable[[NDArray[np.intp]], float], patients: NDArray[np.int64], rng: np.random.Generator
) -> figures.Interval:
    """`measure` of all rows, with its 95 % bootstrap interval over patients; it takes the numbers of the rows."""
    low, high = bootstrap_interval(measure, patients, rng)
    value = measure(np.arange(len(patients)))
    return {"value": figures.rounded(value), "low": figures.rounded(low), "high": figures.rounded(high)}
