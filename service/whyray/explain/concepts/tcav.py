"""`tcav`: testing with concept activation vectors."""

from __future__ import annotations

from typing import ClassVar

from whyray.explain.concepts.bank import ConceptKind, Directions
from whyray.explain.concepts.directions import AlongDirections
from whyray.explain.registry import register


@register
class Tcav(AlongDirections):
    """Testing with concept activation vectors (Kim et al. 2018, section 3, eq. 1 and 2).

    Score: how this image's logit changes if its activations move along the concept by one standard deviation, with a
    95 % interval over resampled concept vectors. `class_score`: TCAV, the share of the class's reference images whose
    logit rises along the concept; the p-value is of the class too, never of this image.
    Needs the artefact 'concepts'.
    """

    name: ClassVar[str] = "tcav"
    title: ClassVar[str] = "Concepts that the answer follows"
    concepts: ClassVar[ConceptKind] = "presence"

    @staticmethod
    def class_score(directions: Directions, target: int, concept: int) -> float:
        """TCAV."""
        return float(directions.class_score[target, concept])
