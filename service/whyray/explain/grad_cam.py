"""Grad-CAM and Seg-Grad-CAM."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import WhyRayError
from whyray.explain.case import Attribution, Case
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.types import Tier
from whyray.explain.weights import feature_gradient, without_gradient
from whyray.inference import Model


@register
class GradCam(AttributionMap):
    """Gradient-weighted class activation mapping (Selvaraju et al. 2017, eq. 1 and 2).

    alpha_k = mean over positions of d score / d A_k; map = ReLU(sum_k alpha_k A_k), linearly upsampled to the input.
    With a head of global average pooling and one linear layer, alpha comes from its weights, for all targets at
    once and from the run that gave the answer; else the head alone is run backward.
    """

    name: ClassVar[str] = "grad-cam"
    title: ClassVar[str] = "Grad-CAM"
    tier: ClassVar[Tier] = "T1"

    def why_not(self, model: Model) -> WhyRayError | None:
        """A head whose gradient is not known."""
        return without_gradient(model)

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:  # noqa: ARG002
        """One map a target; no further forward pass."""
        gradient = feature_gradient(case)
        made = case.run.grad_cams
        if made.keys() >= set(case.targets):
            maps: Iterable[FloatArray] = [made[target] for target in case.targets]
        else:
            # no BLAS: see whyray.explain.grid.upsample
            low = np.maximum(np.einsum("tc,c...->t...", gradient.mean, gradient.features), 0)
            maps = case.drawn(low, gradient.layer)
        return [Attribution(heatmap, gradient.layer, {"engine_parity": gradient.gap}) for heatmap in maps]


@register
class SegGradCam(GradCam):
    """Grad-CAM for segmentation (Vinogradova et al. 2020, eq. 2): the score is taken over the predicted segment.

    The same numbers as `grad-cam` on a segmentation model; refused by name for other tasks.
    """

    name: ClassVar[str] = "seg-grad-cam"
    title: ClassVar[str] = "Seg-Grad-CAM"
    tasks: ClassVar[tuple[str, ...]] = ("segmentation",)
