"""Class activation maps that weigh each position by the gradient there: Grad-CAM++, LayerCAM, HiResCAM."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from whyray.base.arrays import FloatArray
from whyray.base.errors import WhyRayError
from whyray.explain.case import Attribution, Case
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.types import Tier
from whyray.explain.weights import feature_gradient, without_gradient
from whyray.inference import Model


class _PositionwiseCam(AttributionMap, ABC):
    """ReLU of feature maps that are weighed by a function of the gradient, upsampled linearly to the input."""

    tier: ClassVar[Tier] = "T1"

    def why_not(self, model: Model) -> WhyRayError | None:
        """A head whose gradient is not known."""
        return without_gradient(model, at_positions=True)

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; no further forward pass of the model."""
        gradient = feature_gradient(case, at_positions=True)
        return [
            Attribution(
                case.drawn(np.maximum(self._weigh(gradient.features, slope, parameters), 0), gradient.layer),
                gradient.layer,
                {"engine_parity": gradient.gap},
            )
            for slope in gradient.full()
        ]

    @abstractmethod
    def _weigh(self, features: FloatArray, gradient: FloatArray, parameters: MethodParameters) -> FloatArray:
        """(channels, *grid) twice → (*grid)."""


@register
class LayerCam(_PositionwiseCam):
    """LayerCAM (Jiang et al. 2021, eq. 6 and 7): sum_k ReLU(g_k) A_k at each position, then ReLU."""

    name: ClassVar[str] = "layer-cam"
    title: ClassVar[str] = "LayerCAM"

    def _weigh(self, features: FloatArray, gradient: FloatArray, parameters: MethodParameters) -> FloatArray:  # noqa: ARG002
        return np.asarray(np.einsum("k...,k...->...", np.maximum(gradient, 0), features), np.float32)


@register
class HiResCam(_PositionwiseCam):
    """HiResCAM (Draelos and Carin 2020, eq. 4): sum_k g_k A_k at each position, without averaging; then ReLU.

    Where the head is pooling and one linear layer this is Grad-CAM, and faithful: its sum before ReLU is logit - bias.
    """

    name: ClassVar[str] = "hi-res-cam"
    title: ClassVar[str] = "HiResCAM"

    def _weigh(self, features: FloatArray, gradient: FloatArray, parameters: MethodParameters) -> FloatArray:  # noqa: ARG002
        return np.asarray(np.einsum("k...,k...->...", gradient, features), np.float32)


class GradCamPlusPlusParameters(MethodParameters):
    """`epsilon` is added to the denominator of alpha (1e-6 in pytorch-grad-cam, where it outweighs small gradients)."""

    epsilon: float = Field(default=0.0, ge=0)


@register
class GradCamPlusPlus(_PositionwiseCam):
    """Grad-CAM++ (Chattopadhay et al. 2018, eq. 10, 19 and 21), with the exponential of the score as its paper has it.

    alpha = g^2 / (2 g^2 + g^3 sum A); weight_k = sum over positions of alpha ReLU(g); map = ReLU(sum_k weight_k A_k).
    """

    name: ClassVar[str] = "grad-cam-plus-plus"
    title: ClassVar[str] = "Grad-CAM++"
    Parameters: ClassVar[type[MethodParameters]] = GradCamPlusPlusParameters

    def _weigh(self, features: FloatArray, gradient: FloatArray, parameters: MethodParameters) -> FloatArray:
        assert isinstance(parameters, GradCamPlusPlusParameters)
        axes = tuple(range(1, features.ndim))
        g = gradient.astype(np.float64)
        total = features.sum(axis=axes, keepdims=True, dtype=np.float64)
        # g^2 cancels where no epsilon is added, which keeps tiny gradients from underflowing.
        denominator = 2 + g * total
        if parameters.epsilon:
            denominator = denominator + parameters.epsilon / np.maximum(g * g, 1e-300)
        usable = (g != 0) & (denominator != 0)
        alpha = np.where(usable, 1 / np.where(usable, denominator, 1), 0)
        weight = (alpha * np.maximum(g, 0)).sum(axis=axes)
        return np.tensordot(weight, features.astype(np.float64), axes=1).astype(np.float32)
