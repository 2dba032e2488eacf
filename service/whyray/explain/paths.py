"""Gradients along a path: integrated gradients and expected gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from whyray.base.arrays import FloatArray
from whyray.base.errors import ExplanationError, WhyRayError
from whyray.explain.case import Attribution, Case
from whyray.explain.fill import Fill, filled
from whyray.explain.gradients import engine_parity
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.types import Tier
from whyray.inference import Model

_ONBOARDING_IMAGES = "references"
"""The name by which a package's images from onboarding are meant, where it has no artefact of this name."""


def completeness_gap(attributions: FloatArray, difference: float) -> float:
    """|sum of attributions - difference of scores|, relative to the difference: ≥ 0, and 0 for completeness.

    `attributions` of any shape and `difference` in units of the score. Where the scores hardly differ (below 1 % of
    all that was attributed), relative to that 1 %.
    """
    total, size = float(attributions.sum(dtype=np.float64)), float(np.abs(attributions).sum(dtype=np.float64))
    return abs(total - difference) / max(abs(difference), 0.01 * size, 1e-12)


class IntegratedGradientsParameters(MethodParameters):
    """`steps` doubles, up to `most_steps`, until the completeness gap is at most `tolerance` for every target."""

    steps: int = Field(default=32, ge=2)
    most_steps: int = Field(default=256, ge=2)
    tolerance: float = Field(default=0.05, gt=0)
    baseline: Fill = "zero"


