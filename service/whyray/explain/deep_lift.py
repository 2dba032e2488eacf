"""DeepLIFT with the rescale rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from whyray.errors import ExplanationError
from whyray.explain.case import Attribution, Case
from whyray.explain.fill import Fill, filled
from whyray.explain.gradients import checked_parity
from whyray.explain.paths import completeness_gap
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.types import Tier
from whyray.models.rules import ELEMENTWISE, Operator, moving

_SMALL = 1e-6


class DeepLiftParameters(MethodParameters):
    """`tolerance`: the largest completeness gap that is believed."""

    baseline: Fill = "zero"
    tolerance: float = Field(default=0.05, gt=0)


@register
class DeepLift(AttributionMap):
    """DeepLIFT, rescale rule (Shrikumar et al. 2017, section 3.5.1), summed over channels, in units of the score.

    The multiplier of an activation is the difference of its outputs on image and baseline over that of its inputs; max
    pooling routes differences as captum does; products of two activations share theirs evenly. Sums to f(x) -
    f(baseline), self-checked: ExplanationError where operators without a rule (softmax, layer norm) break it.
    """

    name: ClassVar[str] = "deep-lift"
    tier: ClassVar[Tier] = "T2"
    signed: ClassVar[bool] = True
    Parameters: ClassVar[type[MethodParameters]] = DeepLiftParameters

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; one pass forward of image and baseline together, one back for each target."""
        assert isinstance(parameters, DeepLiftParameters)
        baseline = filled(case.x, parameters.baseline)
        both = np.concatenate([case.x, baseline])
        found, logits = case.model.twin(self.name).gradients(both, case.targets, case.regions, rescale)
        parity = checked_parity(case, logits)
        scores = case.scores_of(logits)
        results = []
        for target, multipliers, gain in zip(case.targets, found[:, 0], scores[0] - scores[1], strict=True):
            attributions = multipliers * (case.x - baseline)[0]
            gap = completeness_gap(attributions, float(gain))
            if not gap <= parameters.tolerance:
                raise ExplanationError(
                    f"deep-lift of {case.model.targets[target]}: attributions miss the difference by {gap:.0%}, "
                    f"more than {parameters.tolerance:.0%}: {case.model.identity} has operators without a rule",
                    advice="Take integrated-gradients for this package.",
                )
            evidence = {"completeness_gap": gap, "engine_parity": parity}
            results.append(Attribution(attributions.sum(axis=0).astype(np.float32), evidence=evidence))
        return results


def rescale(operator: Operator) -> Any:
    """The rescale rule on a batch of image and baseline; both halves get the same multipliers."""
    if operator.name in ELEMENTWISE:
        return _rescaled_activation(operator)
    if operator.name == "max_pool":
        return _rescaled_max_pool(operator)
    if operator.name in ("mul", "matmul") and len(moving(operator.arguments[:2])) == 2:
        return _shared_product(operator)
    return None


def _rescaled_activation(operator: Operator) -> Any:
    import torch

    given = operator.arguments[0]
    with torch.enable_grad():
        point = given.detach().requires_grad_(True)
        answer = operator(point)
        slope = torch.autograd.grad(answer.sum(), point)[0]
    inputs, outputs = (each.detach().chunk(2) for each in (given, answer))
    change = inputs[0] - inputs[1]
    ratio = (outputs[0] - outputs[1]) / torch.where(change.abs() < _SMALL, torch.ones_like(change), change)
    multiplier = torch.where((change.abs() < _SMALL).repeat(2, *[1] * (change.ndim - 1)), slope, torch.cat([ratio] * 2))
    return answer.detach() + (given - given.detach()) * multiplier


def _rescaled_max_pool(operator: Operator) -> Any:
    import torch

    class Pool(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(context: Any, given: Any) -> Any:
            with torch.enable_grad():
                point = given.detach().requires_grad_(True)
                answer = operator(point)
            context.point, context.answer = point, answer
            return answer.detach().clone()

        @staticmethod
        def backward(context: Any, *gradients: Any) -> Any:
            point, answer = context.point, context.answer
            with torch.enable_grad():
                first, second = answer.detach().chunk(2)
                largest = torch.maximum(first, second)
                change = torch.cat([largest - second, first - largest])
                routed = torch.autograd.grad(answer, point, gradients[0] * change, retain_graph=True)[0]
                plain = torch.autograd.grad(answer, point, gradients[0], retain_graph=True)[0]
            halves = routed.chunk(2)
            inputs = point.detach().chunk(2)
            difference = torch.cat([inputs[0] - inputs[1]] * 2)
            small = difference.abs() < _SMALL
            return torch.where(
                small,
                plain,
                torch.cat([halves[0] + halves[1]] * 2) / torch.where(small, torch.ones_like(difference), difference),
            )

    return Pool.apply(operator.arguments[0])


def _shared_product(operator: Operator) -> Any:
    import torch

    first, second = operator.arguments[:2]
    means = [torch.cat([sum(each.detach().chunk(2)) / 2] * 2) for each in (first, second)]
    change = operator(first - first.detach(), means[1]) + operator(means[0], second - second.detach())
    return operator(first.detach(), second.detach()) + change
