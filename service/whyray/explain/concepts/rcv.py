"""`rcv`: regression concept vectors, for concepts that are measured."""

from __future__ import annotations

from typing import ClassVar

from whyray.explain.concepts.bank import ConceptKind, Directions
from whyray.explain.concepts.directions import AlongDirections
from whyray.explain.registry import register


@register
class Rcv(AlongDirections):
    """Regression concept vectors (Graziani et al. 2018, section 2.2 and 2.3, bidirectional relevance).

    Score: how this image's logit changes if its activations move towards a higher measure by one standard deviation.
    `class_score`: Br = R² · mean / standard deviation of that over the class's reference images: far from 0 where the
    class depends on the measure always in the same direction; its sign is the direction.
    Needs the artefact 'concepts' with measures.
    """

    name: ClassVar[str] = "rcv"
    title: ClassVar[str] = "Measures that the answer follows"
    concepts: ClassVar[ConceptKind] = "measure"

    @staticmethod
    def class_score(directions: Directions, target: int, concept: int) -> float | None:
        """Br."""
        mean, spread = directions.class_mean[target, concept], directions.class_spread[target, concept]
        return bidirectional_relevance(float(directions.held_out[concept]), float(mean), float(spread))


def bidirectional_relevance(r_squared: float, mean: float, spread: float) -> float | None:
    """Br = R² · mean / standard deviation (eq. 3); R² below 0 counts as 0; None where the spread is 0.

    Behind a layer from where the network is affine every image has the same derivative, and Br has no meaning.
    """
    if spread <= 1e-4 * max(abs(mean), 1e-12):
        return None
    return max(r_squared, 0.0) * mean / spread
