"""Maps of the plain gradient: gradient, input × gradient, SmoothGrad, and guided backpropagation for research."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from whyray.base.arrays import FloatArray
from whyray.base.errors import TierMissing, WhyRayError
from whyray.explain.case import Attribution, Case
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.repeat import top_dice
from whyray.explain.types import Tier
from whyray.inference import PARITY, GradientEngine, Model, Operator, Rule, parity_gap


def gradients_at_image(case: Case, method: str, rule: Rule | None = None) -> tuple[FloatArray, float]:
    """(targets, C, *spatial) gradients at the image itself, and their engine's gap to ONNX Runtime's answer on it.

    Raises TierMissing where the engine answers otherwise than the model's own graph on this very image.
    """
    if rule is None:
        engine = case.model.gradients.engine(method, len(case.targets))
        gradients, logits = engine.gradients(case.x, case.targets, case.regions)
    else:
        gradients, logits = case.model.gradients.twin(method).gradients(case.x, case.targets, case.regions, rule)
    gap = checked_parity(case, logits)
    return gradients[:, 0], gap


def checked_parity(case: Case, logits: FloatArray) -> float:
    """The gap of a twin's logits (1, ...) on the case's image to ONNX Runtime's; TierMissing where it is too large."""
    gap = parity_gap(logits[:1], case.run.logits)
    if not gap <= PARITY:
        raise TierMissing(f"{case.model.identity}: the twin differs from ONNX Runtime by {gap:.2g} on this image")
    return gap


@register
class Gradient(AttributionMap):
    """The gradient's magnitude (Simonyan et al. 2014, section 3.1): max over channels of |d score / d x|."""

    name: ClassVar[str] = "gradient"
    title: ClassVar[str] = "Gradient"
    tier: ClassVar[Tier] = "T2"
    unit: ClassVar[str] = "logit per unit of input"

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:  # noqa: ARG002
        """One map a target; one pass forward, one back for each target."""
        gradients, gap = gradients_at_image(case, self.name)
        return [Attribution(np.abs(gradient).max(axis=0), evidence={"engine_parity": gap}) for gradient in gradients]


@register
class InputXGradient(AttributionMap):
    """Input times gradient (Shrikumar et al. 2016), summed over channels, signed."""

    name: ClassVar[str] = "input-x-gradient"
    title: ClassVar[str] = "Input × gradient"
    tier: ClassVar[Tier] = "T2"
    signed: ClassVar[bool] = True

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:  # noqa: ARG002
        """One map a target; one pass forward, one back for each target."""
        gradients, gap = gradients_at_image(case, self.name)
        return [
            Attribution((gradient * case.x[0]).sum(axis=0), evidence={"engine_parity": gap}) for gradient in gradients
        ]


class SmoothGradParameters(MethodParameters):
    """`noise`: standard deviation as a share of the image's range (section 3.2: 10 to 20 %)."""

    samples: int = Field(default=50, ge=1)
    noise: float = Field(default=0.15, gt=0)
    seed: int = 0


@register
class SmoothGrad(AttributionMap):
    """SmoothGrad (Smilkov et al. 2017, section 3): the mean gradient over noisy copies, max of |.| over channels."""

    name: ClassVar[str] = "smooth-grad"
    title: ClassVar[str] = "SmoothGrad"
    tier: ClassVar[Tier] = "T2"
    unit: ClassVar[str] = "logit per unit of input"
    stochastic: ClassVar[bool] = True
    Parameters: ClassVar[type[MethodParameters]] = SmoothGradParameters

    def cost(self, parameters: Any) -> int:
        """In forward passes: three for each sample, since one forward and back takes as long as these."""
        return 3 * int(parameters.samples)

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; one pass forward a sample, one back for each target."""
        assert isinstance(parameters, SmoothGradParameters)
        p = parameters
        engine = case.model.gradients.engine(self.name, len(case.targets))
        rng = np.random.default_rng(p.seed)
        deviation = p.noise * float(case.x.max() - case.x.min())
        halves = np.zeros((2, len(case.targets), *case.x.shape[1:]))
        for chunk in case.chunks(p.samples, gradient=True):
            case.tell(chunk.start, p.samples)
            size = (chunk.stop - chunk.start, *case.x.shape[1:])
            noisy = case.x + deviation * rng.standard_normal(size).astype(np.float32)
            gradients = engine.gradients(noisy.astype(np.float32), case.targets, case.regions)[0]
            for half in range(2):  # by the number of the sample: where one pass holds all, there are halves too
                halves[half] += gradients[:, (half - chunk.start) % 2 :: 2].sum(axis=1)
        case.tell(p.samples, p.samples)
        evidence = {"engine_parity": engine_parity(case, engine)}
        first, second = np.abs(halves).max(axis=2)
        maps = np.abs(halves.sum(axis=0) / p.samples).max(axis=1).astype(np.float32)
        return [
            Attribution(
                heatmap,
                evidence=evidence
                if p.samples < 2
                else {**evidence, "split_half_dice": top_dice(first_half, second_half)},
            )
            for heatmap, first_half, second_half in zip(maps, first, second, strict=True)
        ]


def engine_parity(case: Case, engine: GradientEngine) -> float:
    """The engine's gap on the image itself, for methods that never run it there; one pass."""
    return checked_parity(case, engine.answers(case.x))


@register
class GuidedBackprop(AttributionMap):
    """Guided backpropagation (Springenberg et al. 2015, section 3.4): negative gradients are cut at each ReLU.

    For research only: its maps hardly depend on the trained weights (Adebayo et al. 2018), so it is not delivered.
    Refused where it equals the plain gradient, that is, where no ReLU was met.
    """

    name: ClassVar[str] = "guided-backprop"
    title: ClassVar[str] = "Guided backpropagation"
    tier: ClassVar[Tier] = "T2"
    signed: ClassVar[bool] = True
    unit: ClassVar[str] = "logit per unit of input"
    deliverable: ClassVar[bool] = False

    def why_not(self, model: Model) -> WhyRayError | None:
        """The graph has no ReLU."""
        graph = model.network.graph
        nodes = graph.between(graph.input, model.network.logits_name) or []
        return None if any(node.op_type in ("Relu", "Clip") for node in nodes) else _without_relu(model)

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:  # noqa: ARG002
        """One map a target, summed over channels; one pass forward, one back for each target."""
        met = 0

        def rule(operator: Operator) -> Any:
            nonlocal met
            if operator.name not in ("relu", "clip"):
                return None
            met += 1
            answer = operator()
            if answer.requires_grad:
                answer.register_hook(lambda gradient: gradient.clamp(min=0))
            return answer

        gradients, gap = gradients_at_image(case, self.name, rule)
        if not met:
            raise _without_relu(case.model)
        return [Attribution(gradient.sum(axis=0), evidence={"engine_parity": gap}) for gradient in gradients]


def _without_relu(model: Model) -> TierMissing:
    return TierMissing(
        f"guided-backprop needs ReLUs, and {model.identity} has none",
        advice="Take integrated-gradients for this package.",
    )
