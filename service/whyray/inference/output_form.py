"""What the output of a graph is: logits, probabilities, or something else; and whether the manifest says the same.

The graph and `output.activation` must fit: an activation that is applied to what is a probability already gives a
number that nobody trained (sigmoid(sigmoid(z)) lies between 0.5 and 0.73). That is refused here, for all that use the
model, before anything is run; and where the operators don't tell, by the answers to images that drive the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import PackageError
from whyray.inference.answers import checked_logits
from whyray.inference.before_activation import Reading, independent, proved, readings, with_logits
from whyray.inference.graph import Graph
from whyray.inference.noise import smooth_noise
from whyray.inference.output_range import MOVES, Bounds, attribute, bounds, ends_linear
from whyray.inference.session import RuntimeOptions
from whyray.packages import WITHOUT_TARGETS, Manifest

_DECISIONS = frozenset(
    [
        "ArgMax",
        "ArgMin",
        "Hardmax",
        "OneHot",
        "TopK",
        "NonMaxSuppression",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Equal",
        "Not",
        "And",
        "Or",
        "Xor",
        "Sign",
    ]
)
_NO_BOXES = (
    "WhyRay explains answers about an image, not boxes. Give the graph one more output, a score for each target "
    "(N, targets), e.g. the largest of all boxes' scores before NonMaxSuppression, and name it in output.name."
)
_ROUNDINGS = frozenset({"Round", "Floor", "Ceil"})
_SCALES = (0.3, 1.0, 3.0, 30.0, 300.0, 3000.0)
"""Standard deviations of the images that drive a model: what is a probability stays in 0..1 under any of them."""
_SATURATED = 1e-3
_SUMS_TO_ONE = 1e-4


@dataclass(frozen=True)
class OutputForm:
    """How the answer comes from the graph.

    Attributes
    ----------
    logits
        The tensor that is explained.
    activation
        What turns it into the answer: sigmoid, softmax or none.
    unit
        Of what explanations are a part: `logit`, `probability` or, of a regression, `value`.
    unclear
        Whether the operators leave open that the output, to which model.yaml applies an activation, is a probability.
    """

    logits: str
    activation: str
    unit: str
    unclear: bool = False


def output_form(graph: Graph, manifest: Manifest, options: RuntimeOptions) -> tuple[Graph, OutputForm]:
    """The form of the output; and the graph, with the tensor to be explained added where it had none.

    Raises PackageError where the graph gives decisions instead of scores, or what contradicts the manifest.
    """
    name, activation = manifest.output.name, manifest.output.activation
    if manifest.task in WITHOUT_TARGETS:
        return graph, OutputForm(name, activation, "value")
    _refuse_decisions(graph, manifest)
    possible, span = readings(graph, name), bounds(graph, name)
    refuse_contradiction(
        graph, name, activation, key="output.activation", targets=len(manifest.targets), possible=possible, span=span
    )
    unclear = activation != "none" and not possible and span == (-inf, inf) and not ends_linear(graph, name)
    wanted = [
        reading
        for reading in possible
        if activation == "none" or (activation, reading.link, reading.logarithm) == _SOFTMAX_TWICE
    ]

    def shaped(raw: FloatArray) -> FloatArray:
        return checked_logits(raw, 1, manifest, identity=graph.where, tensor=name)

    _refuse_shared_probability(graph, manifest, possible, shaped, options)
    for reading in wanted:
        if proved(graph, name, reading, shaped, options):
            longer = Graph(with_logits(graph, reading), manifest.input, graph.where) if reading.nodes else graph
            return longer, OutputForm(reading.logits, reading.link, "logit")
    if activation != "none":
        return graph, OutputForm(name, activation, "logit", unclear)
    return graph, OutputForm(name, "none", "value" if manifest.task == "regression" else "probability")


def _refuse_shared_probability(
    graph: Graph,
    manifest: Manifest,
    possible: list[Reading],
    shaped: Callable[[FloatArray], FloatArray],
    options: RuntimeOptions,
) -> None:
    """PackageError where labels that don't exclude each other share out one probability, by the graph's own softmax.

    A softmax for each label, over "absent" and "present", shares out nothing among them.
    """
    exclusive = next((reading for reading in possible if reading.link == "softmax"), None)
    if manifest.task != "multi-label" or len(manifest.targets) < 2 or exclusive is None:
        return
    if not independent(graph, manifest.output.name, exclusive, shaped, options):
        raise PackageError(
            f"{graph.where}: output {manifest.output.name!r} ends in softmax ({exclusive.by}), which shares out one "
            "probability among all targets, and in model.yaml each is there or not by itself (task: multi-label)",
            advice="Set task to classification where one alone of the targets holds of each image; else name the "
            "tensor before the softmax in output.name, with output.activation sigmoid, if it was trained with that.",
        )


_SOFTMAX_TWICE = ("softmax", "softmax", True)
"""softmax(log softmax(z)) is softmax(z): the one activation that does no harm behind its own logarithm."""


def refuse_contradiction(
    graph: Graph,
    tensor: str,
    activation: str,
    *,
    key: str,
    targets: int,
    possible: list[Reading] | None = None,
    span: Bounds | None = None,
) -> None:
    """PackageError where the operators before `tensor` contradict the activation that model.yaml gives under `key`."""
    if activation == "none":
        return
    where = f"{graph.where}: {key.partition('.')[0]} {tensor!r}"
    possible = readings(graph, tensor) if possible is None else possible
    low, high = bounds(graph, tensor) if span is None else span
    for reading in possible:
        if (activation, reading.link, reading.logarithm) == _SOFTMAX_TWICE:
            break
        if reading.logarithm and activation == "softmax":
            continue  # softmax(log p) is p over the sum of all p: probabilities of exclusive classes again
        logarithm = "the logarithm of " if reading.logarithm else ""
        raise PackageError(
            f"{where} already ends in {logarithm}{reading.link} ({reading.by}), and model.yaml applies "
            f"{activation} to it again",
            advice=f"Set {key} to none (WhyRay then explains what lies before the graph's own activation).",
        )
    if activation == "softmax" and targets == 1:
        raise PackageError(
            f"{where}: softmax over one target is 1 for every image",
            advice=f"Set {key} to sigmoid, or name all classes of the output under targets.",
        )
    if low >= 0 and high <= 1:
        raise PackageError(
            f"{where} lies in {low:g} … {high:g} for every image: it is a probability already, and model.yaml applies "
            f"{activation} to it again",
            advice=f"Set {key} to none, or name the tensor before the graph's own activation.",
        )
    if activation == "sigmoid" and (low >= 0 or high <= 0):
        side, half = ("below", "below") if low >= 0 else ("above", "above")
        raise PackageError(
            f"{where} is never {side} 0, so that the sigmoid which model.yaml applies to it is never {half} 0.5",
            advice=f"Name the tensor of the logits in {key.partition('.')[0]}, before what bounds it; or set {key} to "
            "what the graph was trained with.",
        )


def _refuse_decisions(graph: Graph, manifest: Manifest) -> None:
    import onnx

    tensor = manifest.output.name
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16)
    seen: set[str] = set()
    while (node := graph.producer.get(tensor)) is not None and tensor not in seen:
        seen.add(tensor)
        rounded = node.op_type in _ROUNDINGS or (node.op_type == "Cast" and attribute(node, "to") not in kinds)
        if node.op_type in _DECISIONS or (rounded and manifest.task != "regression"):
            raise PackageError(
                f"{graph.where}: output {manifest.output.name!r} comes from {node.op_type}: decisions, and no scores "
                "that could be compared with a threshold or explained",
                advice=_NO_BOXES
                if node.op_type == "NonMaxSuppression"
                else f"Name the tensor before it in output.name, with its activation; {node.input[0]!r} goes in.",
            )
        if node.op_type not in MOVES and node.op_type != "Cast":
            return
        tensor = node.input[0]


def doubt_by_answers(
    manifest: Manifest, where: str, shape: tuple[int, ...], answers: Callable[[FloatArray], FloatArray]
) -> str:
    """What the answers to images that drive the model say about an output that the operators leave unclear.

    `answers` gives raw logits (1, targets, ...) of a channels-first image (1, *shape). Raises PackageError where they
    are probabilities: rows that sum to 1, or values that come up to 0 or 1 and never pass them. Values that lie in 0..1
    without coming near either may be logits by chance: what there is to say of them is returned, else ''.
    """
    activation, key = manifest.output.activation, "output.activation"
    outputs = [answers(smooth_noise(shape, scale)) for scale in _SCALES]
    values = np.concatenate([output.reshape(output.shape[1], -1) for output in outputs], axis=1)
    tiny = 1e-6
    if values.min() < -tiny or values.max() > 1 + tiny or values.max() - values.min() < tiny:
        return ""
    said = (
        f"{where}: output {manifest.output.name!r} lay between {values.min():.4g} and {values.max():.4g} on "
        f"{len(outputs)} images that drive the model hard"
    )
    advice = f"Set {key} to none if the graph gives probabilities, or name the tensor before its activation."
    sums = len(values) > 1 and bool(np.abs(values.sum(axis=0) - 1).max() < _SUMS_TO_ONE)
    saturated = bool((np.minimum(np.abs(values), np.abs(1 - values)) < _SATURATED).any())
    if sums or saturated:
        how = "and its targets sum to 1" if sums else "and came up to a bound without passing it"
        raise PackageError(
            f"{said}, {how}: these are probabilities already, and model.yaml applies {activation} to them again",
            advice=advice,
        )
    return f"{said}: these may be probabilities already, to which model.yaml applies {activation} again"
