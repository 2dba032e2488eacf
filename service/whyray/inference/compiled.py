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
from whyray.inference.gradient import PARITY, features_of, parity_gap, probes, probes_of_features
from whyray.inference.gradient_export import COMPILER, export_gradient, fixed_reshapes
from whyray.inference.gradient_proof import unproven
from whyray.inference.gradient_session import GradientGraphEngine, GradientSession
from whyray.inference.network import Network
from whyray.inference.network_session import NetworkSession
from whyray.inference.package_cache import PackageCache, installed_version


class CompiledGradient(GradientSession):
    """A gradient that torch's exporter wrote."""

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
        super().__init__(cache.fetch("gradient", made_of, make), network.options, graph.where)


class CompiledEngine(GradientGraphEngine):
    """The whole model's gradient, compiled."""

    def __init__(
        self,
        network: Network,
        session: NetworkSession,
        cache: PackageCache,
        converter: TwinConverter,
        *,
        prove: bool = False,
    ) -> None:
        run = CompiledGradient(network, cache, network.graph.input, converter)
        super().__init__(network, session, run, singles=False)
        if prove:
            reason = cache.proof(
                "compiled input gradient",
                converter.name,
                session.providers,
                lambda: unproven(session.in_single_precision.logits, self.pullback, probes(network)),
            )
            if reason:
                raise ValueError(reason)


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

            def unproven_on_features() -> str:
                answers = session.in_single_precision.network.head_run
                return unproven(answers, self._pullback, probes_of_features(random, answers))

            reason = cache.proof("compiled head gradient", converter.name, session.providers, unproven_on_features)
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
