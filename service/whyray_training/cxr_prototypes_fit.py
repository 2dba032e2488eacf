"""Fitting the prototype package, all of it convex: evidence, which places become prototypes, how much each counts.

The paper (Chen et al. 2019) moves prototypes by gradient and then onto patches; with 36 radiographs of a finding that
learned them by heart. Here prototypes are places of radiographs from the start, chosen by a sparse regression (after
Bien and Tibshirani 2011).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor

from whyray.base.arrays import DoubleArray
from whyray_training.cxr_activations import HalfArray
from whyray_training.cxr_data import FINDINGS, Radiographs
from whyray_training.cxr_goals import goals
from whyray_training.cxr_prototypes_net import EVIDENCE, TARGETS, PrototypeNet, Recipe, similarity
from whyray_training.cxr_student import Judge, ridge_regression, wanted

NUMBERS = tuple(FINDINGS.index(name) if name in FINDINGS else EVIDENCE - 1 for name in TARGETS)
"""Which map of evidence speaks for each target."""
_SURE = 2.0
"""The logit that evidence of anything abnormal is to reach."""


@dataclass(frozen=True)
class Fitted:
    """A net, and where its P prototypes come from: row of the radiograph, and (row, column) on the 14 × 14 grid.

    `linear` (T, 1520) and `bias` (T,) answer by the same evidence averaged over the whole image, without prototypes.
    """

    net: PrototypeNet
    images: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    linear: DoubleArray
    bias: DoubleArray


def truth(data: Radiographs) -> DoubleArray:
    """(N, 3) labels 0 or 1: Cardiomegaly, Effusion, any finding at all."""
    return np.column_stack([data.labels[:, [FINDINGS.index(name) for name in TARGETS[:-1]]], data.labels.any(axis=1)])


def fitted(data: Radiographs, seen: HalfArray, pooled: DoubleArray, judge: Judge, recipe: Recipe, seed: int) -> Fitted:
    """Fit on radiographs, their activations (1 + copies, N, 304, 14, 14) and embeddings (1 + copies, N, 1520)."""
    net = PrototypeNet(judge, recipe)
    net.eval()
    goal, labels = goals(data), truth(data)
    answers = np.column_stack([wanted(goal), np.where(labels[:, -1] > 0, _SURE, -_SURE)])
    weight, bias = ridge_regression(pooled, answers, recipe.imitation_ridge, recipe.plain_weight)
    soft = np.column_stack([goal.mixed.numpy()[:, list(NUMBERS[:-1])], 0.1 + 0.8 * labels[:, -1]])
    chosen: list[tuple[int, int, int]] = []
    with torch.no_grad():
        net.evidence.weight.copy_(torch.from_numpy(weight).float()[:, :, None, None])
        plain = torch.cat([net.averaged(part) for part in _batches(seen[0])])
        net.spread.copy_(plain.transpose(0, 1).flatten(1).std(dim=1)[:, None, None])
        points = [torch.cat([net.points(part) for part in _batches(copy)]) for copy in seen]
        net.last.weight.zero_()
        for target, number in enumerate(NUMBERS):
            places, signs = _candidates(plain[:, number].numpy(), labels[:, target], recipe, seed)
            candidates = torch.stack([points[0][image, :, row, column] for image, row, column in places])[
                ..., None, None
            ]
            table = np.concatenate([_highest(points_of_copy, candidates) for points_of_copy in points])
            want = np.tile(soft[:, target], len(points))
            first, _ = signed_logistic(table, want, signs, 0.1, recipe.sparsity * len(points))
            kept = _strongest(first * table.std(axis=0), signs, recipe)
            last, shift = signed_logistic(table[:, kept], want, signs[kept], recipe.ridge * len(points), 0.0)
            own = slice(target * recipe.per_target, (target + 1) * recipe.per_target)
            net.prototypes[own] = candidates[kept]
            net.last.weight[target, own] = torch.from_numpy(last).float()
            net.last.bias[target] = shift
            chosen += [places[index] for index in kept]
    where = np.array(chosen)
    return Fitted(net, where[:, 0], where[:, 1:], weight[list(NUMBERS)], bias[list(NUMBERS)])


def answers_of(net: PrototypeNet, frozen: HalfArray) -> DoubleArray:
    """(N, T) logits."""
    with torch.no_grad():
        return np.asarray(torch.cat([net(part)[0] for part in _batches(frozen)]).double().numpy())


def signed_logistic(
    x: DoubleArray, want: DoubleArray, signs: DoubleArray, ridge: float, sparsity: float
) -> tuple[DoubleArray, float]:
    """Weights of the given signs and a bias: least cross-entropy against probabilities, ridge |w|² / 2, sparsity |w|.

    Penalties are of standardised columns and in units of images.
    """
    centre, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    standard = (x - centre) / spread

    def loss(parameters: DoubleArray) -> tuple[float, DoubleArray]:
        weight, logit = parameters[:-1], standard @ parameters[:-1] + parameters[-1]
        gap = 1 / (1 + np.exp(-logit)) - want
        value = (np.logaddexp(0, logit) - want * logit).sum() + ridge * (weight**2).sum() / 2
        slope = standard.T @ gap + ridge * weight + sparsity * signs
        return float(value + sparsity * np.abs(weight).sum()), np.append(slope, gap.sum())

    bounds = [(0, None) if sign > 0 else (None, 0) for sign in signs] + [(None, None)]
    start = np.append(0.01 * signs, 0.0)
    solution = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 200}).x
    weight = solution[:-1] / spread
    return weight, float(solution[-1] - weight @ centre)


def _candidates(
    evidence: npt.NDArray[np.float32], labels: DoubleArray, recipe: Recipe, seed: int
) -> tuple[list[tuple[int, int, int]], DoubleArray]:
    """Places (image, row, column) and signs: in each of some radiographs where evidence is strongest, and anywhere.

    The whole neighbourhood of a place lies within the image: at the border there are arms, letters and collimators.
    """
    random = np.random.default_rng(seed)
    margin = recipe.cells // 2
    inner = evidence[:, margin:-margin, margin:-margin]
    side = inner.shape[-1]
    places, signs = [], []
    for sign in (1, -1):
        rows = np.flatnonzero(labels == (sign > 0))
        anywhere = max(1, -(-recipe.per_target // max(len(rows), 1)))  # more than one only in a trial run on few images
        for image in random.permutation(rows)[: recipe.candidates]:
            strongest = int((sign * inner[image]).argmax())
            for place in (strongest, *(int(position) for position in random.integers(side**2, size=anywhere))):
                row, column = divmod(place, side)
                places.append((int(image), row + margin, column + margin))
                signs.append(float(sign))
    return places, np.array(signs)


def _strongest(sizes: DoubleArray, signs: DoubleArray, recipe: Recipe) -> npt.NDArray[np.int64]:
    kept = []
    for sign, count in ((1, recipe.presence), (-1, recipe.absence)):
        rows = np.flatnonzero(signs == sign)
        kept.append(rows[np.argsort(-np.abs(sizes[rows]), kind="stable")[:count]])
    return np.concatenate(kept)


def _highest(points: Tensor, candidates: Tensor) -> DoubleArray:
    parts = [similarity(part, candidates).flatten(2).amax(dim=2) for part in points.split(32)]
    return np.asarray(torch.cat(parts).double().numpy())


def _batches(frozen: HalfArray) -> Iterator[Tensor]:
    for start in range(0, len(frozen), 32):
        yield torch.from_numpy(np.ascontiguousarray(frozen[start : start + 32])).float()
