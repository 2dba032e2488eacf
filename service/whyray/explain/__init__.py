"""Explanations of models' answers: arrays in, typed values out."""

from whyray.explain import (
    deep_lift,
    eigen_cam,
    extremal_perturbation,
    grad_cam,
    gradient_cams,
    gradients,
    kernel_shap,
    lime,
    lrp,
    occlusion,
    paths,
    rise,
    score_cams,
)
from whyray.explain.case import Attribution, Case, Progress, predicted_regions
from whyray.explain.explain import explain, explainable, why_not
from whyray.explain.registry import (
    AttributionMap,
    Method,
    MethodParameters,
    checked_parameters,
    method_named,
    methods,
    register,
    required_tier,
)
from whyray.explain.types import Heatmap, Kind, Tier

REGISTERED = (
    deep_lift,
    eigen_cam,
    extremal_perturbation,
    grad_cam,
    gradient_cams,
    gradients,
    kernel_shap,
    lime,
    lrp,
    occlusion,
    paths,
    rise,
    score_cams,
)
"""Modules whose import registers methods."""

__all__ = [
    "REGISTERED",
    "Attribution",
    "AttributionMap",
    "Case",
    "Heatmap",
    "Kind",
    "Method",
    "MethodParameters",
    "Progress",
    "Tier",
    "checked_parameters",
    "explain",
    "explainable",
    "method_named",
    "methods",
    "predicted_regions",
    "register",
    "required_tier",
    "why_not",
]
