"""`rcv`: regression concept vectors, for concepts that are measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from whyray.errors import WhyRayError
from whyray.explain.case import Case
from whyray.explain.concepts.bank import Directions
from whyray.explain.concepts.directions import DirectionParameters, missing, scores_along
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.typed import ConceptScores
from whyray.explain.types import Kind, Tier
from whyray.models import Model


@register
class Rcv(MethodDefaults):
    """Regression concept vectors (Graziani et al. 2018, section 2.2 and 2.3, bidirectional relevance).

    Score: how this image's logit changes if its activations move towards a higher measure by one standard deviation.
    `class_score`: Br = R² · mean / standard deviation of that over the class's reference images: far from 0 where the
    class depends on the measure always in the same direction; its sign is the direction.
    Needs the artefact 'concepts' with measures.
    """

    name: ClassVar[str] = "rcv"
    tier: ClassVar[Tier] = "T1"
    kind: ClassVar[Kind] = "concept attribution"
    signed: ClassVar[bool] = True
    unit: ClassVar[str] = "logit per standard deviation"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multi-label", "regression")
    Parameters: ClassVar[type[MethodParameters]] = DirectionParameters

    def cost(self, parameters: MethodParameters) -> int:  # noqa: ARG002
        """The run, and the way back through the layers behind the concepts' one."""
        return 2

    def why_not(self, model: Model) -> WhyRayError | None:
        """The artefact is missing or lacks what this needs."""
        return missing(model, self.name, "measure")

    def explain_case(self, case: Case, parameters: MethodParameters) -> Sequence[ConceptScores]:
        """One explanation a target."""
        assert isinstance(parameters, DirectionParameters)
        return scores_along(case, self, "measure", parameters, self.class_score)

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
