"""`tcav`: testing with concept activation vectors."""

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
class Tcav(MethodDefaults):
    """Testing with concept activation vectors (Kim et al. 2018, section 3, eq. 1 and 2).

    Score: how this image's logit changes if its activations move along the concept by one standard deviation, with a
    95 % interval over resampled concept vectors. `class_score`: TCAV, the share of the class's reference images whose
    logit rises along the concept; the p-value is of the class too, never of this image.
    Needs the artefact 'concepts'.
    """

    name: ClassVar[str] = "tcav"
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
        return missing(model, self.name, "presence")

    def explain_case(self, case: Case, parameters: MethodParameters) -> Sequence[ConceptScores]:
        """One explanation a target."""
        assert isinstance(parameters, DirectionParameters)
        return scores_along(case, self, "presence", parameters, self.class_score)

    @staticmethod
    def class_score(directions: Directions, target: int, concept: int) -> float:
        """TCAV."""
        return float(directions.class_score[target, concept])
