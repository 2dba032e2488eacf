"""Counterfactuals along the gradient in an autoencoder's latent space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from whyray.base.arrays import FloatArray
from whyray.base.errors import WhyRayError
from whyray.explain.case import Case
from whyray.explain.companion_grid import as_input
from whyray.explain.counterfactual.answers import answers_about_pictures, crossed, own_answer, threshold
from whyray.explain.counterfactual.counterfactual import Counterfactual
from whyray.explain.counterfactual.latent import LatentSpace, space_of, why_no_latents
from whyray.explain.counterfactual.refine import STEPS, AnswerGradient, Refined, answers_wanted, refined
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.types import Kind, Tier
from whyray.inference import Model, per_channel
from whyray.packages import CompanionRole

SEARCHED = 8
"""Shifts that are tried together in each of the two rounds of the search."""


class LatentShiftParameters(MethodParameters):
    """Numbers of the search.

    `refine`: steps of descent that bring the latents nearer to the image and to its answers; 0 takes the encoder's, as
    in the paper. `autoencoder` names a package (NAME or NAME@VERSION) in place of the manifest's companion. `reach`:
    the largest shift, as a share of the length of the image's own latents. `frames`: how many the cine has.
    """

    refine: int = Field(STEPS, ge=0, le=200)
    autoencoder: str | None = None
    reach: float = Field(1.0, gt=0)
    frames: int = Field(12, ge=4, le=64)


@register
class LatentShift(MethodDefaults):
    """How the image would have to change for another answer (Cohen et al. 2021, arXiv 2102.09475, section 2).

    x' = D(z + λ d) with z = E(x) and d the direction of ∂f(D(z))/∂z, f being the target's logit (for a softmax, the
    target's less the strongest other's). The smallest λ within `reach` that takes the answer across the target's
    threshold is searched, downwards for an answer above it, upwards for one below. Frames go from the same shift the
    other way (the answer confirmed) over the image as the autoencoder gives it back (`start`) to the flipped one
    (`end`) and one step beyond. All frames are made by the decoder: none is an image of a patient.

    z is E(x), then refined by a few steps of descent (`refine`) for the target's own answer: encoders smooth away what
    strong answers rest on.
    Evidence: `reconstruction_gap` is |f(x) - f(D(z))| in the answer's unit, `encoder_gap` the same before refinement,
    `reconstruction_gap_logit` in logits; `refined` is how far that moved z, and `shift` is |λ d|, as shares of |z|;
    `added_answer` is the answer about the image itself with the difference added to it: close to `answers[end]`, the
    difference alone carries the change. Raises ArtefactMissing, TierMissing, ExplanationError (another field of view).
    """

    name: ClassVar[str] = "latent-shift"
    title: ClassVar[str] = "What if the image were redrawn"
    tier: ClassVar[Tier] = "T2"
    kind: ClassVar[Kind] = "counterfactual"
    signed: ClassVar[bool] = True
    unit: ClassVar[str] = "display range"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multi-label", "regression")
    companion: ClassVar[CompanionRole] = "autoencoder"
    Parameters: ClassVar[type[MethodParameters]] = LatentShiftParameters

    def cost(self, parameters: LatentShiftParameters) -> int:
        """The gradient, two rounds of search, the frames, and the difference on the image itself."""
        return 3 * parameters.refine + 4 + 2 * SEARCHED + parameters.frames + 1

    def why_not(self, model: Model) -> WhyRayError | None:
        """The error that `explain_case` would raise for want of an autoencoder that fits; None where there is one."""
        return why_no_latents(model, method=self.name)

    def explain_case(self, case: Case, parameters: LatentShiftParameters) -> Sequence[Counterfactual]:
        """One counterfactual for each target, which is the same whatever other targets are explained."""
        space = space_of(case, method=self.name, reference=parameters.autoencoder)
        encoded = space.encode(case.display[None])
        of_encoded = space.decode(encoded)
        origins: dict[tuple[int, ...], _Origin] = {}
        explanations = []
        for target in case.targets:
            alone = case.for_targets([target])
            wanted = answers_wanted(alone)
            if wanted not in origins:
                start = refined(alone, space, encoded, parameters.refine, self.name)
                origins[wanted] = _Origin(space, encoded, of_encoded, start)
            explanations.append(_shifted(alone, origins[wanted], parameters, self.name))
        return explanations


@dataclass(frozen=True)
class _Origin:
    """Where shifts begin: the encoder's latents (1, D) with their picture (1, *spatial), and the refined ones."""

    space: LatentSpace
    encoded: FloatArray
    of_encoded: FloatArray
    start: Refined

    @property
    def latents(self) -> FloatArray:
        """(1, D), refined."""
        return self.start.latents

    @property
    def length(self) -> float:
        """|z|; 1 where that is 0."""
        return float(np.linalg.norm(self.latents)) or 1.0


