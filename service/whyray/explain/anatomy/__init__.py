"""Anatomical priors: answers and heatmaps told by structure, and kept to where a finding can be."""

from whyray.explain.anatomy import constrained, region_occlusion, region_shapley, region_shares
from whyray.explain.anatomy.allowed import (
    ALLOWED,
    LEAST_INSIDE,
    LEFT_LUNG,
    LUNG,
    MARGIN,
    RIGHT_LUNG,
    Rule,
    allowed_mask,
    marked,
    rule_for,
    same_code,
    widened,
)
from whyray.explain.anatomy.coalitions import Players
from whyray.explain.anatomy.constrained import AnatomyConstrainedParameters
from whyray.explain.anatomy.maps import map_of, speaks_for
from whyray.explain.anatomy.prior import allowed_in, anatomy_in
from whyray.explain.anatomy.region_occlusion import RegionOcclusionParameters
from whyray.explain.anatomy.region_shapley import RegionShapleyParameters, exact_shapley, sampled_shapley
from whyray.explain.anatomy.region_shares import RegionSharesParameters, attention, shares
from whyray.explain.anatomy.structures import (
    STUDY,
    AnatomyParameters,
    anatomy_of,
    missing_anatomy,
    partition,
    segmented,
    structure,
    structures_for,
    structures_of,
)
from whyray.explain.anatomy.zones import with_zones

__all__ = [
    "ALLOWED",
    "LEAST_INSIDE",
    "LEFT_LUNG",
    "LUNG",
    "MARGIN",
    "RIGHT_LUNG",
    "STUDY",
    "AnatomyConstrainedParameters",
    "AnatomyParameters",
    "Players",
    "RegionOcclusionParameters",
    "RegionShapleyParameters",
    "RegionSharesParameters",
    "Rule",
    "allowed_in",
    "allowed_mask",
    "anatomy_in",
    "anatomy_of",
    "attention",
    "constrained",
    "exact_shapley",
    "map_of",
    "marked",
    "missing_anatomy",
    "partition",
    "region_occlusion",
    "region_shapley",
    "region_shares",
    "rule_for",
    "same_code",
    "sampled_shapley",
    "segmented",
    "shares",
    "speaks_for",
    "structure",
    "structures_for",
    "structures_of",
    "widened",
    "with_zones",
]
