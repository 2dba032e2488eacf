"""Explanations of models' answers: arrays in, typed values out."""

from whyray.explain import (
    anatomy,
    cases,
    concepts,
    counterfactual,
    deep_lift,
    eigen_cam,
    extremal_perturbation,
    grad_cam,
    gradient_cams,
    gradients,
    kernel_shap,
    language,
    latent,
    lime,
    local_evidence,
    lrp,
    normal_contrast,
    occlusion,
    paths,
    rise,
    score_cams,
    units,
)
from whyray.explain.agreement import CHANCE, Agreement, agreement
from whyray.explain.anatomy.shares_by_region import RegionShare, RegionShares
from whyray.explain.audiences import ALL, AUDIENCES, GROUPS, PREFERRED, PreferredMap, expanded, preferred_map
from whyray.explain.case import Attribution, Case, Progress
from whyray.explain.cases.case_matches import CaseMatch, CaseMatches
from whyray.explain.companion_grid import as_input, displayed, on_grid_of, resampled
from whyray.explain.concepts.concept_scores import ConceptScore, ConceptScores, Intervention
from whyray.explain.context import NOTHING, Context, PriorExplanation
from whyray.explain.counterfactual.counterfactual import Counterfactual
from whyray.explain.explain import explain, explainable, heatmaps, why_not
from whyray.explain.fill import Fill, filled
from whyray.explain.grid import upsample
from whyray.explain.image import ExplainedImage, explained_image, predicted_regions
from whyray.explain.language.statements import Claim, Narrative, Sentence
from whyray.explain.latent.position import LatentPosition
from whyray.explain.made_at import place_of
from whyray.explain.masks import Segments
from whyray.explain.normal_contrast import NORMAL_CONTRAST, NORMAL_MAPS, coarse_grid
from whyray.explain.perturbed_image import PerturbedImage
from whyray.explain.registry import (
    AnyMethod,
    AttributionMap,
    Method,
    MethodDefaults,
    MethodParameters,
    TypedMethod,
    checked_parameters,
    heatmap_methods,
    method_named,
    method_title,
    methods,
    register,
    required_tier,
)
from whyray.explain.repeat import TOP, top_dice
from whyray.explain.typed import Explanation, MapPart, Structure, TypedExplanation
from whyray.explain.types import Heatmap, Kind, Tier
from whyray.explain.units.unit_effects import UnitEffect, UnitReport

REGISTERED = (
    anatomy,
    cases,
    concepts,
    counterfactual,
    deep_lift,
    eigen_cam,
    extremal_perturbation,
    grad_cam,
    gradient_cams,
    gradients,
    kernel_shap,
    language,
    latent,
    lime,
    local_evidence,
    lrp,
    normal_contrast,
    occlusion,
    paths,
    rise,
    score_cams,
    units,
)
"""Modules whose import registers methods."""

__all__ = [
    "ALL",
    "AUDIENCES",
    "CHANCE",
    "GROUPS",
    "NORMAL_CONTRAST",
    "NORMAL_MAPS",
    "NOTHING",
    "PREFERRED",
    "REGISTERED",
    "TOP",
    "Agreement",
    "AnyMethod",
    "Attribution",
    "AttributionMap",
    "Case",
    "CaseMatch",
    "CaseMatches",
    "Claim",
    "ConceptScore",
    "ConceptScores",
    "Context",
    "Counterfactual",
    "ExplainedImage",
    "Explanation",
    "Fill",
    "Heatmap",
    "Intervention",
    "Kind",
    "LatentPosition",
    "MapPart",
    "Method",
    "MethodDefaults",
    "MethodParameters",
    "Narrative",
    "PerturbedImage",
    "PreferredMap",
    "PriorExplanation",
    "Progress",
    "RegionShare",
    "RegionShares",
    "Segments",
    "Sentence",
    "Structure",
    "Tier",
    "TypedExplanation",
    "TypedMethod",
    "UnitEffect",
    "UnitReport",
    "agreement",
    "as_input",
    "checked_parameters",
    "coarse_grid",
    "displayed",
    "expanded",
    "explain",
    "explainable",
    "explained_image",
    "filled",
    "heatmap_methods",
    "heatmaps",
    "method_named",
    "method_title",
    "methods",
    "on_grid_of",
    "place_of",
    "predicted_regions",
    "preferred_map",
    "register",
    "required_tier",
    "resampled",
    "top_dice",
    "upsample",
    "why_not",
]
