"""Proving gradients by finite differences: a twin that answers as ONNX Runtime does may still have other gradients.

Rounding is the usual cause. A quantised graph answers alike in torch, but its operators have a gradient of zero almost
everywhere, while its answers do change with the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import TierMissing

Answers = Callable[[FloatArray], FloatArray]
"""Logits (1, ...) of one item (1, ...), by ONNX Runtime."""
Pullback = Callable[[FloatArray, FloatArray], FloatArray]
"""d sum(logits · weights) / d x of one item x (1, ...) and weights (1, ...), by the engine that is to be proven."""


class UndecidedProof(TierMissing):
    """Whether the gradients are those of the answers can't be said so that another machine says the same."""

    default_advice = "Take another method for this package, or export its graph again."


PROOF = 1
"""Raised when what is done here changes, so that a proof that was kept before is not taken for this one."""
TOLERANCE = 0.05
"""Largest difference of claimed to measured slopes, by Euclidean norm. Kinks within a step take up to 3 % in trained
nets, and less than 2 % where gradients are averaged."""
MARGIN = 0.25
"""Share of the tolerance on either side of it within which rounding on another machine may tell the other way."""
_MIXTURES = 2
_DIRECTIONS = 2
_REFERENCES = 16
"""Directions of each kind of which the usual size of a slope is taken: two alone may happen to be flat."""
_STEPS = ((1e-4, 1), (3e-5, 1), (1e-4, 4), (1e-2, 8))
"""Half a step, in standard deviations of the item, and the places along it whose gradients are averaged. Short steps,
since nets of rectifiers have a kink at every turn; averages where that is not enough, as for a black background, whose
every pixel lies on a kink; and one longer step for answers that stand still on short ones."""
_HOPELESS = 0.5
"""What differs more than this on short steps is not tried on a longer one."""
_NOISE = 4e-6
"""Of the answers' size: differences that rounding in single precision alone can make."""
_ROUNDING = frozenset(
    [
        "QuantizeLinear",
        "DynamicQuantizeLinear",
        "ConvInteger",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "Round",
        "Floor",
        "Ceil",
        "Sign",
        "ArgMax",
        "ArgMin",
        "OneHot",
        "QGemm",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "QLinearAdd",
        "QLinearGlobalAveragePool",
        "QLinearAveragePool",
        "MatMulNBits",
    ]
)


def unproven(answers: Answers, pullback: Pullback, items: Iterable[FloatArray]) -> str:
    """Why these gradients are not those of the answers; empty where they are.

    Along seeded directions, smooth and white, the answers are compared a step back and a step forward (central
    differences), in random mixtures of all targets: what is measured must equal the mean gradient along the step times
    the step (the fundamental theorem of calculus for line integrals). One step on which that holds proves it. The first
    of `items` on which the answers move at all decides. It takes 9 passes forward, and 2 forward and back, where the
    first step proves it; 25 and 18 where the gradients are quite other ones.
    """
    return _refusal(_first_gap(answers, pullback, items, TOLERANCE))


def surely_unproven(answers: Answers, pullback: Pullback, items: Iterable[FloatArray], where: str) -> str:
    """As `unproven`, for what two engines may be chosen by: what is proven here is not refused on another machine.

    Raises UndecidedProof where the differences are within `MARGIN` of the tolerance; `where` is its subject.
    """
    gap = _first_gap(answers, pullback, items, TOLERANCE * (1 - MARGIN))
    if gap is not None and TOLERANCE * (1 - MARGIN) < gap <= TOLERANCE * (1 + MARGIN):
        raise UndecidedProof(
            f"{where}: gradients differ from finite differences by {gap:.2g} of their size, too near {TOLERANCE} to "
            "say on every machine the same whether they are believed"
        )
    return _refusal(gap)


def _refusal(gap: float | None) -> str:
    if gap is None:
        return "its gradients can't be proven: ONNX Runtime's answers do not change with what goes in"
    if gap <= TOLERANCE:
        return ""
    return (
        f"its gradients are not those of ONNX Runtime's answers: they differ from finite differences by {gap:.2g} "
        f"of their size, more than {TOLERANCE}"
    )


