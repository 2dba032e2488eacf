"""Layer-wise relevance propagation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from whyray.errors import ExplanationError
from whyray.explain.case import Attribution, Case
from whyray.explain.gradients import checked_parity
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.types import Tier
from whyray.models.rules import ELEMENTWISE, Operator, fold_batch_norms, moving

_NO_RULE = {"softmax", "layer_norm", "instance_norm", "group_norm", "div", "pow"}


class LrpParameters(MethodParameters):
    """`composite`: the rules by layer. `bias` lets biases absorb relevance, as zennit does by default.

    Without `bias` all relevance goes to the image, and conservation is checked against `tolerance`.
    """

    composite: Literal["epsilon-plus-flat", "gamma"] = "epsilon-plus-flat"
    gamma: float = Field(default=0.25, ge=0)
    epsilon: float = Field(default=1e-6, gt=0)
    bias: bool = False
    tolerance: float = Field(default=0.05, gt=0)


@register
class Lrp(AttributionMap):
    """Layer-wise relevance propagation (Bach et al. 2015), composites after Montavon et al. 2019 and Kohlbrenner 2020.

    `epsilon-plus-flat`: z-plus on convolutions, epsilon on linear layers, flat on the first layer. `gamma`: the gamma
    rule on convolutions, epsilon on linear layers. Sums and concatenations share relevance by contribution, max
    pooling gives it to the winner, activations pass it on. Summed over channels; sums to the score (conservation),
    self-checked. What a network concludes from the absence of something (a unit that fires where all its inputs are
    zero, by its bias) has no place in the image, and its relevance is lost: more than `tolerance` of it is refused.
    Operators without a rule (attention, layer norm) are refused by name.
    """

    name: ClassVar[str] = "lrp"
    tier: ClassVar[Tier] = "T2"
    signed: ClassVar[bool] = True
    Parameters: ClassVar[type[MethodParameters]] = LrpParameters

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; one pass forward, one back for each target."""
        assert isinstance(parameters, LrpParameters)
        import torch

        twin = case.model.twin(self.name)
        rules = _Rules(parameters)
        image = torch.from_numpy(np.ascontiguousarray(case.x)).to(twin.device).requires_grad_(True)
        logits = twin.logits(image, rules, fold_batch_norms(twin.module))
        parity = checked_parity(case, logits.detach().cpu().numpy())
        scores = twin.scores(logits, case.targets, case.regions)[0]
        results = []
        for number, (target, score) in enumerate(zip(case.targets, scores, strict=True)):
            relevance = rules.relevance(score, image, retain=number < len(scores) - 1).sum(dim=1)[0].cpu().numpy()
            value = float(score.detach())
            size = max(abs(value), 0.01 * float(np.abs(relevance).sum()), 1e-12)
            gap = abs(float(relevance.sum(dtype=np.float64)) - value) / size
            if not parameters.bias and not gap <= parameters.tolerance:
                raise ExplanationError(
                    f"lrp of {case.model.targets[target]}: {gap:.0%} of the score's relevance is missing",
                    advice="Take integrated-gradients, or set bias: true, so that biases keep what is their doing.",
                )
            # With `bias` nothing promises that relevance is conserved: a card must not measure it by that.
            name = "kept_by_biases" if parameters.bias else "conservation_gap"
            results.append(Attribution(relevance, evidence={name: gap, "engine_parity": parity}))
        return results


