"""Gradients run by ONNX Runtime: used where they export, are proven, equal the twin's, and were measured to be faster.

What is compiled now may come from other versions than what onboarding compared with the twin, so that it is proven
anew (see `gradient_proof`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import TierMissing
from whyray.inference.converters import TwinConverter, to_torch
from whyray.inference.gradient import PARITY, features_of, one_by_one, parity_gap, probes, probes_of_features
from whyray.inference.gradient_export import COMPILER, GRADIENT, INPUT, LOGITS, WEIGHTS, export_gradient, fixed_reshapes
from whyray.inference.gradient_proof import unproven
from whyray.inference.network import Network
from whyray.inference.network_session import NetworkSession
from whyray.inference.package_cache import PackageCache, installed_version
from whyray.inference.session import open_session, run_session


class CompiledGradient:
    """One compiled graph, from a tensor to the logits: (x, weights) → (logits, d sum(logits · weights) / d x)."""

    def __init__(self, network: Network, cache: PackageCache, start: str, converter: TwinConverter) -> None:
        graph = network.graph

        def make() -> bytes:
            proto = fixed_reshapes(graph.cut(start, network.logits_name), graph.shapes)
            sizes = graph.shapes.get(start, ())[1:]
            if not sizes or None in sizes:
                raise ValueError(f"the shape of {start!r} is not known")
            return export_gradient(to_torch(proto, converter), [int(size or 1) for size in sizes])

        made_of = {"from": start, "to": network.logits_name, **_compilers(converter)}
        if network.manifest.input.layout == "NHWC":
            made_of["layout"] = "channels first"  # what was kept before took this input as the manifest has it
        exported = cache.fetch("gradient", made_of, make)
        self._session = open_session(exported, network.options, name=f"{graph.where} (gradient)")
        self.weights_shape = tuple(self._session.get_inputs()[1].shape[1:])

    def __call__(self, x: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`x` (N, ...) as the graph takes it, `weights` (N, *weights_shape)."""
        feeds = {INPUT: np.ascontiguousarray(x, np.float32), WEIGHTS: np.ascontiguousarray(weights, np.float32)}
        logits, gradient = run_session(self._session, [LOGITS, GRADIENT], feeds)
        return np.asarray(logits, np.float32), np.asarray(gradient, np.float32)


class CompiledEngine:
    """The whole model's gradient, compiled: one pass forward and back for each target."""

    def __init__(
        self,
        network: Network,
        session: NetworkSession,
        cache: PackageCache,
        converter: TwinConverter,
        *,
        prove: bool = False,
    ) -> None:
        self._network, self._session = network, session
        self._run = CompiledGradient(network, cache, network.graph.input, converter)
        if prove:
            reason = cache.proof(
                "compiled input gradient",
                converter.name,
                session.providers,
                lambda: unproven(session.in_single_precision.logits, self.pullback, probes(network)),
            )
            if reason:
                raise ValueError(reason)

    def gradients(
        self, x: FloatArray, targets: Sequence[int], regions: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """As `GradientEngine.gradients`."""
        if len(x) > 1 and not self._session.batchable(x):
            return one_by_one(self, x, targets, regions)
        per_target = []
        for number, target in enumerate(targets):
            weights = self._weights(target, None if regions is None else regions[number])
            logits, gradient = self._run(x, np.repeat(weights[None], len(x), axis=0))
            per_target.append(gradient)
        return np.stack(per_target), self._network.shaped_logits(logits, len(x))

    def pullback(self, x: FloatArray, weights: FloatArray) -> FloatArray:
        """d sum(logits · weights) / d x of one item, `weights` in the shape of its logits."""
        _, gradient = self._run(x, self._as_compiled(weights[0])[None])
        return gradient

    def answers(self, x: FloatArray) -> FloatArray:
        """Logits (N, ...) of `x` (N, C, *spatial)."""
        logits, _ = self._run(x, np.zeros((len(x), *self._run.weights_shape), np.float32))
        return self._network.shaped_logits(logits, len(x))

    def _weights(self, target: int, region: FloatArray | None) -> FloatArray:
        weights = np.zeros((len(self._network.manifest.targets), *(() if region is None else region.shape)), np.float32)
        weights[target] = 1 if region is None else region
        return self._as_compiled(weights)

    def _as_compiled(self, weights: FloatArray) -> FloatArray:
        """Weights (targets, *grid) of one item in the shape that the graph gives its logits in."""
        shape = self._run.weights_shape
        last = weights.ndim > 1 and shape[0] != len(weights)
        return np.moveaxis(weights, 0, -1) if last else weights.reshape(shape)


class CompiledHead:
    """The gradient of a head without a closed form, compiled: all targets in one run. Called as `HeadGradient` is."""

    def __init__(
        self,
        network: Network,
        session: NetworkSession,
        cache: PackageCache,
        converter: TwinConverter,
        *,
        prove: bool = False,
    ) -> None:
        features = features_of(network)
        self._network = network
        self._run = CompiledGradient(network, cache, features, converter)
        if prove:
            sizes = [size or 1 for size in network.graph.shapes[features][1:]]
            random = np.random.default_rng(0).normal(size=(1, *sizes)).astype(np.float32)
            reason = cache.proof(
                "compiled head gradient",
                converter.name,
                session.providers,
                lambda: unproven(
                    session.in_single_precision.network.head_run, self._pullback, probes_of_features(random)
                ),
            )
            if reason:
                raise ValueError(reason)

    def __call__(
        self, features: FloatArray, logits: FloatArray, targets: Sequence[int], regions: FloatArray | None = None
    ) -> tuple[FloatArray, float]:
        """Gradients (targets, channels, *grid) of each target's score, and the gap to ONNX Runtime's logits."""
        weights = np.zeros((len(targets), *logits.shape[1:]), np.float32)
        for number, target in enumerate(targets):
            weights[number, target] = 1 if regions is None else regions[number]
        repeated = np.repeat(features, len(targets), axis=0)
        answer, gradient = self._run(repeated, weights.reshape(len(targets), *self._run.weights_shape))
        gap = parity_gap(answer.reshape(len(targets), *logits.shape[1:]), logits)
        if gap > PARITY:
            raise TierMissing(f"{self._network.identity}: the compiled head differs from ONNX Runtime by {gap:.2g}")
        return gradient, gap

    def _pullback(self, features: FloatArray, weights: FloatArray) -> FloatArray:
        return self._run(features, weights.reshape(1, *self._run.weights_shape))[1]


def _compilers(converter: TwinConverter) -> dict[str, str]:
    """All that decides what an exported gradient is, by name and version."""
    versions = {name: installed_version(name) for name in ("torch", "onnx", "onnxscript", converter.name)}
    return {"form": str(COMPILER), **versions}
