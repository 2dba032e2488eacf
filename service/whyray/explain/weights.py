"""The gradient of each target's score at the feature maps: from the head's closed form, else by running it backward."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import TierMissing, WhyRayError
from whyray.explain.case import Case
from whyray.inference import Model, parity_gap


@dataclass(frozen=True)
class FeatureGradient:
    """Feature maps of a case and how the scores change with them.

    Attributes
    ----------
    features
        (channels, *grid).
    mean
        (targets, channels): the gradient of each target's score, averaged over positions (Grad-CAM's alpha).
    gap
        Difference of the head that was used to ONNX Runtime's logits of the same run, relative (see `parity_gap`).
    layer
        Name of the tensor.
    """

    features: FloatArray
    mean: FloatArray
    gap: float
    layer: str
    _full: FloatArray | None = None
    _regions: FloatArray | None = None

    def full(self) -> FloatArray:
        """(targets, channels, *grid): the gradient at each position."""
        if self._full is not None:
            return self._full
        positions = prod(self.features.shape[1:])
        shaped = self.mean.reshape(*self.mean.shape, *[1] * (self.features.ndim - 1))
        if self._regions is not None:
            return np.asarray(shaped * positions * self._regions[:, None], np.float32)
        return np.broadcast_to(shaped, (len(self.mean), *self.features.shape))


def feature_gradient(case: Case, *, at_positions: bool = False) -> FeatureGradient:
    """The gradient for all targets of a case; `at_positions` where a method needs more than its mean.

    Raises TierMissing where the model has no feature maps or its head can't be run backward.
    """
    model, run = case.model, case.run
    if model.network.features_name is None or run.features is None:
        raise TierMissing(f"{model.identity} has no feature maps")
    features = run.features[0]
    head = model.network.head
    targets = list(case.targets)
    positions = prod(features.shape[1:])
    if head is not None and not (at_positions and head.kind == "positional"):
        mean = head.weight[targets] / positions
        gap = 0.0
        if head.kind == "pooled":
            pooled = features.reshape(len(features), -1).mean(axis=1)
            gap = parity_gap(np.einsum("tc,c->t", head.weight, pooled) + head.bias, run.logits[0])  # no BLAS: see grid
        regions = case.regions if head.kind == "pointwise" else None
        return FeatureGradient(features, mean, gap, model.network.features_name, _regions=regions)
    full, gap = model.gradients.head(run.features, run.logits, targets, case.regions)
    mean = full.reshape(*full.shape[:2], -1).mean(axis=2)
    return FeatureGradient(features, mean, gap, model.network.features_name, _full=full)


def without_gradient(model: Model, *, at_positions: bool = False) -> WhyRayError | None:
    """Why `feature_gradient` can't give this model's gradients; None where it can.

    Heads without a closed form are converted, compared and proven for that, once.
    """
    if model.network.features_name is None:
        return TierMissing(f"{model.identity} has no feature maps")
    head = model.network.head
    if head is not None and not (at_positions and head.kind == "positional"):
        return None
    try:
        _ = model.gradients.head
    except WhyRayError as error:
        return error
    return None