class _Rules:
    """Rules as changed gradients: with each layer's rule in place, relevance is input times gradient at every layer
    (Montavon et al. 2019, section 10.2.2). The first layer's flat rule is applied by hand."""

    def __init__(self, parameters: LrpParameters) -> None:
        self._p = parameters
        self._first: tuple[Operator, Any | None] | None = None

    def __call__(self, operator: Operator) -> Any:
        name = operator.name
        if not moving(operator.arguments):
            return None
        if name in ("conv", "conv_transpose", "gemm") or (name == "matmul" and len(moving(operator.arguments)) == 1):
            return self._linear(operator)
        if name in ELEMENTWISE or name == "batch_norm":
            return self._pass(operator)
        several = len(moving(operator.arguments)) > 1
        if name in _NO_RULE - {"div"} or (several and name in ("mul", "matmul", "div", "bmm", "einsum")):
            raise ExplanationError(
                f"lrp has no rule for {name} of activations", advice="Take integrated-gradients for this package."
            )
        return None

    def relevance(self, score: Any, image: Any, *, retain: bool) -> Any:
        """(1, C, *spatial): relevance of the image for one score."""
        import torch

        if self._first is None:
            return image.detach() * torch.autograd.grad(score, image, retain_graph=retain)[0]
        operator, answer = self._first
        given = operator.arguments[0]
        if answer is None:
            arrived = given.detach() * torch.autograd.grad(score, given, retain_graph=True)[0]
        else:
            arriving = (answer * torch.autograd.grad(score, answer, retain_graph=retain)[0]).detach()
            ones = torch.ones_like(given).requires_grad_(True)
            with torch.enable_grad():
                shares = _biased(operator, ones, torch.ones_like(operator.arguments[1]), None)
            arrived = torch.autograd.grad(shares, ones, arriving / shares.detach())[0]
        return _through_preparation(given, image, arrived.detach())

    def _linear(self, operator: Operator) -> Any:
        given, weight = operator.arguments[:2]
        if not hasattr(given, "requires_grad") or not given.requires_grad:
            raise ExplanationError("lrp has no rule for a product whose weight comes first")
        bias = operator.arguments[2] if operator.name != "matmul" and len(operator.arguments) > 2 else None
        plain = operator().detach()
        kept = bias if self._p.bias else None
        if self._first is None:
            flat = self._p.composite == "epsilon-plus-flat"
            self._first = operator, plain.requires_grad_(True) if flat else None
            if flat:
                return plain
        if operator.name in ("gemm", "matmul"):
            shaped = _biased(operator, given, weight, kept)
        elif self._p.composite == "gamma":
            shaped = self._gamma(operator, given, weight, kept)
        else:
            shaped = _signed(operator, given, weight, kept, lambda each, sign: each.clamp(**sign))
        return _as_if(plain, shaped, self._p.epsilon)

    def _gamma(self, operator: Operator, given: Any, weight: Any, bias: Any) -> Any:
        """Weights that agree with the sign of the output count more (the generalised rule, as zennit has it)."""
        import torch

        more = self._p.gamma

        def shaped(towards: int) -> Any:
            def change(each: Any, sign: Any) -> Any:
                return each + more * each.clamp(**sign)

            return _signed(operator, given, weight, bias, change, towards)

        with torch.no_grad():
            positive = _biased(operator, given, weight, bias) > 0
        if bool(positive.all()):
            return shaped(1)
        return torch.where(positive, shaped(1), shaped(-1))

    def _pass(self, operator: Operator) -> Any:
        return _as_if(operator().detach(), operator.arguments[0], self._p.epsilon)


def _through_preparation(given: Any, image: Any, relevance: Any) -> Any:
    """From the first layer's input back to the image: scaling, offsets and repeated channels pass relevance unchanged.

    `given` is affine in the image place by place; its slope is divided out, so that the sum stays what it was.
    """
    import torch

    if given is image:
        return relevance
    probe = torch.zeros_like(given, requires_grad=True)
    (back,) = torch.autograd.grad(given, image, probe, create_graph=True)
    (slope,) = torch.autograd.grad(back, probe, torch.ones_like(image))
    safe = torch.where(slope == 0, torch.ones_like(slope), slope)
    return torch.autograd.grad(given, image, relevance / safe, retain_graph=True)[0].detach()


def _as_if(plain: Any, shaped: Any, epsilon: float) -> Any:
    """The values of `plain`, with the gradient of `shaped` scaled so that input times gradient shares out plain."""
    import torch

    stable = shaped.detach()
    stable = stable + torch.where(stable < 0, -epsilon, epsilon)
    return plain + (shaped - shaped.detach()) * (plain / stable)


def _signed(operator: Operator, given: Any, weight: Any, bias: Any, change: Any, towards: int = 1) -> Any:
    """The layer with weights `change`d so that contributions of the sign `towards` gain, positive inputs first."""
    up, down = ({"min": 0}, {"max": 0})[::towards]
    positive = _biased(operator, given.clamp(min=0), change(weight, up), None if bias is None else change(bias, up))
    return positive + _biased(operator, given.clamp(max=0), change(weight, down), None)


def _biased(operator: Operator, given: Any, weight: Any, bias: Any) -> Any:
    return operator(given, weight) if operator.name == "matmul" else operator(given, weight, bias)
