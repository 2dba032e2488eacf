"""Whether a model still answers as it did when it was onboarded: on images that are made, not taken of anybody.

A model whose last layer is scaled, shuffled or emptied gives maps that look like maps. What it answers on a few known
images gives it away, whatever its maps look like.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from whyray.base.arrays import FloatArray
from whyray.base.errors import PackageError
from whyray.explain import ExplainedImage, as_input
from whyray.inference import Model
from whyray.packages import ArtefactFacts, find_artefact, graph_digest
from whyray.quality.card import Grade, Measurement

KIND = "known-answers"
"""Kind of the artefact: arrays `logits` (PROBES, targets) of the probes, and `probes`, a digest of each."""
PROBES = 4
SAME, OTHER = 0.02, 0.1
"""Parts of the spread of the answers: half precision and other devices stay below the first."""
LEAST_SPREAD = 1e-5
"""Standard deviation of the logits over quite different images below which a model answers nothing."""
NAME, DIFFERING = "answers as when it was onboarded", "answers that differ between images"
_SOURCE = "after Adebayo et al. 2018, section 3: by answers, so that no map can hide it"


def probes(model: Model) -> FloatArray:
    """(PROBES, C, *spatial) channels-first input: smooth random pictures, each rougher than the one before."""
    shape = model.spatial_shape
    pictures = []
    for number in range(PROBES):
        field = np.random.default_rng(number).standard_normal(shape)
        field = ndimage.gaussian_filter(field, [size / (4 * 2**number) for size in shape], mode="wrap")
        low, high = float(field.min()), float(field.max())
        pictures.append(((field - low) / (high - low)).astype(np.float32))
    return as_input(np.stack(pictures), model.manifest.input)


def answers(model: Model) -> FloatArray:
    """(PROBES, targets): logits of the probes; of a segmentation their mean over places."""
    logits = np.concatenate([model.session.logits(probe[None]) for probe in probes(model)])
    return np.asarray(logits.reshape(*logits.shape[:2], -1).mean(axis=2), np.float32)


def known_answers(model: Model, *, made: date) -> tuple[ArtefactFacts, dict[str, NDArray[Any]]]:
    """Facts and arrays of the artefact, of a model that is known to be right: onboarding writes it.

    Raises PackageError where the answers hardly differ: such a model answers nothing.
    """
    logits = answers(model)
    spread = _spread(logits)
    if not spread >= _least(model, logits):
        raise PackageError(
            f"{model.identity}: expected logits that differ between different images, found a spread of {spread:.1g}",
            advice="Look whether its last layer was exported with its weights.",
        )
    facts = ArtefactFacts(
        kind=KIND,
        graph=graph_digest(model),
        package=model.identity,
        made=made,
        count=PROBES,
        source="pictures made by rule: smooth random fields",
        licence="CC0 1.0",
        details={"spread": spread},
    )
    return facts, {"logits": logits}


def answers_as_known(model: Model, image: ExplainedImage | None = None) -> Measurement:
    """Red where the model answers otherwise than when it was onboarded, or the same whatever the image.

    Measured once for a loaded model, in 4 forward passes. They are said to be those of the first card of each image,
    whether they were made for it or for one before: what an answer says hangs on nothing that the process did before,
    for its results' UIDs follow from it. Without the artefact only the second is asked: that a model
    answers something does not say that it answers what it was made to, which onboarding writes down.
    """
    measured = model.once((KIND, "measured"), lambda: _measured(model))
    first_card = [PROBES] if image is None else image.once((KIND, "forwards"), lambda: [PROBES])
    forwards = first_card.pop() if first_card else 0
    return Measurement(
        measured.name,
        measured.aspect,
        measured.value,
        measured.baseline,
        measured.grade,
        measured.rule,
        measured.source,
        forwards,
    )


def _measured(model: Model) -> Measurement:
    own = answers(model)
    spread = _spread(own)
    if not spread >= (least := _least(model, own)):
        rule = f"red: over quite different images its logits differ by {spread:.1g}, less than {least:.1g}"
        return Measurement(DIFFERING, "engine", spread, least, Grade.RED, rule, _SOURCE)
    try:
        artefact = find_artefact(model, KIND)
    except PackageError:
        rule = "red: what is known of its answers is that of another graph"
        return Measurement(NAME, "engine", 1.0, 0.0, Grade.RED, rule, _SOURCE)
    if artefact is None:
        rule = f"spread of its logits over {PROBES} made pictures; red below {least:.1g}: it answers the same of all"
        return Measurement(DIFFERING, "engine", spread, least, Grade.GREEN, rule, _SOURCE)
    known = artefact.arrays["logits"]
    if known.shape != own.shape:
        rule = f"red: {own.shape} answers, {known.shape} known"
        return Measurement(NAME, "engine", 1.0, 0.0, Grade.RED, rule, _SOURCE)
    gap = float(np.abs(own - known).max()) / max(_spread(known), _least(model, known))
    grade = Grade.GREEN if gap <= SAME else Grade.AMBER if gap <= OTHER else Grade.RED
    rule = (
        f"largest difference of logits on {PROBES} known pictures, in units of their spread; green up to {SAME:g}, "
        f"red above {OTHER:g}"
    )
    return Measurement(NAME, "engine", gap, 0.0, grade, rule, _SOURCE)


def _spread(logits: FloatArray) -> float:
    """Median over targets of the standard deviation over images."""
    return float(np.median(logits.std(axis=0)))


def _least(model: Model, logits: FloatArray) -> float:
    """LEAST_SPREAD; of a regression, whose unit may be any, that part of its own values."""
    return LEAST_SPREAD * float(np.abs(logits).mean() + 1e-12) if model.task == "regression" else LEAST_SPREAD