def _first_gap(answers: Answers, pullback: Pullback, items: Iterable[FloatArray], enough: float) -> float | None:
    """`_gap` of the first item on which the answers move."""
    return next((gap for item in items if (gap := _gap(answers, pullback, item, enough)) is not None), None)


def rounding_operators(graph: Any) -> str:
    """'; the graph rounds (QuantizeLinear)', where it has operators whose gradient is zero or not defined."""
    rounding = sorted({node.op_type for node in graph.node if node.op_type in _ROUNDING})
    return f"; the graph rounds ({', '.join(rounding)})" if rounding else ""


def _gap(answers: Answers, pullback: Pullback, item: FloatArray, enough: float) -> float | None:
    """The smallest relative difference over all steps, or the first that is small `enough`.

    None where the answers stand still on every step.
    """
    rng = np.random.default_rng(0)
    here = answers(item).astype(np.float64)
    mixtures = rng.normal(size=(_MIXTURES, *here.shape)).astype(np.float32)
    at_item = [pullback(item, mixture).astype(np.float64) for mixture in mixtures]
    noise = _NOISE * float(np.linalg.norm(mixtures * here)) * _DIRECTIONS**0.5
    spread = float(item.std()) or 1.0
    kinds = [_Directions(make, rng, item.shape, spread, at_item) for make in (_smooth, _white)]
    least = None
    for step, places in _STEPS:
        if step == _STEPS[-1][0] and least is not None and least > _HOPELESS:
            break
        gaps = []
        for kind in kinds:
            measured, claimed = [], []
            for number, direction in enumerate(kind.few):
                ahead, behind = (answers((item + sign * step * direction).astype(np.float32)) for sign in (1, -1))
                change = ahead.astype(np.float64) - behind.astype(np.float64)
                for place in range(_MIXTURES) if places == 1 else (number % _MIXTURES,):
                    gradient = at_item[place]
                    if places > 1:
                        gradient = _mean_gradient(pullback, item, step * direction, mixtures[place], places)
                    measured.append(float((mixtures[place] * change).sum()) / (2 * step))
                    claimed.append(float((gradient * direction).sum()))
            if 2 * step * float(np.linalg.norm(measured)) > noise:
                size = max(_root_mean_square(measured), kind.usual)
                gaps.append(_root_mean_square(np.subtract(claimed, measured)) / size)
        if len(gaps) == len(kinds):
            worst = max(gaps)
            if worst <= enough:
                return worst
            least = worst if least is None or not least <= worst else least
    return least


class _Directions:
    """Directions of one kind: a few to measure along, and the usual size of what the gradients claim along such."""

    def __init__(
        self,
        make: Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]],
        rng: np.random.Generator,
        shape: tuple[int, ...],
        spread: float,
        gradients: Sequence[NDArray[np.float64]],
    ) -> None:
        self.few: list[NDArray[np.float64]] = []
        slopes = []
        for number in range(_REFERENCES):
            direction = make(rng, shape) * spread
            slopes += [float((gradient * direction).sum()) for gradient in gradients]
            if number < _DIRECTIONS:
                self.few.append(direction)
        self.usual = _root_mean_square(slopes)


def _mean_gradient(
    pullback: Pullback, item: FloatArray, reach: NDArray[np.float64], mixture: FloatArray, places: int
) -> NDArray[np.float64]:
    """The gradient's mean from `item - reach` to `item + reach`, by the midpoint rule."""
    shares = (np.arange(places) + 0.5) / places * 2 - 1
    steps = ((item + share * reach).astype(np.float32) for share in shares)
    return np.asarray(np.mean([pullback(step, mixture) for step in steps], axis=0, dtype=np.float64))


def _smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Noise of unit size that is smooth along the last two axes, as images are."""
    noise = np.cumsum(np.cumsum(rng.normal(size=shape), axis=-1), axis=-2)
    return np.asarray(noise / (float(noise.std()) or 1.0), np.float64)


def _white(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return rng.normal(size=shape)


def _root_mean_square(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
