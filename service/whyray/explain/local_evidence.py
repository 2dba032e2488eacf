"""Local evidence: the answer taken apart by the package's own graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from whyray.base.errors import ArtefactMissing, ExplanationError, WhyRayError
from whyray.explain.case import Attribution, Case
from whyray.explain.grid import upsample_sum
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.types import Tier
from whyray.inference import Model
from whyray.inference.local_evidence import TOLERANCE, local_evidence

NAME = "local-evidence"


@register
class LocalEvidenceMap(AttributionMap):
    """The terms that the answer is the sum of, from the graph itself (Brendel and Bethge 2019, section 2).

    logit = bias + sum over places of evidence; the map is that evidence, each cell spread over the places of the input
    that it covers, so that the map's sum plus the bias is the logit. Nothing is estimated: the gap is measured in the
    run that gave the answer, and an explanation whose sum is not the answer is refused.
    """

    name: ClassVar[str] = NAME
    title: ClassVar[str] = "Evidence that adds up to the answer"
    tier: ClassVar[Tier] = "T0"
    signed: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multi-label", "regression")

    def why_not(self, model: Model) -> WhyRayError | None:
        """A graph that gives its evidence."""
        if model.manifest.evidence is None:
            return ArtefactMissing(
                f"{NAME} needs a package whose graph gives its own local evidence, and {model.identity} names none",
                advice="Take a package that answers by a sum over the image and names it under evidence in model.yaml.",
            )
        return None

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:  # noqa: ARG002
        """One map a target; no further forward pass."""
        terms = local_evidence(case.model, case.run)
        assert terms is not None
        made = []
        for target in case.targets:
            gap = float(terms.gaps[target])
            if gap > TOLERANCE:
                raise ExplanationError(
                    f"{NAME} of {case.model.targets[target]}: bias plus evidence is off the answer by {gap:.2%}",
                    advice="`whyray package check` the package: its evidence is not what its answer is made of.",
                )
            values = upsample_sum(terms.maps[target], case.shape, case.model.network.placement(terms.tensor))
            spread = abs(float(values.sum(dtype=np.float64)) - float(terms.maps[target].sum(dtype=np.float64)))
            size = float(np.abs(terms.maps[target]).sum(dtype=np.float64))
            evidence = {"completeness_gap": gap + (spread / size if size else 0.0), "bias": float(terms.bias[target])}
            made.append(Attribution(values, terms.tensor, evidence))
        return made