def _shifted(case: Case, origin: _Origin, parameters: LatentShiftParameters, method: str) -> Counterfactual:
    space, latents, level = origin.space, origin.latents, threshold(case)
    gradient, logits = latent_gradient(case, space, latents, origin.start.shown, method, known=origin.start.known)
    start = float(case.model.answer(logits)[0, case.targets[0]])
    steepness = float(np.linalg.norm(gradient))
    half = (parameters.frames - 2) // 2
    total = 2 * SEARCHED + 2 * half + 4
    direction = gradient / (steepness or 1.0) * (-1.0 if start >= level else 1.0) * origin.length
    shift, tried = _smallest(case, space, latents, direction, parameters.reach, start, level, total)
    frames = space.decode(_moved(latents, direction, shift * np.arange(-half, half + 2) / half))
    answers = answers_about_pictures(case, frames, total=total, done=tried)
    difference = frames[2 * half] - frames[half]
    beside = np.stack([np.clip(case.display + difference, 0, 1), origin.of_encoded[0]])
    added, by_encoder = answers_about_pictures(case, beside, total=total, done=total - 2)
    before = own_answer(case)
    return Counterfactual(
        target=case.target_names[0],
        method=method,
        parameters=parameters.model_dump() | {"companion": space.identity},
        evidence={
            "reconstruction_gap": abs(before - start),
            "encoder_gap": abs(before - float(by_encoder)),
            "reconstruction_gap_logit": abs(float((case.run.logits - logits)[0, case.targets[0]])),
            "refined": float(np.linalg.norm(latents - origin.encoded)) / origin.length,
            "shift": shift,
            "gradient_length": steepness,
            "added_answer": float(added),
            "threshold": level,
        },
        frames=frames,
        answers=tuple(float(answer) for answer in answers),
        start=half,
        end=2 * half,
        flipped=bool(crossed(answers, start, level)[2 * half]),
        difference=difference,
        answer_before=before,
        synthetic=True,
    )


def latent_gradient(
    case: Case,
    space: LatentSpace,
    latents: FloatArray,
    shown: FloatArray,
    method: str,
    *,
    known: AnswerGradient | None = None,
) -> tuple[NDArray[np.float32], FloatArray]:
    """d score / d latents (1, D) at `latents` (1, D), whose picture is `shown` (1, *spatial); and the logits there.

    `known`: what descent came to know of that picture, which is asked for otherwise.
    """
    spec = case.model.manifest.input
    if known is None:
        along, logits = _score_gradient(case, as_input(shown, spec), method)
    else:
        along, logits = known.gradient, known.logits
    _, std = per_channel(spec, len(case.shape))
    return space.pulled_back(latents, (along / std).sum(axis=1)), logits


def _score_gradient(case: Case, x: FloatArray, method: str) -> tuple[FloatArray, FloatArray]:
    """d score / d x at `x` (1, C, *spatial), and the logits there."""
    wanted = [case.targets[0]]
    if case.model.network.form.activation == "softmax" and len(case.model.targets) > 1:
        logits = case.model.session.run(x).logits[0].copy()
        logits[wanted[0]] = -np.inf
        wanted.append(int(logits.argmax()))
    gradients, logits = case.model.gradients.for_descent(method).gradients(x, wanted)
    return gradients[0] if len(wanted) == 1 else gradients[0] - gradients[1], logits


def _smallest(
    case: Case,
    space: LatentSpace,
    latents: FloatArray,
    direction: FloatArray,
    reach: float,
    start: float,
    level: float,
    total: int,
) -> tuple[float, int]:
    """The smallest shift tried that crosses `level`, else the one that comes nearest; and how many were tried."""
    if not direction.any():
        return reach, 0
    coarse = reach * 2.0 ** np.arange(1 - SEARCHED, 1)
    answers = answers_about_pictures(case, space.decode(_moved(latents, direction, coarse)), total=total)
    over = crossed(answers, start, level)
    if not over.any():
        return float(coarse[int(np.abs(answers - level).argmin())]), SEARCHED
    first = int(over.argmax())
    low = coarse[first - 1] if first else 0.0
    fine = np.linspace(low, coarse[first], SEARCHED + 1)[1:]
    answers = answers_about_pictures(case, space.decode(_moved(latents, direction, fine)), total=total, done=SEARCHED)
    over = crossed(answers, start, level)
    return float(fine[int(over.argmax())] if over.any() else coarse[first]), 2 * SEARCHED


def _moved(latents: FloatArray, direction: FloatArray, shifts: NDArray[np.floating]) -> FloatArray:
    """(N, D): latents (1, D) moved by each shift along the direction (1, D)."""
    return (latents + shifts[:, None] * direction).astype(np.float32)
