"""Differentiable twins of a graph, or of its head, in torch: accepted only where they answer as ONNX Runtime does, and
where their gradients are proven by finite differences of its answers (see `gradient_proof`).

What comes out of a converter is a function or a stack of functions, not the author's modules: methods that hook modules
do nothing on it, silently, so none is used on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import TierMissing
from whyray.base.stages import stage
from whyray.inference.converters import TwinConverter, first_right, to_torch
from whyray.inference.gradient_proof import Answers, rounding_operators, unproven
from whyray.inference.network import Network
from whyray.inference.network_session import NetworkSession
from whyray.inference.noise import smooth_noise
from whyray.inference.package_cache import PackageCache
from whyray.inference.rules import Rule, fold_batch_norms, run_with_rule

PARITY = 1e-3
"""Largest difference of a twin's logits to ONNX Runtime's, relative to the largest logit."""

__all__ = ["PARITY", "GradientEngine", "HeadGradient", "Twin", "parity_gap", "verified_twin"]


class GradientEngine(Protocol):
    """What gives gradients of a model's scores: the twin in torch, or the gradient compiled to ONNX."""

    def gradients(
        self, x: FloatArray, targets: Sequence[int], regions: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Gradients (targets, N, C, *spatial) of each target's score at `x` (N, C, *spatial), and logits (N, ...).

        The score is the target's logit, or for a segmentation the sum of `regions` (targets, *grid) times its logits.
        """
        ...

    def answers(self, x: FloatArray) -> FloatArray:
        """Logits (N, ...) of `x` (N, C, *spatial) by this engine."""
        ...

    def pullback(self, x: FloatArray, weights: FloatArray) -> FloatArray:
        """d sum(logits · weights) / d x of one item `x` (1, C, *spatial); `weights` in the shape of its logits."""
        ...


def parity_gap(twin: FloatArray, reference: FloatArray) -> float:
    """max |twin - reference| / max(1, max |reference|)."""
    return float(np.abs(twin - reference).max() / max(1.0, np.abs(reference).max()))


class HeadGradient:
    """d logits / d features, for heads without a closed form (flatten and several layers, attention).

    Raises TierMissing where the head depends on more than the features, or where no converter's head passes parity.
    """

    def __init__(self, network: Network, session: NetworkSession, cache: PackageCache) -> None:
        features = features_of(network)
        if network.graph.between(features, network.logits_name) is None:
            raise TierMissing(
                f"{network.identity}: logits depend on the input by ways that pass {features!r} by",
                advice="Name a later tensor in output.features, one that all ways pass.",
            )
        self._network, self._session, self._cache = network, session, cache
        self._proto = network.graph.cut(features, network.logits_name)
        self._sizes = [size or 1 for size in network.graph.shapes.get(features, ())[1:]]
        right, reason = first_right(self._converted)
        if right is None:
            reason += rounding_operators(self._proto.graph)
            raise TierMissing(f"{network.identity}: the head does not convert: {reason}")
        self._head, self.converter = right

    def _converted(self, converter: TwinConverter) -> tuple[Any, TwinConverter]:
        """The head by a converter; ValueError where it answers otherwise, or its gradients are not proven."""
        module = to_torch(self._proto, converter).to(self._session.torch_device)
        if self._sizes:
            random = np.random.default_rng(0).normal(size=(1, *self._sizes)).astype(np.float32)
            single = self._session.in_single_precision
            items = probes_of_features(random, single.network.head_run)
            self._refuse_other_answers(module, items, single.network.head_run)
            if single is not self._session:  # large features in single alone: steep heads magnify half's rounding
                usual = [features for features in items if np.abs(features).max() <= np.abs(random).max()]
                own = self._network.head_run
                self._refuse_other_answers(module, _answered(usual or items, own), own)
            self._refuse_other_gradients(module, converter, items)
        return module, converter

    @stage("gradients")
    def __call__(
        self, features: FloatArray, logits: FloatArray, targets: Sequence[int], regions: FloatArray | None = None
    ) -> tuple[FloatArray, float]:
        """Gradients (targets, channels, *grid) of each target's score, and the gap to ONNX Runtime's logits.

        `features` (1, channels, *grid), `logits` (1, all targets, ...) of the same run. The score is the target's
        logit, or for a segmentation the sum of `regions` (targets, *spatial) times its logits.
        """
        import torch

        device = self._session.torch_device
        leaf = torch.from_numpy(np.ascontiguousarray(features)).to(device).requires_grad_(True)
        answer = _only(self._head(leaf)).reshape(logits.shape)
        gap = parity_gap(answer.detach().cpu().numpy(), logits)
        if gap > PARITY:
            raise TierMissing(f"{self._network.identity}: the converted head differs from ONNX Runtime by {gap:.2g}")
        gradients = []
        for number, target in enumerate(targets):
            score = answer[0, target]
            if regions is not None:
                score = (score * torch.from_numpy(regions[number]).to(device)).sum()
            last = number == len(targets) - 1
            gradients.append(torch.autograd.grad(score, leaf, retain_graph=not last)[0][0].cpu().numpy())
        return np.stack(gradients), gap

    def _refuse_other_answers(self, module: Any, items: Sequence[FloatArray], answers: Answers) -> None:
        import torch

        for features in items:
            with torch.no_grad():
                answer = _only(module(torch.from_numpy(features).to(self._session.torch_device))).cpu().numpy()
            expected = answers(features)
            if not parity_gap(answer.reshape(expected.shape), expected) <= PARITY:
                raise ValueError("it answers otherwise than ONNX Runtime")

    def _refuse_other_gradients(self, module: Any, converter: TwinConverter, items: Sequence[FloatArray]) -> None:
        device = self._session.torch_device

        def prove() -> str:
            return unproven(
                self._session.in_single_precision.network.head_run,
                lambda x, weights: pulled_back(module, x, weights, device),
                items,
            )

        reason = self._cache.proof("head gradient", converter.name, self._session.providers, prove)
        if reason:
            raise ValueError(reason)


class Twin:
    """The whole model in torch."""

    def __init__(self, network: Network, session: NetworkSession, converter: TwinConverter) -> None:
        self._network, self._session = network, session
        graph = network.graph
        self.converter = converter
        self.device = session.torch_device
        self.module = to_torch(graph.cut(graph.input, network.logits_name), converter).to(self.device)

    @cached_property
    def folded(self) -> Any:
        """The module with batch norms folded into the convolutions before them, where a rule wants them so."""
        return fold_batch_norms(self.module)

    def logits(self, x: Any, rule: Rule | None = None, module: Any = None) -> Any:
        """Torch logits (N, targets, ...) of a channels-first torch tensor.

        `rule` may replace operators (see `rules`), and `module` stand for the twin's own (with batch norms folded).
        Raises TierMissing where a rule is given and the twin is not a graph of operators.
        """
        import torch

        if rule is not None and not self.converter.by_operator:
            raise TierMissing(
                f"{self._network.identity} has a twin by {self.converter.name}, whose operators no rule can replace",
                advice="Take integrated-gradients, which needs gradients only.",
            )
        answer = _only(self.module(x) if rule is None else run_with_rule(module or self.module, x, rule))
        if self._network.manifest.task in ("autoencoder", "captioner"):
            return answer
        count = len(self._network.manifest.targets)
        if self._network.manifest.task != "segmentation":
            return answer.reshape(len(x), count)
        return torch.movedim(answer, -1, 1) if answer.shape[1] != count else answer

    def scores(self, logits: Any, targets: Sequence[int], regions: FloatArray | None) -> Any:
        """(N, targets) torch scores: logits, or a segmentation's sums of `regions` (targets, *grid) times logits."""
        import torch

        picked = logits[:, list(targets)]
        if regions is None:
            return picked
        weights = torch.from_numpy(regions).to(picked.device)
        return (picked * weights[None]).flatten(2).sum(dim=2)

    @stage("gradients")
    def gradients(
        self, x: FloatArray, targets: Sequence[int], regions: FloatArray | None = None, rule: Rule | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Gradients (targets, N, C, *spatial) of each target's score at `x` (N, C, *spatial), and logits (N, ...).

        One pass forward for all targets, one back for each.
        """
        import torch

        if rule is None and len(x) > 1 and not self._session.batchable(x):
            return one_by_one(self, x, targets, regions)
        leaf = torch.from_numpy(np.ascontiguousarray(x)).to(self.device).requires_grad_(True)
        logits = self.logits(leaf, rule)
        scores = self.scores(logits, targets, regions).sum(dim=0)
        last = len(targets) - 1
        per_target = [
            torch.autograd.grad(score, leaf, retain_graph=number < last)[0].cpu().numpy()
            for number, score in enumerate(scores)
        ]
        return np.stack(per_target), logits.detach().cpu().numpy()

    def pullback(self, x: FloatArray, weights: FloatArray) -> FloatArray:
        """(1, C, *spatial): d sum(logits · weights) / d x at `x`, one item; `weights` in the shape of its logits."""
        return pulled_back(self.logits, x, weights, self.device)

    @stage("gradients")
    def answers(self, x: FloatArray) -> FloatArray:
        """Logits (N, ...) of `x` (N, C, *spatial)."""
        import torch

        with torch.no_grad():
            return np.asarray(self.logits(torch.from_numpy(np.ascontiguousarray(x)).to(self.device)).cpu().numpy())


def verified_twin(
    network: Network, session: NetworkSession, cache: PackageCache, image: FloatArray | None = None
) -> tuple[Twin | None, str]:
    """The first converter's twin that answers as ONNX Runtime on three random inputs, and whose gradients are proven
    on one of them and on `image` (1, C, *spatial), where one is given; else None and the reasons."""
    inputs = probes(network)

    def twin(converter: TwinConverter) -> Twin:
        made = Twin(network, session, converter)
        for x in inputs:
            gap = parity_gap(made.answers(x), session.logits(x))
            if not gap <= PARITY:
                raise ValueError(f"its answers differ from ONNX Runtime's by {gap:.2g} of the largest, over {PARITY}")

        def prove(items: Sequence[FloatArray]) -> str:
            return unproven(session.in_single_precision.logits, made.pullback, items)

        reason = cache.proof("input gradient", converter.name, session.providers, lambda: prove(inputs))
        if not reason and image is not None:
            reason = prove([image])
        if reason:
            raise ValueError(reason)
        return made

    right, reason = first_right(twin)
    return right, reason and reason + rounding_operators(network.graph.proto.graph)


def features_of(network: Network) -> str:
    """The tensor of the class activation maps; TierMissing where there is none."""
    if network.features_name is None:
        raise TierMissing(f"{network.identity} has no feature maps: nothing to weigh for a class activation map")
    return network.features_name


def one_by_one(
    engine: GradientEngine, x: FloatArray, targets: Sequence[int], regions: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """As `GradientEngine.gradients`, an item at a time: for graphs whose batch is fixed."""
    parts = [engine.gradients(x[item : item + 1], targets, regions) for item in range(len(x))]
    return np.concatenate([part[0] for part in parts], axis=1), np.concatenate([part[1] for part in parts])


def probes(network: Network) -> list[FloatArray]:
    """Three random inputs (1, C, *spatial), of the size that images have first."""
    spec = network.manifest.input
    return [smooth_noise((spec.channels, *spec.shape), scale) for scale in (1.0, 0.3, 3.0)]


def probes_of_features(random: FloatArray, answers: Answers) -> list[FloatArray]:
    """Features to prove a head on: as a rectifier leaves them, then without it; above 0 where `answers`, ONNX Runtime's
    of the head, has none to others. At least one, and of the others those to which all answers are finite.

    A root or a logarithm behind features that are never negative, as of generalised-mean pooling (Radenović et al.
    2019, eq. 3), has no answer to half of all random numbers, and is right on all that the network makes. One that
    grows steeply, as by an exponential, leaves the range of floats where features are ten times as large: there is
    nothing to compare then.
    """
    if np.isfinite(answers(random)).all():
        return _answered([np.maximum(random, 0), random, 10 * random], answers)
    positive = np.abs(random)
    return _answered([positive, 10 * positive], answers)


def _answered(items: Sequence[FloatArray], answers: Answers) -> list[FloatArray]:
    """Those of `items` to which all answers are finite; the first where there are none."""
    return [features for features in items if np.isfinite(answers(features)).all()] or [items[0]]


@stage("gradients")
def pulled_back(module: Callable[[Any], Any], x: FloatArray, weights: FloatArray, device: str) -> FloatArray:
    """In the shape of `x`: d sum(module(x) · weights) / d x by torch; zero where the answer has no gradient by `x`."""
    import torch

    leaf = torch.from_numpy(np.ascontiguousarray(x)).to(device).requires_grad_(True)
    answer = _only(module(leaf))
    if not answer.requires_grad:
        return np.zeros_like(x)
    score = (answer.reshape(weights.shape) * torch.from_numpy(weights).to(device)).sum()
    (gradient,) = torch.autograd.grad(score, leaf, allow_unused=True)
    return np.zeros_like(x) if gradient is None else np.asarray(gradient.cpu().numpy(), np.float32)


def only_output(module: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The module as a function of one tensor that gives one, where it gives a list of one."""
    return lambda x: _only(module(x))


def _only(answer: Any) -> Any:
    return answer[0] if isinstance(answer, (tuple, list)) else answer
