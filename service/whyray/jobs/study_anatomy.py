"""Anatomy that came with a study, as methods take it."""

from __future__ import annotations

import numpy as np

from whyray.base.coded_concept import CodedConcept
from whyray.explain import Structure
from whyray.explain.anatomy import structure
from whyray.imaging import Code, ModelInput, SourceImage, StudyStructures, structures_on_grid


def on_grid(study_structures: StudyStructures, image: SourceImage, model_input: ModelInput) -> tuple[Structure, ...]:
    """The study's structures on the model's input grid; those that the grid does not show are left out."""
    return tuple(
        structure(segment.label, np.asarray(segment.mask), _concept(segment.code), _concept(segment.laterality))
        for segment in structures_on_grid(study_structures.structures, image, model_input.grid)
        if segment.mask.any()
    )


def _concept(code: Code | None) -> CodedConcept | None:
    return None if code is None else CodedConcept(value=code[0], scheme=code[1], meaning=code[2])
