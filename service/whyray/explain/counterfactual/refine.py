"""Latents that stand for one image better than the encoder's: a few steps of descent on picture and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.explain.case import Case
from whyray.explain.companion_grid import as_input
from whyray.explain.counterfactual.latent import LatentSpace
from whyray.inference import GradientEngine, per_channel

STEPS = 16
RATE, BETA_1, BETA_2 = 0.05, 0.8, 0.95
ANSWERS = 0.3
"""Weight of the answers beside the picture: the more of it, the more a decoder is made to draw what only the model sees
(on held-out radiographs differences carried over to the image itself better with 0.3 than with 1 or with 0)."""
CLOSE = 0.05
"""A largest gap of logits at which descent ends: smaller ones change nothing that is shown."""


FLAT = 0.01
"""Of the slope's root mean square: latents along which the slope is much less hardly move. Adam would move them as far
as all others, and where their slope is nothing but rounding, elsewhere on another machine."""


@dataclass(frozen=True)
class AnswerGradient:
    """Logits (1, targets) about a picture, and d logit / d x (1, C, *spatial) of the one output that is explained."""

    logits: FloatArray
    gradient: FloatArray


@dataclass(frozen=True)
class Refined:
    """Latents (1, D), their picture (1, *spatial), and what descent knows of it where one output was asked for."""

    latents: FloatArray
    shown: FloatArray
    known: AnswerGradient | None = None


def refined(case: Case, space: LatentSpace, latents: FloatArray, steps: int, method: str) -> Refined:
    """Latents (1, D) near `latents`, whose picture is more like the image and gets the answers that the image gets.

    Inversion of a generator by descent from the encoder's guess (Zhu et al. 2016, ECCV, section 3.1), here with a term
    that the picture alone would not give: |D(z) - x|² / |D(E(x)) - x|² + ANSWERS * mean over `answers_wanted` of
    (f(D(z)) - f(x))², in logits. Adam, with steps in units of the latents' own root mean square; of all steps the one
    with the least loss is taken. Each costs one pass and its way back.
    """
    if steps == 0:
        return Refined(latents, space.decode(latents))
    model = case.model
    wanted = answers_wanted(case)
    spec = model.manifest.input
    _, std = per_channel(spec, len(case.shape))
    engine = model.gradients.for_descent(method)
    goal = case.run.logits[:, wanted]
    scale = RATE * float(np.sqrt((latents**2).mean()))
    now = latents.astype(np.float64)
    first_moment, second_moment = np.zeros_like(now), np.zeros_like(now)
    best: Refined | None = None
    least, first = np.inf, 0.0
    for step in range(1, steps + 2):
        case.tell(step - 1, steps + 1)
        picture = space.decode(now.astype(np.float32))
        gaps, by_answers, known = _gaps(engine, as_input(picture, spec), wanted, goal)
        error = float(((picture - case.display) ** 2).mean())
        first = first or max(error, 1e-8)
        loss = error / first + ANSWERS * float((gaps**2).mean())
        if best is None or loss < least:
            best = Refined(now.astype(np.float32), picture, known)
            least = min(least, loss)
        if step > steps or (step > 1 and float(np.abs(gaps).max()) < CLOSE and error <= first):
            break
        by_pixels = 2 * (picture - case.display) / (first * picture.size)
        model.session.forwards += 3
        slope = space.pulled_back(now.astype(np.float32), by_pixels + (by_answers / std).sum(axis=1))
        if not slope.any():
            break
        first_moment = BETA_1 * first_moment + (1 - BETA_1) * slope
        second_moment = BETA_2 * second_moment + (1 - BETA_2) * slope**2
        step_size = scale * min(1.0, 2 * (1 - step / (steps + 1)))
        usual = np.sqrt(second_moment / (1 - BETA_2**step))
        flat = FLAT * float(np.sqrt((usual**2).mean()))
        now -= step_size * (first_moment / (1 - BETA_1**step)) / (usual + flat)
    assert best is not None, "there is a step"
    return best


def answers_wanted(case: Case) -> tuple[int, ...]:
    """The outputs whose answers latents are refined for: the case's targets, all of a softmax, which move together."""
    whole = case.model.network.form.activation == "softmax"
    return tuple(range(len(case.model.targets))) if whole else case.targets


def _gaps(
    engine: GradientEngine, x: FloatArray, wanted: Sequence[int], goal: FloatArray
) -> tuple[FloatArray, FloatArray, AnswerGradient | None]:
    """Logits less the goal (1, wanted), d (ANSWERS * mean gap²) / d x (1, C, *spatial), what is known of one output."""
    if len(wanted) == 1:  # the gradient of one logit, and then by how much: one pass for both
        gradients, logits = engine.gradients(x, wanted)
        gaps = logits[:, wanted] - goal
        return gaps, 2 * ANSWERS * gaps[0, 0] * gradients[0], AnswerGradient(logits, gradients[0])
    logits = engine.answers(x)
    gaps = logits[:, wanted] - goal
    weights = np.zeros_like(logits)
    weights[:, wanted] = 2 * ANSWERS * gaps / len(wanted)
    return gaps, engine.pullback(x, weights), None
