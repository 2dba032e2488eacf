"""Normal or not, from concepts alone: one weight each, none negative, held close to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from whyray.base.arrays import DoubleArray
from whyray_training import figures
from whyray_training.cxr_data import FINDINGS, Radiographs, patient_folds
from whyray_training.cxr_goals import goals
from whyray_training.cxr_measure import ENOUGH_POSITIVES
from whyray_training.cxr_student import Judge, ridge_regression, wanted
from whyray_training.efficientnet_lite import DenseFeatures


@dataclass(frozen=True)
class ConceptRecipe:
    """The numbers that a run can change; `ridge` and `plain_weight` as in cxr-findings.

    `together`: penalty on the weights' distance from their mean, in images. Few labels can't tell fourteen weights
    apart, and equal ones are the better guess.
    """

    copies: int = 8
    plain_weight: float = 4.0
    ridge: float = 100.0
    together: float = 100.0
    inner_folds: int = 5


@dataclass(frozen=True)
class Fitted:
    """Concepts (14, E), (14,) from the embedding, as calibrated logits; the answer (14,), () from those."""

    concept_weights: DoubleArray
    concept_biases: DoubleArray
    head_weights: DoubleArray
    head_bias: float

    def concepts(self, embedding: DoubleArray) -> DoubleArray:
        """(N, E) to (N, 14) calibrated logits."""
        return np.asarray(embedding @ self.concept_weights.T + self.concept_biases)

    def answers(self, embedding: DoubleArray) -> DoubleArray:
        """(N, E) to (N,) logits of 'abnormal'."""
        return np.asarray(self.concepts(embedding) @ self.head_weights + self.head_bias)


def abnormal(data: Radiographs) -> DoubleArray:
    """(N,): 1 where the NIH's text mining found any of the fourteen findings."""
    return np.asarray((data.labels.sum(axis=1) > 0).astype(float))


def fit(data: Radiographs, seen: DoubleArray, recipe: ConceptRecipe, seed: int) -> Fitted:
    """Concepts first, then the head on concepts of images that their fit had not seen (sequential, Koh et al. 2020).

    `seen` (copies, N, E) embeddings.
    """
    return fit_each(data, seen, recipe, seed, [wanted(goals(data))])[0]


def fit_each(
    data: Radiographs, seen: DoubleArray, recipe: ConceptRecipe, seed: int, concept_goals: Sequence[DoubleArray]
) -> list[Fitted]:
    """As `fit`, for several goals (N, 14) of the concepts at once: they share their factorisations."""
    every, count = np.concatenate(concept_goals, axis=1), len(FINDINGS)
    inner = patient_folds(data.patients, recipe.inner_folds, seed + 1)
    unseen = np.zeros(every.shape)
    for fold in np.unique(inner):
        rest, here = np.flatnonzero(inner != fold), np.flatnonzero(inner == fold)
        weights, biases = ridge_regression(seen[:, rest], every[rest], recipe.ridge, recipe.plain_weight)
        unseen[here] = seen[0, here] @ weights.T + biases
    weights, biases = ridge_regression(seen, every, recipe.ridge, recipe.plain_weight)
    fits = []
    for number, goal in enumerate(concept_goals):
        own = slice(number * count, (number + 1) * count)
        head_weights, head_bias = _head(unseen[:, own], abnormal(data), recipe.together)
        scale = np.array([figures.platt(unseen[:, own][:, index], _truth(data, goal, index)) for index in range(count)])
        a, b = scale[:, 0], scale[:, 1]
        # The concepts are given out as calibrated logits a·z + b; the head takes that back.
        bias = float(head_bias - (head_weights / a * b).sum())
        fits.append(Fitted(weights[own] * a[:, None], biases[own] * a + b, head_weights / a, bias))
    return fits


def _truth(data: Radiographs, goal: DoubleArray, concept: int) -> DoubleArray:
    label = data.labels[:, concept]
    return label if label.sum() >= ENOUGH_POSITIVES else np.asarray(figures.sigmoid(goal[:, concept]))


def _head(concepts: DoubleArray, truth: DoubleArray, together: float) -> tuple[DoubleArray, float]:
    centre, spread = concepts.mean(axis=0), float(concepts.std())
    standard = (concepts - centre) / spread

    def loss(parameters: DoubleArray) -> tuple[float, DoubleArray]:
        weights, apart = parameters[:-1], parameters[:-1] - parameters[:-1].mean()
        logit = standard @ weights + parameters[-1]
        error = figures.sigmoid(logit) - truth
        value = float(np.sum(np.logaddexp(0, logit) - truth * logit) + together * np.sum(apart**2) / 2)
        return value, np.append(standard.T @ error + together * apart, error.sum())

    count = concepts.shape[1]
    solution = minimize(loss, np.zeros(count + 1), jac=True, bounds=[(0, None)] * count + [(None, None)]).x
    weights = solution[:-1] / spread
    return weights, float(solution[-1] - weights @ centre)


class ConceptStudent(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, 224, 224) in 0..1 to the logit of 'abnormal' (N, 1), concepts (N, 14), features and embedding.

    Nothing but the concepts reaches the answer.
    """

    def __init__(self, backbone: DenseFeatures, judge: Judge, fitted: Fitted) -> None:
        super().__init__()
        self.backbone, self.judge = backbone, judge
        self.answer = nn.Linear(len(FINDINGS), 1)
        with torch.no_grad():
            judge.head.weight.copy_(torch.from_numpy(fitted.concept_weights))
            judge.head.bias.copy_(torch.from_numpy(fitted.concept_biases))
            self.answer.weight.copy_(torch.from_numpy(fitted.head_weights)[None])
            self.answer.bias.fill_(fitted.head_bias)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As in the class."""
        concepts, features, embedding = self.judge(self.backbone(image)[0])
        return self.answer(concepts), concepts, features, embedding


def permuted_goals(data: Radiographs, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """(N, 14): the goals of the concepts, each dealt out at random among the images."""
    goal = wanted(goals(data))
    return np.stack([random.permutation(column) for column in goal.T], axis=1)
