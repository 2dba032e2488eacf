"""Layer-wise relevance propagation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from whyray.base.errors import ExplanationError, WhyRayError
from whyray.explain.case import Attribution, Case
from whyray.explain.gradients import checked_parity
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.types import Tier
from whyray.inference import ELEMENTWISE, Model, Operator, moving
from whyray.packages import reads

_NO_RULE = {"softmax", "layer_norm", "instance_norm", "group_norm", "div", "pow"}
_NO_RULE_IN_ONNX = frozenset(
    ["Softmax", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "Pow", "Attention"]
)
_OF_SEVERAL = frozenset(["Mul", "MatMul", "Div", "Einsum"])


class LrpParameters(MethodParameters):
    """`composite`: the rules by layer. `bias` lets biases keep their share of relevance, as zennit does by default.

    Without `bias` all relevance goes to what a layer was given, wherever it was given anything. `tolerance` bounds what
    conservation may miss once every layer's share for biases is counted.
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
    pooling gives it to the winner, activations pass it on. Summed over channels.

    What a network concludes from the absence of something (a unit that fires by its bias where all its inputs are zero)
    has no place in the image. Every rule says how much it keeps so: R_j (1 - z_j / (z_j + epsilon)) with z_j what unit
    j was given, without its bias (Bach et al. 2015, eq. 58 and 59, where biases and the stabiliser absorb relevance).
    Conservation, self-checked: map and kept shares together sum to the score. `kept_by_biases` is what found no place,
    as a share of all relevance by magnitude: of the score it would be no measure, since heads that measure departures
    from a mean weigh parts against each other that are a thousand times the score. Operators without a rule (attention,
    layer norm) are refused by name.
    """

    name: ClassVar[str] = "lrp"
    title: ClassVar[str] = "Layer-wise relevance propagation"
    tier: ClassVar[Tier] = "T2"
    signed: ClassVar[bool] = True
    Parameters: ClassVar[type[MethodParameters]] = LrpParameters

    def why_not(self, model: Model) -> WhyRayError | None:
        """An operator of the graph that has no rule; those that only the twin shows are told when it runs."""
        without = _without_rule(model)
        if without is None:
            return None
        return ExplanationError(
            f"lrp has no rule for {without} of activations",
            advice="Take integrated-gradients for this package.",
        )

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; one pass forward, one back for each target."""
        assert isinstance(parameters, LrpParameters)
        import torch

        twin = case.model.gradients.twin(self.name)
        rules = _Rules(parameters)
        image = torch.from_numpy(np.ascontiguousarray(case.x)).to(twin.device).requires_grad_(True)
        logits = twin.logits(image, rules, twin.folded)
        parity = checked_parity(case, logits.detach().cpu().numpy())
        scores = twin.scores(logits, case.targets, case.regions)[0]
        results = []
        for number, (target, score) in enumerate(zip(case.targets, scores, strict=True)):
            rules.kept = 0.0
            relevance = rules.relevance(score, image, retain=number < len(scores) - 1).sum(dim=1)[0].cpu().numpy()
            value = float(score.detach())
            missing = value - float(relevance.sum(dtype=np.float64))
            size = max(abs(value), 0.01 * float(np.abs(relevance).sum()), 1e-12)
            gap = abs(missing - rules.kept) / size
            if not gap <= parameters.tolerance:
                raise ExplanationError(
                    f"lrp of {case.model.targets[target]}: {gap:.0%} of the score's relevance is missing, beyond what "
                    "biases keep",
                    advice="Take integrated-gradients for this package.",
                )
            flow = float(np.abs(relevance).sum(dtype=np.float64)) + abs(missing)
            kept = abs(missing) / max(flow, 1e-12)
            evidence = {"conservation_gap": gap, "kept_by_biases": kept, "engine_parity": parity}
            results.append(Attribution(relevance, evidence=evidence))
        return results


def _without_rule(model: Model) -> str | None:
    """The first operator between image and logits that has no rule, by its name in ONNX; None where there is none."""
    graph = model.network.graph
    varying = {graph.input}
    for node in graph.between(graph.input, model.network.logits_name) or []:
        count = sum(tensor in varying for tensor in node.input)
        if not varying.intersection(reads(node)) or node.op_type in {"Shape", "Size"}:
            continue
        varying.update(node.output)
        if (count and node.op_type in _NO_RULE_IN_ONNX) or (count > 1 and node.op_type in _OF_SEVERAL):
            return str(node.op_type)
    return None