@register
class IntegratedGradients(AttributionMap):
    """Integrated gradients along a straight path from a baseline (Sundararajan et al. 2017, eq. 1).

    Gauss-Legendre quadrature. Attributions are summed over channels, in units of the score (logit); they sum to
    f(x) - f(baseline) up to `completeness_gap`, a share of that difference. Raises ExplanationError where the gap stays
    above the tolerance at `most_steps`.
    """

    name: ClassVar[str] = "integrated-gradients"
    title: ClassVar[str] = "Integrated gradients"
    tier: ClassVar[Tier] = "T2"
    signed: ClassVar[bool] = True
    Parameters: ClassVar[type[MethodParameters]] = IntegratedGradientsParameters

    def cost(self, parameters: Any) -> int:
        """In forward passes: three for each step, since one forward and back takes as long as these."""
        return 3 * int(parameters.steps)

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; `steps` passes forward in all, and back for each target."""
        assert isinstance(parameters, IntegratedGradientsParameters)
        p = parameters
        baseline = filled(case.x, p.baseline)
        parity = engine_parity(case, case.model.gradients.engine(self.name, len(case.targets)))
        difference = case.score - case.scores_of(case.model.session.logits(baseline))[0]
        steps = p.steps
        while True:
            maps = self._integrate(case, baseline, steps)
            gaps = [
                completeness_gap(attributions, float(gain)) for attributions, gain in zip(maps, difference, strict=True)
            ]
            if max(gaps) <= p.tolerance:
                break
            if steps * 2 > p.most_steps:
                worst = case.model.targets[case.targets[int(np.argmax(gaps))]]
                raise ExplanationError(
                    f"integrated-gradients of {worst}: attributions miss the difference by {max(gaps):.0%} after "
                    f"{steps} steps, more than {p.tolerance:.0%}",
                    advice="Raise most_steps, or take another baseline or method.",
                )
            steps *= 2
        return [
            Attribution(
                attributions.sum(axis=0).astype(np.float32),
                evidence={"completeness_gap": gap, "steps": float(steps), "engine_parity": parity},
            )
            for attributions, gap in zip(maps, gaps, strict=True)
        ]

    def _integrate(self, case: Case, baseline: FloatArray, steps: int) -> FloatArray:
        engine = case.model.gradients.engine(self.name, len(case.targets))
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        shares, weights = ((nodes + 1) / 2).astype(np.float32), weights / 2
        inner = [1] * (case.x.ndim - 1)
        total = np.zeros((len(case.targets), *case.x.shape[1:]))
        for chunk in case.chunks(steps, gradient=True):
            case.tell(chunk.start, steps)
            points = baseline + shares[chunk].reshape(-1, *inner) * (case.x - baseline)
            gradients = engine.gradients(points.astype(np.float32), case.targets, case.regions)[0]
            total += np.tensordot(weights[chunk], gradients, axes=([0], [1]))
        case.tell(steps, steps)
        return np.asarray(total * (case.x - baseline)[0])


class ExpectedGradientsParameters(MethodParameters):
    """`references` names the package's artefact that holds reference images: .npy, (M, *item in layout).

    Without it, images that the package was onboarded on are the references.
    """

    samples: int = Field(default=200, ge=2)
    references: str = _ONBOARDING_IMAGES
    seed: int = 0


@register
class ExpectedGradients(AttributionMap):
    """Expected gradients (Erion et al. 2021, eq. 4): integrated gradients averaged over reference images.

    Each sample draws a reference and a point of the path, stratified along it. `completeness_gap` compares the sum with
    f(x) - mean f(drawn references); it shrinks with the samples and is measured, not enforced.
    """

    name: ClassVar[str] = "expected-gradients"
    title: ClassVar[str] = "Expected gradients"
    tier: ClassVar[Tier] = "T2"
    signed: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True
    Parameters: ClassVar[type[MethodParameters]] = ExpectedGradientsParameters

    def cost(self, parameters: Any) -> int:
        """In forward passes: three for each sample, since one forward and back takes as long as these."""
        return 3 * int(parameters.samples)

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; a pass forward a sample and one a reference, and back for each target."""
        assert isinstance(parameters, ExpectedGradientsParameters)
        p = parameters
        engine = case.model.gradients.engine(self.name, len(case.targets))
        references = self._references(case, p.references)
        rng = np.random.default_rng(p.seed)
        drawn = rng.integers(0, len(references), p.samples)
        shares = rng.permutation((np.arange(p.samples) + rng.random(p.samples)) / p.samples).astype(np.float32)
        used, times = np.unique(drawn, return_counts=True)
        inner = [1] * (case.x.ndim - 1)
        total = np.zeros((len(case.targets), *case.x.shape[1:]))
        for chunk in case.chunks(p.samples, gradient=True):
            case.tell(chunk.start, p.samples)
            starts = references[drawn[chunk]]
            way = case.x - starts
            points = starts + shares[chunk].reshape(-1, *inner) * way
            gradients = engine.gradients(points.astype(np.float32), case.targets, case.regions)[0]
            total += (gradients * way[None]).sum(axis=1)
        maps = total / p.samples
        batches = (references[used[chunk]] for chunk in case.chunks(len(used)))
        mean = np.average(np.concatenate(list(case.scores(batches, len(used)))), axis=0, weights=times)
        parity = engine_parity(case, engine)
        return [
            Attribution(
                attributions.sum(axis=0).astype(np.float32),
                evidence={"completeness_gap": completeness_gap(attributions, float(gain)), "engine_parity": parity},
            )
            for attributions, gain in zip(maps, case.score - mean, strict=True)
        ]

    def why_not(self, model: Model) -> WhyRayError | None:
        """There are no reference images, by the name that the package prefers."""
        return self.why_not_with(model, {})

    def why_not_with(self, model: Model, given: Mapping[str, object]) -> WhyRayError | None:
        """There are no reference images, by the name that is given, else that the package prefers."""
        named = {"references": _ONBOARDING_IMAGES, **model.manifest.methods.get(self.name, {}), **given}["references"]
        try:
            _path_of_references(model, str(named))
        except ExplanationError as error:
            return error
        return None

    def _references(self, case: Case, artefact: str) -> FloatArray:
        path = _path_of_references(case.model, artefact)
        references = case.model.network.checked_input(np.load(path, allow_pickle=False))
        others: FloatArray = references[np.abs(references - case.x).reshape(len(references), -1).max(axis=1) > 0]
        if not len(others):
            raise ExplanationError(
                f"expected-gradients: the image that is explained is the only reference of {case.model.identity}",
                advice="Give it more reference images.",
            )
        return others


def _path_of_references(model: Model, artefact: str) -> Path:
    package = model.package
    if artefact in package.manifest.artefacts:
        return package.artefact(artefact)
    if artefact == _ONBOARDING_IMAGES and package.references.is_file():
        return package.references  # by another name a package's own images are meant, and no others
    raise ExplanationError(
        f"expected-gradients needs reference images, and {model.identity} has no artefact {artefact!r}"
        + ("" if artefact != _ONBOARDING_IMAGES else " and no images from onboarding"),
        advice="Onboard it, or add a .npy of images to artefacts in model.yaml, or take integrated-gradients.",
    )
