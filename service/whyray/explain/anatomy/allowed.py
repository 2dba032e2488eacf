"""Where a finding may be looked for: from the code of its anatomy in model.yaml to structures.

The table is WhyRay's own reading of where such findings show on an image; docs/methods/region-shares.md prints it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from whyray.base.arrays import BoolArray
from whyray.base.coded_concept import CodedConcept
from whyray.explain.typed import Structure
from whyray.packages import TargetSpec

LUNG, RIGHT_LUNG, LEFT_LUNG = "39607008", "3341006", "44029006"
HEART, MEDIASTINUM, PLEURA, DIAPHRAGM = "80891009", "72410000", "3120008", "5798000"
THORAX, HILUM, BRONCHUS, TRACHEA = "51185008", "46750007", "955009", "44567001"
_LUNGS = frozenset({LUNG, RIGHT_LUNG, LEFT_LUNG})
MARGIN = 0.04
"""Heatmaps are coarser than outlines: structures are widened by this part of the image's longest side."""
LEAST_INSIDE = 0.5
"""Less than this part of what speaks for a target where it may be looked for: attention elsewhere."""


@dataclass(frozen=True)
class Rule:
    """Structures (by code) in which a finding of one anatomy may be looked for, and how far these are widened."""

    structures: frozenset[str]
    margin: float = MARGIN
    because: str = ""


ALLOWED: Mapping[str, Rule] = {
    LUNG: Rule(_LUNGS, because="the lungs that the image shows as such"),
    RIGHT_LUNG: Rule(frozenset({LUNG, RIGHT_LUNG})),
    LEFT_LUNG: Rule(frozenset({LUNG, LEFT_LUNG})),
    PLEURA: Rule(_LUNGS | {PLEURA}, 0.07, "it surrounds the lungs: fluid, air and plaques lie at and beyond their rim"),
    HEART: Rule(frozenset({HEART})),
    MEDIASTINUM: Rule(frozenset({MEDIASTINUM, HEART}), because="the heart lies in it"),
    TRACHEA: Rule(frozenset({MEDIASTINUM, TRACHEA})),
    HILUM: Rule(_LUNGS | {MEDIASTINUM, HEART}, because="hila lie over the border of both"),
    BRONCHUS: Rule(_LUNGS | {MEDIASTINUM, HEART}),
    DIAPHRAGM: Rule(_LUNGS | {HEART}, 0.07, "a hiatal hernia shows behind the heart, others at the lungs' base"),
    THORAX: Rule(_LUNGS | {HEART, MEDIASTINUM, PLEURA}, 0.07),
}
"""By SNOMED CT code of the target's `anatomy`."""


def rule_for(target: TargetSpec, structures: Sequence[Structure]) -> Rule | None:
    """The table's rule, else the structures of just that code; None where no structure here bears on the target."""
    if target.anatomy is None:
        return None
    rule = ALLOWED.get(target.anatomy.value) or Rule(frozenset({target.anatomy.value}))
    return rule if any(_within(structure, rule) for structure in structures) else None


def marked(structures: Sequence[Structure], target: TargetSpec) -> tuple[Structure, ...]:
    """The same, each knowing whether the target may be looked for in it; None where nothing is said about that."""
    rule = rule_for(target, structures)
    if rule is None:
        return tuple(replace(structure, allowed=None) for structure in structures)
    return tuple(replace(structure, allowed=_within(structure, rule)) for structure in structures)


def allowed_mask(structures: Sequence[Structure], target: TargetSpec) -> BoolArray | None:
    """(*spatial): where the target may be looked for, margin included; None where nothing is said about that."""
    rule = rule_for(target, structures)
    if rule is None:
        return None
    union = np.any([structure.mask for structure in structures if _within(structure, rule)], axis=0)
    return widened(union, rule.margin)


def widened(mask: BoolArray, margin: float) -> BoolArray:
    """(*spatial): the mask and what lies within `margin` (part of the longest side) of it."""
    if not mask.any() or margin <= 0:
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask) <= margin * max(mask.shape))


def same_code(first: CodedConcept | None, second: CodedConcept | None) -> bool:
    """Whether both name the same concept; meanings are for people and don't count."""
    return first is not None and second is not None and (first.scheme, first.value) == (second.scheme, second.value)


def _within(structure: Structure, rule: Rule) -> bool:
    if structure.code is None or structure.code.value not in rule.structures:
        return False
    return bool(structure.mask.any())