class _Rules:
    """Rules as changed gradients: with each layer's rule in place, relevance is input times gradient at every layer
    (Montavon et al. 2019, section 10.2.2). The first layer's flat rule is applied by hand."""

    def __init__(self, parameters: LrpParameters) -> None:
        self._p = parameters
        self.kept = 0.0
        """Relevance that rules kept on the way back, by their own account."""
        self._first: tuple[Operator, Any | None] | None = None

    def __call__(self, operator: Operator) -> Any:
        name = operator.name
        if not moving(operator.arguments):
            return None
        if name in ("conv", "conv_transpose", "gemm") or (name == "matmul" and len(moving(operator.arguments)) == 1):
            return self._linear(operator)
        if name in ELEMENTWISE or name == "batch_norm":
            return self._pass(operator, operator.arguments[0])
        if name in ("add", "sub") and self._first is not None and len(moving(operator.arguments)) == 1:
            (part,) = moving(operator.arguments)
            return self._pass(operator, -part if name == "sub" and part is operator.arguments[1] else part)
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
            arriving = (answer * torch.autograd.grad(score, answer, retain_graph=True)[0]).detach()
            ones = torch.ones_like(given).requires_grad_(True)
            with torch.enable_grad():
                shares = _biased(operator, ones, torch.ones_like(operator.arguments[1]), None)
            arrived = torch.autograd.grad(shares, ones, arriving / shares.detach())[0]
            # `answer` starts afresh, so this is what passes the first layer by: a skip from the image itself
            beside = torch.autograd.grad(score, given, retain_graph=retain, allow_unused=True)[0]
            if beside is not None:
                arrived = arrived + given.detach() * beside
        return _through_preparation(given, image, arrived.detach())

    def _linear(self, operator: Operator) -> Any:
        import torch

        given, weight = operator.arguments[:2]
        if not hasattr(given, "requires_grad") or not given.requires_grad:
            raise ExplanationError("lrp has no rule for a product whose weight comes first")
        bias = operator.arguments[2] if operator.name != "matmul" and len(operator.arguments) > 2 else None
        with torch.no_grad():
            plain = operator()
        kept = bias if self._p.bias else None
        if self._first is None:
            flat = self._p.composite == "epsilon-plus-flat"
            self._first = operator, plain.requires_grad_(True) if flat else None
            if flat:
                return plain
        shaped = self._shaped(operator, given, weight, kept, kept)
        with torch.no_grad():
            own = shaped.detach() if kept is None else self._shaped(operator, given, weight, None, kept)
        return self._as_if(plain, shaped, own)

    def _shaped(self, operator: Operator, given: Any, weight: Any, bias: Any, deciding: Any) -> Any:
        """The layer as its rule has it; `deciding` is the bias that takes part in deciding on an output's sign."""
        if operator.name in ("gemm", "matmul"):
            return _biased(operator, given, weight, bias)
        if self._p.composite == "gamma":
            return self._gamma(operator, given, weight, bias, deciding)
        return self._positive(operator, given, weight, bias)

    def _positive(self, operator: Operator, given: Any, weight: Any, bias: Any) -> Any:
        """z-plus. Units that were given nothing positive (a depthwise kernel of negative weights) share by what is
        negative, unless biases keep their part: z-plus alone would lose all that goes through such units."""
        import torch

        positive = _signed(operator, given, weight, bias, lambda values, sign: values.clamp(**sign))
        if self._p.bias or bool((positive > 0).all()):
            return positive
        return torch.where(positive > 0, positive, _biased(operator, given, weight, None))

    def _gamma(self, operator: Operator, given: Any, weight: Any, bias: Any, deciding: Any) -> Any:
        """Weights that agree with the sign of the output count more (the generalised rule, as zennit has it)."""
        import torch

        more = self._p.gamma

        def shaped(towards: int) -> Any:
            def change(values: Any, sign: Any) -> Any:
                return values + more * values.clamp(**sign)

            return _signed(operator, given, weight, bias, change, towards)

        with torch.no_grad():
            positive = _biased(operator, given, weight, deciding) > 0
        if bool(positive.all()):
            return shaped(1)
        return torch.where(positive, shaped(1), shaped(-1))

    def _pass(self, operator: Operator, given: Any) -> Any:
        import torch

        with torch.no_grad():
            plain = operator()
        return self._as_if(plain, given, given.detach())

    def _as_if(self, plain: Any, shaped: Any, own: Any) -> Any:
        """The values of `plain`, with the gradient of `shaped` scaled so that input times gradient shares out plain.

        `own` is what the inputs contribute to `shaped`: the rest of each unit's relevance is kept, and counted.
        """
        import torch

        stable = shaped.detach()
        stable = stable + torch.where(stable < 0, -self._p.epsilon, self._p.epsilon)
        answer = plain + (shaped - shaped.detach()) * (plain / stable)
        if answer.requires_grad:
            left = plain * (1 - own / stable)

            def count(arriving: Any) -> None:
                self.kept += float((arriving * left).sum(dtype=torch.float64))

            answer.register_hook(count)
        return answer


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


def _signed(operator: Operator, given: Any, weight: Any, bias: Any, change: Any, towards: int = 1) -> Any:
    """The layer with weights `change`d so that contributions of the sign `towards` gain, positive inputs first."""
    up, down = ({"min": 0}, {"max": 0})[::towards]
    bias = None if bias is None else change(bias, up)
    if not bool((given < 0).any()):  # behind a ReLU, which is nearly everywhere
        return _biased(operator, given, change(weight, up), bias)
    positive = _biased(operator, given.clamp(min=0), change(weight, up), bias)
    return positive + _biased(operator, given.clamp(max=0), change(weight, down), None)


def _biased(operator: Operator, given: Any, weight: Any, bias: Any) -> Any:
    return operator(given, weight) if operator.name == "matmul" else operator(given, weight, bias)
