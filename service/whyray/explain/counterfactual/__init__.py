"""Counterfactuals: what would have to be different for another answer."""

from whyray.explain.counterfactual.latent import LatentSpace, space_of, why_no_latents
from whyray.explain.counterfactual.latent_shift import LatentShift, LatentShiftParameters, latent_gradient
from whyray.explain.counterfactual.refine import refined
from whyray.explain.counterfactual.region_counterfactual import (
    RegionCounterfactual,
    RegionCounterfactualParameters,
    region_labels,
    with_regions_replaced,
)
from whyray.explain.counterfactual.search import Search, SearchOutcome
from whyray.explain.counterfactual.traverse import traverse

__all__ = [
    "LatentShift",
    "LatentShiftParameters",
    "LatentSpace",
    "RegionCounterfactual",
    "RegionCounterfactualParameters",
    "Search",
    "SearchOutcome",
    "latent_gradient",
    "refined",
    "region_labels",
    "space_of",
    "traverse",
    "why_no_latents",
    "with_regions_replaced",
]
