"""What the model answers about pictures, and on which side of the threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit, logsumexp

from whyray.base.arrays import DoubleArray, FloatArray
from whyray.explain.case import Case
from whyray.explain.companion_grid import as_input
from whyray.inference import target_spec


def answers_about(case: Case, inputs: FloatArray, *, total: int | None = None, done: int = 0) -> DoubleArray:
    """(N,): the answer (probability or value) about the case's first target for each input (N, C, *spatial).

    Progress is told before each batch, as `done` and what came since, of `total`.
    """
    answers = []
    for chunk in case.chunks(len(inputs)):
        case.tell(done + chunk.start, total or len(inputs))
        answers.append(case.model.answer(case.model.session.logits(inputs[chunk]))[:, case.targets[0]])
    case.tell(done + len(inputs), total or len(inputs))
    return np.concatenate(answers).astype(np.float64)


def answers_about_pictures(case: Case, pictures: FloatArray, *, total: int | None = None, done: int = 0) -> DoubleArray:
    """As `answers_about`, for pictures (N, *spatial) in 0..1 as displayed."""
    return answers_about(case, as_input(pictures, case.model.manifest.input), total=total, done=done)


def margins_of(case: Case, inputs: FloatArray, *, total: int, done: int) -> DoubleArray:
    """(N,): how far each input (N, C, *spatial) lies above the target's threshold: log-odds, or a regression's value.

    Unlike probabilities, log-odds tell apart what lies far from the threshold. Progress as in `answers_about`.
    """
    logits = []
    for chunk in case.chunks(len(inputs)):
        case.tell(done + chunk.start, total)
        logits.append(case.model.session.logits(inputs[chunk]))
    case.tell(done + len(inputs), total)
    return margins(case, np.concatenate(logits))


def margins(case: Case, logits: FloatArray) -> DoubleArray:
    """(N,): as `margins_of`, from logits (N, targets)."""
    target, level = case.targets[0], threshold(case)
    own = logits[:, target].astype(np.float64)
    calibration = target_spec(case.model, case.target_names[0]).calibration
    if calibration is not None:
        own = calibration[0] * own + calibration[1]
    elif case.model.network.form.activation == "softmax":
        own = own - logsumexp(np.delete(logits.astype(np.float64), target, axis=1), axis=1)
    elif case.model.network.form.activation != "sigmoid":
        return np.asarray(own - level)
    return np.asarray(own - logit(np.clip(level, 1e-9, 1 - 1e-9)))


def own_answer(case: Case) -> float:
    """The answer about the image as it is."""
    return float(case.model.answer(case.run.logits)[0, case.targets[0]])


def threshold(case: Case) -> float:
    """At this answer or above the target is reported as present."""
    return float(target_spec(case.model, case.target_names[0]).threshold)


def crossed(answers: DoubleArray, start: float, level: float) -> NDArray[np.bool_]:
    """(N,): whether each of `answers` (N,) lies on the other side of `level` than `start`; at the level is above it."""
    return np.asarray((np.asarray(answers) >= level) != (start >= level))
