"""DeepLIFT with the rescale rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from whyray.base.arrays import FloatArray
from whyray.base.errors import ExplanationError
from whyray.explain.case import Attribution, Case
from whyray.explain.fill import Fill, filled
from whyray.explain.gradients import checked_parity
from whyray.explain.paths import completeness_gap
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.types import Tier
from whyray.inference import ELEMENTWISE, Operator, Twin, moving

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
    title: ClassVar[str] = "DeepLIFT"
    tier: ClassVar[Tier] = "T2"
    signed: ClassVar[bool] = True
    Parameters: ClassVar[type[MethodParameters]] = DeepLiftParameters

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; a pass forward of baseline and image each, one back for each target."""
        assert isinstance(parameters, DeepLiftParameters)
        baseline = filled(case.x, parameters.baseline)
        twin = case.model.gradients.twin(self.name)
        rule = Rescale()
        without = rule.of_baseline(twin, baseline)
        gradients, logits = twin.gradients(case.x, case.targets, case.regions, rule)
        parity = checked_parity(case, logits)
        scores = np.concatenate([case.scores_of(outputs) for outputs in (logits, without)])
        results = []
        for target, multipliers, gain in zip(case.targets, gradients[:, 0], scores[0] - scores[1], strict=True):
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


class Rescale:
    """The rescale rule: what the operators gave on the baseline is recorded first, then the image is run beside it."""

    def __init__(self) -> None:
        self._recorded: list[_Step] = []
        self._taken: Iterator[_Step] | None = None

    def of_baseline(self, twin: Twin, baseline: FloatArray) -> FloatArray:
        """Run the baseline (1, C, *spatial) and record it; gives its logits."""
        import torch

        # with gradients, though none is asked for: rules know by them what depends on the image
        leaf = torch.from_numpy(np.ascontiguousarray(baseline)).to(twin.device).requires_grad_(True)
        logits = np.asarray(twin.logits(leaf, self).detach().cpu().numpy())
        self._taken = iter(self._recorded)
        return logits

    def __call__(self, operator: Operator) -> Any:
        """The operator's output where the rule changes its gradient; None where it runs as it is."""
        made = _kind(operator)
        if made is None:
            return None
        if self._taken is None:
            answer = operator()
            given = [argument.detach() for argument in operator.arguments[:2] if hasattr(argument, "detach")]
            self._recorded.append(_Step(given, answer.detach()))
            return answer
        return made(operator, next(self._taken))


@dataclass(frozen=True)
class _Step:
    """What an operator was given on the baseline (its first two tensors), and what it answered."""

    given: list[Any]
    answer: Any


def _kind(operator: Operator) -> Callable[[Operator, _Step], Any] | None:
    if operator.name in ELEMENTWISE:
        return _rescaled_activation
    if operator.name == "max_pool":
        return _rescaled_max_pool
    if operator.name in ("mul", "matmul") and len(moving(operator.arguments[:2])) == 2:
        return _shared_product
    return None


def _rescaled_activation(operator: Operator, baseline: _Step) -> Any:
    import torch

    class Activation(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(context: Any, given: Any) -> Any:
            answer = operator(given)
            context.save_for_backward(given, answer)
            return answer

        @staticmethod
        def backward(context: Any, *gradients: Any) -> Any:
            given, answer = context.saved_tensors
            change = given - baseline.given[0]
            small = change.abs() < _SMALL
            multiplier = (answer - baseline.answer).div_(change.masked_fill_(small, 1))
            return torch.where(small, _slope(operator, given), multiplier).mul_(gradients[0])

    return Activation.apply(operator.arguments[0])


def _slope(operator: Operator, given: Any) -> Any:
    import torch

    if operator.name == "relu":
        return (given > 0).to(given.dtype)
    with torch.enable_grad():
        point = given.detach().requires_grad_(True)
        return torch.autograd.grad(operator(point).sum(), point)[0]


def _rescaled_max_pool(operator: Operator, baseline: _Step) -> Any:
    import torch

    class Pool(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(context: Any, given: Any) -> Any:
            context.save_for_backward(given)
            return operator(given)

        @staticmethod
        def backward(context: Any, *gradients: Any) -> Any:
            (given,), (arriving,) = context.saved_tensors, gradients
            with torch.enable_grad():
                points = [tensor.detach().requires_grad_(True) for tensor in (given, baseline.given[0])]
                first, second = (operator(point) for point in points)
            largest = torch.maximum(first.detach(), second.detach())
            (plain,) = torch.autograd.grad(first, points[0], arriving, retain_graph=True)
            (gained,) = torch.autograd.grad(first, points[0], arriving * (largest - second.detach()))
            (lost,) = torch.autograd.grad(second, points[1], arriving * (first.detach() - largest))
            change = given - baseline.given[0]
            small = change.abs() < _SMALL
            return torch.where(small, plain, (gained + lost) / change.masked_fill(small, 1))

    return Pool.apply(operator.arguments[0])


def _shared_product(operator: Operator, baseline: _Step) -> Any:
    first, second = operator.arguments[:2]
    means = [(argument.detach() + other) / 2 for argument, other in zip((first, second), baseline.given, strict=True)]
    change = operator(first - first.detach(), means[1]) + operator(means[0], second - second.detach())
    return operator(first.detach(), second.detach()) + change
