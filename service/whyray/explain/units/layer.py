"""A layer's units on one image, what each contributed to the answers, and what is left of these without a unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import ExplanationError, TierMissing
from whyray.explain.case import Case
from whyray.explain.weights import feature_gradient
from whyray.inference import Model, parity_gap

_CHUNK_BYTES = 1 << 26


@dataclass(frozen=True)
class Contributions:
    """What each unit gave to each target's score.

    Attributes
    ----------
    values
        (targets, units), in logits.
    base
        (targets,): the score of a layer that is silent; None where contributions don't add up to the score.
    how
        'exact', 'gradient × activation' or 'ablation'.
    gap
        Difference of the head that was used to ONNX Runtime's logits, relative (see `parity_gap`).
    """

    values: FloatArray
    base: FloatArray | None
    how: str
    gap: float


def layer_named(model: Model, named: str | None) -> str:
    """The tensor whose units are meant: the one named, else the feature maps.

    Raises TierMissing where there are no feature maps, ExplanationError where the tensor isn't one of units on a grid
    or the answer doesn't follow from it alone.
    """
    layer = named or model.network.features_name
    if layer is None:
        raise TierMissing(f"{model.identity} has no feature maps, so no units on a grid")
    shape = model.network.graph.shapes.get(layer)
    if layer not in model.network.graph.producer or (shape is not None and len(shape) != len(model.spatial_shape) + 2):
        raise ExplanationError(
            f"{model.identity}: {layer!r} is no tensor of units on a grid",
            advice="Name an inner tensor (N, units, *grid) of the graph, or leave `layer` out.",
        )
    if model.network.graph.between(layer, model.network.logits_name) is None:
        raise ExplanationError(
            f"{model.identity}: the answer depends on more than {layer!r}",
            advice="Name a later tensor, one that all ways from the input pass.",
        )
    return layer


def activations(model: Model, x: FloatArray, layer: str) -> FloatArray:
    """(N, units, *grid) of channels-first `x` (N, C, *spatial)."""
    return model.session.tapped(x, [layer])[layer]


def case_activations(case: Case, layer: str) -> FloatArray:
    """(units, *grid) of the case's image; no further pass for the feature maps."""
    if layer == case.model.network.features_name and case.run.features is not None:
        features: FloatArray = case.run.features[0]
        return features
    kept: FloatArray = case.image.tapped(layer)[0]
    return kept


def pooled(values: FloatArray) -> FloatArray:
    """(…, units): the mean over the grid of (…, units, *grid), where the first axis is items."""
    means: FloatArray = values.reshape(*values.shape[:2], -1).mean(axis=2)
    return means


def contributions(case: Case, layer: str, means: FloatArray) -> Contributions:
    """What each unit gave to each target of the case, (targets, units) float32 in units of the target's score.

    Exact where the head is affine: the unit's weight times its activation, summed over the grid, so that
    `base` plus all contributions is the score (the closed form of Zhou et al. 2016, section 2). Else the gradient times
    the activation (Shrikumar et al. 2016), where the head can be run backward; else the fall of the score when the
    unit is set to its mean over the references, `means` (units,). Raises what the session raises where it can't run.
    """
    model, targets = case.model, list(case.targets)
    values = case_activations(case, layer)
    if layer == model.network.features_name:
        head = model.network.head
        if head is not None and head.kind == "pooled":
            mean = values.reshape(len(values), -1).mean(axis=1)
            gap = parity_gap(head.weight @ mean + head.bias, case.run.logits[0])
            return Contributions(head.weight[targets] * mean, head.bias[targets], "exact", gap)
        try:
            gradient = feature_gradient(case, at_positions=True)
        except TierMissing:
            pass
        else:
            contributed = np.stack([(slope * values).reshape(len(values), -1).sum(axis=1) for slope in gradient.full()])
            base = None if head is None else head.bias[targets]
            how = "gradient × activation" if head is None else "exact"
            return Contributions(contributed.astype(np.float32), base, how, gradient.gap)
    without = ablated(case, layer, range(len(values)), means)
    return Contributions(-without, None, "ablation", head_gap(case, layer))


def ablated(case: Case, layer: str, units: Sequence[int], means: FloatArray) -> FloatArray:
    """(targets, len(units)): how each score changes when one unit is set to its mean everywhere, and the head re-run.

    A unit that the answer doesn't depend on changes nothing. Network ablation as in Morcos et al. 2018, with the mean
    over the references in place of zero, so that the head isn't asked about activations that never occur.
    """
    values = case_activations(case, layer)
    start = _head_scores(case, layer, values[None])[0]
    changed = [_without(values, units[part], means) for part in _parts(len(units), values)]
    scores = np.concatenate([_head_scores(case, layer, batch) for batch in changed])
    return np.asarray((scores - start).T, np.float32)


def ablated_together(case: Case, layer: str, groups: Sequence[Sequence[int]], means: FloatArray) -> FloatArray:
    """(targets, groups): the same for several units at once."""
    values = case_activations(case, layer)
    start = _head_scores(case, layer, values[None])[0]
    scores = []
    for part in _parts(len(groups), values):
        batch = np.repeat(values[None], part.stop - part.start, axis=0)
        for changed, group in zip(batch, groups[part], strict=True):
            picked = list(group)
            changed[picked] = means[picked].reshape(-1, *[1] * (values.ndim - 1))
        scores.append(_head_scores(case, layer, batch))
    return np.asarray((np.concatenate(scores) - start).T, np.float32)


def head_gap(case: Case, layer: str) -> float:
    """The difference of the head, run on the layer as it is, to the logits of the whole graph, relative."""
    return parity_gap(case.model.network.head_from(layer)(case_activations(case, layer)[None]), case.run.logits)


def _without(values: FloatArray, units: Sequence[int], means: FloatArray) -> FloatArray:
    batch = np.repeat(values[None], len(units), axis=0)
    for changed, unit in zip(batch, units, strict=True):
        changed[unit] = means[unit]
    return batch


def _head_scores(case: Case, layer: str, values: FloatArray) -> FloatArray:
    logits = case.model.network.head_from(layer)(values)
    return case.scores_of(logits.reshape(len(values), *case.run.logits.shape[1:]))


def _parts(count: int, values: FloatArray) -> Iterator[slice]:
    step = max(1, _CHUNK_BYTES // values.nbytes)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
