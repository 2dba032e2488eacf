"""Gradients that ONNX Runtime computes of a graph (x, weights) → (logits, gradient), however that graph was made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.inference.gradient import one_by_one
from whyray.inference.gradient_export import GRADIENT, INPUT, LOGITS, WEIGHTS
from whyray.inference.network import Network
from whyray.inference.network_session import NetworkSession
from whyray.inference.session import RuntimeOptions, open_session, run_session


class GradientSession:
    """One graph, from a tensor to the logits: (x, weights) → (logits, d sum(logits · weights) / d x)."""

    def __init__(self, graph: bytes, options: RuntimeOptions, where: str) -> None:
        self._session = open_session(graph, options, name=f"{where} (gradient)")
        self.weights_shape = tuple(self._session.get_inputs()[1].shape[1:])

    def __call__(self, x: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`x` (N, ...) as the graph takes it, `weights` (N, *weights_shape)."""
        feeds = {INPUT: np.ascontiguousarray(x, np.float32), WEIGHTS: np.ascontiguousarray(weights, np.float32)}
        logits, gradient = run_session(self._session, [LOGITS, GRADIENT], feeds, words="gradients")
        return np.asarray(logits, np.float32), np.asarray(gradient, np.float32)


class GradientGraphEngine:
    """The whole model's gradient by such a graph: one pass forward and back for each target.

    `singles`: whether the graph takes one item at a time.
    """

    def __init__(self, network: Network, session: NetworkSession, run: GradientSession, *, singles: bool) -> None:
        self._network, self._session, self._run, self._singles = network, session, run, singles

    def gradients(
        self, x: FloatArray, targets: Sequence[int], regions: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """As `GradientEngine.gradients`."""
        if len(x) > 1 and (self._singles or not self._session.batchable(x)):
            return one_by_one(self, x, targets, regions)
        per_target = []
        for number, target in enumerate(targets):
            weights = self._weights(target, None if regions is None else regions[number])
            logits, gradient = self._run(x, np.repeat(weights[None], len(x), axis=0))
            per_target.append(gradient)
        return np.stack(per_target), self._network.shaped_logits(logits, len(x))

    def pullback(self, x: FloatArray, weights: FloatArray) -> FloatArray:
        """(1, C, *spatial): d sum(logits · weights) / d x at `x`, one item; `weights` in the shape of its logits."""
        _, gradient = self._run(x, self._as_graph(weights[0])[None])
        return gradient

    def answers(self, x: FloatArray) -> FloatArray:
        """Logits (N, ...) of `x` (N, C, *spatial)."""
        parts = [x[item : item + 1] for item in range(len(x))] if self._singles else [x]
        runs = [self._run(part, np.zeros((len(part), *self._run.weights_shape), np.float32)) for part in parts]
        return self._network.shaped_logits(np.concatenate([logits for logits, _ in runs]), len(x))

    def _weights(self, target: int, region: FloatArray | None) -> FloatArray:
        weights = np.zeros((len(self._network.manifest.targets), *(() if region is None else region.shape)), np.float32)
        weights[target] = 1 if region is None else region
        return self._as_graph(weights)

    def _as_graph(self, weights: FloatArray) -> FloatArray:
        """Weights (targets, *grid) of one item in the shape that the graph gives its logits in."""
        shape = self._run.weights_shape
        last = weights.ndim > 1 and shape[0] != len(weights)
        return np.moveaxis(weights, 0, -1) if last else weights.reshape(shape)
