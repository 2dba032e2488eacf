"""Gradients run by ONNX Runtime: used where they export, are proven, equal the twin's, and were measured to be faster.

What is compiled now may come from other versions than what onboarding compared with the twin, so that it is proven
anew (see `gradient_proof`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import TierMissing
from whyray.inference.converters import CONVERTERS, Converter, to_torch
from whyray.inference.gradient import (
    PARITY,
    GradientEngine,
    HeadGradient,
    Twin,
    in_single_precision,
    parity_gap,
    probes,
    probes_of_features,
)
from whyray.inference.gradient_export import COMPILER, GRADIENT, INPUT, LOGITS, WEIGHTS, export_gradient, fixed_reshapes
from whyray.inference.gradient_proof import unproven
from whyray.inference.session import open_session, run_session

if TYPE_CHECKING:
    from whyray.inference.model import Model

SAME = 1e-3
"""Largest difference of compiled gradients to the twin's, by Euclidean norm: single places differ more where an
activation has a kink just there, and rounding decides its side."""
_TURNS = 5


class CompiledGradient:
    """One compiled graph, from a tensor to the logits: (x, weights) → (logits, d sum(logits · weights) / d x)."""

    def __init__(self, model: Model, start: str, converter: Converter) -> None:
        graph = model.graph

        def make() -> bytes:
            proto = fixed_reshapes(graph.cut(start, model.logits_name), graph.shapes)
            sizes = graph.shapes.get(start, ())[1:]
            if not sizes or None in sizes:
                raise ValueError(f"the shape of {start!r} is not known")
            return export_gradient(to_torch(proto, converter), [int(size or 1) for size in sizes])

        made_of = {"from": start, "to": model.logits_name, **_compilers(converter)}
        self._session = open_session(
            model.compiled("gradient", made_of, make), model.options, name=f"{graph.where} (gradient)"
        )
        self.weights_shape = tuple(self._session.get_inputs()[1].shape[1:])

    def __call__(self, x: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`x` (N, ...) as the graph takes it, `weights` (N, *weights_shape)."""
        feeds = {INPUT: np.ascontiguousarray(x, np.float32), WEIGHTS: np.ascontiguousarray(weights, np.float32)}
        logits, gradient = run_session(self._session, [LOGITS, GRADIENT], feeds)
        return np.asarray(logits, np.float32), np.asarray(gradient, np.float32)


