"""Class activation maps weighed by what the score does, without any gradient: Score-CAM and Ablation-CAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from whyray.base.arrays import FloatArray
from whyray.base.errors import TierMissing
from whyray.explain.case import Attribution, Case
from whyray.explain.masks import UpsampledGrids
from whyray.explain.perturbed_image import PerturbedImage
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.types import Tier

_HEAD_BYTES = 1 << 26


class ScoreCamParameters(MethodParameters):
    """`channels`: only so many of the most varying channels are scored; None scores all, as the paper does."""

    channels: int | None = Field(default=None, ge=1)


@register
class ScoreCam(AttributionMap):
    """Score-CAM (Wang et al. 2020, eq. 6 to 8): each channel, upsampled and scaled to 0..1, masks the image.

    Weights are the softmax over channels of the scores of the masked images; map = ReLU(sum_k weight_k A_k). One
    forward pass a channel, shared by all targets; channels that are the same everywhere mask all and cost none.
    """

    name: ClassVar[str] = "score-cam"
    title: ClassVar[str] = "Score-CAM"
    tier: ClassVar[Tier] = "T1"
    unit: ClassVar[str] = "activation"
    Parameters: ClassVar[type[MethodParameters]] = ScoreCamParameters

    def cost(self, parameters: Any) -> int:
        """One a channel."""
        return int(parameters.channels or 1000)

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; as many forward passes as channels are scored."""
        assert isinstance(parameters, ScoreCamParameters)
        features = _features(case)
        flat = features.reshape(len(features), -1)
        spread = flat.max(axis=1) - flat.min(axis=1)
        count = min(parameters.channels or len(features), len(features))
        kept = np.sort(np.argsort(-flat.var(axis=1), kind="stable")[:count])
        varying = kept[spread[kept] > 0]

        layer = case.model.network.features_name
        assert layer is not None
        lies = case.model.network.placement(layer)
        family = UpsampledGrids(case.shape, features.shape[1:], scaled=True, placement=lies)
        perturbed = PerturbedImage(case, family, case.x, None)
        channels = ({"cells": features[varying[chunk]]} for chunk in case.chunks(len(varying)))
        total = len(varying) + (len(varying) < len(kept))
        scored = list(perturbed.scores(channels, total))
        if len(varying) < len(kept):
            scored.append(case.scores_of(case.model.session.logits(np.zeros_like(case.x))))
            case.tell(total, total)
        every = np.concatenate(scored).astype(np.float64)
        scores = np.empty((len(kept), len(case.targets)))
        scores[np.isin(kept, varying)] = every[: len(varying)]
        scores[~np.isin(kept, varying)] = every[-1]
        weights = np.exp(scores - scores.max(axis=0))
        weights /= weights.sum(axis=0)
        maps = np.maximum(np.tensordot(weights.T, features[kept].astype(np.float64), axes=1), 0).astype(np.float32)
        return _drawn(case, maps)


@register
class AblationCam(AttributionMap):
    """Ablation-CAM (Desai and Ramaswamy 2020, eq. 2 and 3): weight_k = (y - y_k) / |y|, y_k with channel k set to zero.

    The absolute value keeps the sign of a channel's effect where y itself is negative (the paper has positive scores).
    Only the head is run, in closed form where it has one: no forward pass of the whole model.
    """

    name: ClassVar[str] = "ablation-cam"
    title: ClassVar[str] = "Ablation-CAM"
    tier: ClassVar[Tier] = "T1"
    unit: ClassVar[str] = "activation"

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:  # noqa: ARG002
        """One map a target."""
        features = _features(case)
        drops = _ablation_drops(case, features)
        scores = case.score.astype(np.float64)
        weights = drops / np.where(scores == 0, 1, np.abs(scores))[:, None]
        maps = np.maximum(np.tensordot(weights, features.astype(np.float64), axes=1), 0).astype(np.float32)
        return _drawn(case, maps)


def _ablation_drops(case: Case, features: FloatArray) -> FloatArray:
    """(targets, channels): y - y_k."""
    head = case.model.network.head
    targets = list(case.targets)
    flat = features.reshape(len(features), -1)
    if head is not None and head.kind == "pooled":
        return np.asarray(head.weight[targets] * flat.mean(axis=1), np.float32)
    if head is not None and head.kind == "pointwise" and case.regions is not None:
        return np.asarray(head.weight[targets] * (case.regions.reshape(len(targets), -1) @ flat.T), np.float32)
    step = max(1, _HEAD_BYTES // max(1, features.nbytes))
    scores = []
    for start in range(0, len(features), step):
        case.tell(start, len(features))
        channels = np.arange(start, min(start + step, len(features)))
        ablated = np.repeat(features[None], len(channels), axis=0)
        ablated[np.arange(len(channels)), channels] = 0
        logits = case.model.network.head_run(ablated)
        scores.append(case.scores_of(logits.reshape(len(channels), *case.run.logits.shape[1:])))
    case.tell(len(features), len(features))
    return np.asarray((case.score - np.concatenate(scores)).T, np.float32)


def _drawn(case: Case, maps: FloatArray) -> list[Attribution]:
    layer = case.model.network.features_name
    return [Attribution(case.drawn(heatmap, layer), layer) for heatmap in maps]


def _features(case: Case) -> FloatArray:
    features = case.run.features
    if features is None:
        raise TierMissing(f"{case.model.identity} has no feature maps")
    only: FloatArray = features[0]
    return only
