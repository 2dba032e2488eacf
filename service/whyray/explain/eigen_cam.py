"""Eigen-CAM (Muhammad and Yeasin 2020): the first principal component of the feature maps, whatever the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import TierMissing
from whyray.explain.case import Attribution, Case
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.types import Tier


class EigenCamParameters(MethodParameters):
    """`centre` subtracts each channel's mean first, as pytorch-grad-cam does and the paper does not."""

    centre: bool = False


@register
class EigenCam(AttributionMap):
    """Eigen-CAM (Muhammad and Yeasin 2020, eq. 3): features projected onto their first principal direction, then ReLU.

    It knows no target: the same map for all of them. The sign of a principal direction is arbitrary; the one is taken
    under which strong activations are positive. Unit: activation.
    """

    name: ClassVar[str] = "eigen-cam"
    title: ClassVar[str] = "Eigen-CAM"
    tier: ClassVar[Tier] = "T1"
    unit: ClassVar[str] = "activation"
    Parameters: ClassVar[type[MethodParameters]] = EigenCamParameters

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """The same map for each target; no further forward pass."""
        assert isinstance(parameters, EigenCamParameters)
        features = case.run.features
        if features is None:
            raise TierMissing(f"{case.model.identity} has no feature maps")
        layer = case.model.network.features_name
        values = case.drawn(np.maximum(first_component(features[0], parameters.centre), 0), layer)
        return [Attribution(values, layer) for _ in case.targets]


def first_component(features: FloatArray, centre: bool) -> FloatArray:
    """(channels, *grid) → (*grid): the projection onto the first right singular vector, by the smaller Gram matrix."""
    flat = features.reshape(len(features), -1).astype(np.float64)
    if centre:
        flat = flat - flat.mean(axis=1, keepdims=True)
    if flat.shape[0] <= flat.shape[1]:
        direction = np.linalg.eigh(flat @ flat.T)[1][:, -1]
        projection = direction @ flat
    else:
        values, vectors = np.linalg.eigh(flat.T @ flat)
        projection = vectors[:, -1] * np.sqrt(max(values[-1], 0.0))
    strength = np.abs(features).reshape(len(features), -1).sum(axis=0)
    if projection @ (strength - (strength.mean() if centre else 0)) < 0:
        projection = -projection
    return np.asarray(projection.reshape(features.shape[1:]), np.float32)