class CompiledEngine:
    """The whole model's gradient, compiled: one pass forward and back for each target."""

    def __init__(self, model: Model, converter: Converter = CONVERTERS[0], *, prove: bool = False) -> None:
        self._model = model
        self._last = model.manifest.input.layout == "NHWC"
        self._run = CompiledGradient(model, model.graph.input, converter)
        if prove:
            reason = model.proof(
                "compiled input gradient",
                converter,
                lambda: unproven(in_single_precision(model).batch_logits, self.pullback, probes(model)),
            )
            if reason:
                raise ValueError(reason)

    def gradients(
        self, x: FloatArray, targets: Sequence[int], regions: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """As `GradientEngine.gradients`."""
        if len(x) > 1 and not self._model.batchable(x):
            parts = [self.gradients(x[each : each + 1], targets, regions) for each in range(len(x))]
            return np.concatenate([part[0] for part in parts], axis=1), np.concatenate([each[1] for each in parts])
        fed = np.moveaxis(x, 1, -1) if self._last else x
        found = []
        for number, target in enumerate(targets):
            weights = self._weights(target, None if regions is None else regions[number])
            logits, gradient = self._run(fed, np.repeat(weights[None], len(x), axis=0))
            found.append(np.moveaxis(gradient, -1, 1) if self._last else gradient)
        return np.stack(found), self._model.shaped_logits(logits, len(x))

    def pullback(self, x: FloatArray, weights: FloatArray) -> FloatArray:
        """d sum(logits · weights) / d x of one item, `weights` in the shape of its logits."""
        fed = np.moveaxis(x, 1, -1) if self._last else x
        _, gradient = self._run(fed, self._as_compiled(weights[0])[None])
        return np.moveaxis(gradient, -1, 1) if self._last else gradient

    def answers(self, x: FloatArray) -> FloatArray:
        """Logits (N, ...) of `x` (N, C, *spatial)."""
        fed = np.moveaxis(x, 1, -1) if self._last else x
        logits, _ = self._run(fed, np.zeros((len(x), *self._run.weights_shape), np.float32))
        return self._model.shaped_logits(logits, len(x))

    def _weights(self, target: int, region: FloatArray | None) -> FloatArray:
        weights = np.zeros((len(self._model.targets), *(() if region is None else region.shape)), np.float32)
        weights[target] = 1 if region is None else region
        return self._as_compiled(weights)

    def _as_compiled(self, weights: FloatArray) -> FloatArray:
        """Weights (targets, *grid) of one item in the shape that the graph gives its logits in."""
        shape = self._run.weights_shape
        last = weights.ndim > 1 and shape[0] != len(weights)
        return np.moveaxis(weights, 0, -1) if last else weights.reshape(shape)


class CompiledHead:
    """The gradient of a head without a closed form, compiled: all targets in one run. Called as `HeadGradient` is."""

    def __init__(self, model: Model, converter: Converter = CONVERTERS[0], *, prove: bool = False) -> None:
        if model.features_name is None:
            raise TierMissing(f"{model.identity} has no feature maps: nothing to weigh for a class activation map")
        self._model = model
        self._run = CompiledGradient(model, model.features_name, converter)
        if prove:
            sizes = [size or 1 for size in model.graph.shapes[model.features_name][1:]]
            random = np.random.default_rng(0).normal(size=(1, *sizes)).astype(np.float32)
            reason = model.proof(
                "compiled head gradient",
                converter,
                lambda: unproven(in_single_precision(model).head_run, self._pullback, probes_of_features(random)),
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
            raise TierMissing(f"{self._model.identity}: the compiled head differs from ONNX Runtime by {gap:.2g}")
        return gradient, gap

    def _pullback(self, features: FloatArray, weights: FloatArray) -> FloatArray:
        return self._run(features, weights.reshape(1, *self._run.weights_shape))[1]


def compare_gradients(model: Model, x: FloatArray, *, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """What compiling the input gradient gives, measured on the image `x` (1, C, *spatial): an entry of the report.

    `used up to targets`: for so many targets at once it is the faster engine; 0 where the twin is, or where the
    gradient does not export or differs from the twin's.
    """
    try:
        twin = model.twin("gradient")
        engine = CompiledEngine(model, twin.converter)
        regions = _some_regions(model, x)
        gap = _difference(engine, twin, x, regions, model)
    except Exception as error:  # tracer, exporter and ONNX Runtime each have classes of their own
        return _not_used(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    if not gap <= SAME:
        return _not_used(f"its gradients differ from the twin's by {gap:.2g}, more than {SAME}")
    most = min(len(model.targets), 4)

    def seconds(which: GradientEngine, count: int) -> Callable[[], object]:
        part = None if regions is None else regions[:count]
        return lambda: which.gradients(x, list(range(count)), part)

    ways = {
        "twin, 1 target": seconds(twin, 1),
        f"twin, {most} targets": seconds(twin, most),
        "compiled, 1 target": seconds(engine, 1),
    }
    first, several, own = medians(list(ways.values()), clock)
    return {
        "exported": True,
        "converter": twin.converter.name,
        "difference to the twin": float(f"{gap:.2g}"),
        "seconds": {name: round(each, 6) for name, each in zip(ways, (first, several, own), strict=True)},
        "used up to targets": worth_it(first, several, own, most, len(model.targets)),
    }


def compare_heads(model: Model, x: FloatArray, *, clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """The same for the head's gradient, where the head has no closed form; all targets at once."""
    run = model.run(x)
    assert run.features is not None
    targets, regions = list(range(len(model.targets))), _some_regions(model, x)
    try:
        twin = HeadGradient(model)
        engine = CompiledHead(model, twin.converter)
        given = (run.features, run.logits, targets, regions)
        expected, found = twin(*given)[0], engine(*given)[0]
        gap = float(np.linalg.norm(found - expected) / max(float(np.linalg.norm(expected)), 1e-12))
    except Exception as error:  # as above
        return _not_used(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    if not gap <= SAME:
        return _not_used(f"its gradients differ from the twin's by {gap:.2g}, more than {SAME}")
    slow, fast = medians([lambda: twin(*given), lambda: engine(*given)], clock)
    return {
        "exported": True,
        "converter": twin.converter.name,
        "difference to the twin": float(f"{gap:.2g}"),
        "seconds": {"twin, all targets": round(slow, 6), "compiled, all targets": round(fast, 6)},
        "used up to targets": len(targets) if fast < slow else 0,
    }


def worth_it(first: float, several: float, own: float, measured: int, targets: int) -> int:
    """For how many targets at once the compiled gradient is faster.

    The twin goes forward once and back for each target, so its time is `first` for one and grows evenly to `several`
    for `measured`; the compiled graph goes both ways for each, `own` every time.
    """
    if own >= first:
        return 0
    more = (several - first) / max(measured - 1, 1) if measured > 1 else first
    if own <= more:
        return targets
    return max(1, min(targets, int((first - more) / (own - more))))


def medians(ways: Sequence[Callable[[], object]], clock: Callable[[], float]) -> list[float]:
    """Median seconds of each way, taken in turns after one turn to warm up."""
    taken = np.zeros((_TURNS + 1, len(ways)))
    for turn in taken:
        for number, way in enumerate(ways):
            started = clock()
            way()
            turn[number] = clock() - started
    return [float(each) for each in np.median(taken[1:], axis=0)]


def _difference(engine: GradientEngine, twin: Twin, x: FloatArray, regions: FloatArray | None, model: Model) -> float:
    """The larger of: relative distance of gradients, and parity of logits; of one item, and of three where it can."""
    targets = list(range(len(model.targets)))
    worst = 0.0
    several = np.concatenate([x, 0.5 * x, np.flip(x, axis=-1)])
    for images in (x, several) if model.batchable(several) else (x,):
        expected, _ = twin.gradients(images, targets, regions)
        found, logits = engine.gradients(images, targets, regions)
        distance = float(np.linalg.norm(found - expected) / max(float(np.linalg.norm(expected)), 1e-12))
        worst = max(worst, distance, parity_gap(logits, model.batch_logits(images)))
    return worst


def _some_regions(model: Model, x: FloatArray) -> FloatArray | None:
    """For a segmentation, a part of the grid for each target: halves will do, what is compared is arithmetic."""
    if model.task != "segmentation":
        return None
    grid = model.run(x).logits.shape[2:]
    regions = np.zeros((len(model.targets), *grid), np.float32)
    regions[:, ..., : grid[-1] // 2] = 1.0 / max(1, int(np.prod(grid)) // 2)
    return regions


def _not_used(reason: str) -> dict[str, Any]:
    return {"exported": False, "why not": reason, "used up to targets": 0}


def _compilers(converter: Converter) -> dict[str, str]:
    found = {"form": str(COMPILER)}
    for name in ("torch", "onnx", "onnxscript", converter.name):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
