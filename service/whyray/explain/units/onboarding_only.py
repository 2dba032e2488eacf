"""Methods that describe a package, once, rather than an answer: named, so that a route that asks for them is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from whyray.base.errors import ExplanationError, WhyRayError
from whyray.explain.case import Case
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.typed import TypedExplanation
from whyray.explain.types import Kind, Tier
from whyray.inference import Model


class _Onboarding(MethodDefaults):
    """Refuses every image and says what to do instead."""

    name: ClassVar[str]
    kind: ClassVar[Kind] = "internal representation"
    deliverable: ClassVar[bool] = False
    unit: ClassVar[str] = "activation"

    def why_not(self, model: Model) -> WhyRayError | None:
        """It explains no answer."""
        return ExplanationError(
            f"{self.name} describes the units of a package, once, and no single answer",
            advice=f"`whyray package units {model.identity} --images DIR` runs it; unit-report tells of an answer what "
            "it found.",
        )

    def explain_case(self, case: Case, parameters: MethodParameters) -> Sequence[TypedExplanation]:  # noqa: ARG002
        """Refused as above."""
        refusal = self.why_not(case.model)
        assert refusal is not None
        raise refusal


@register
class NetworkDissection(_Onboarding):
    """Network dissection (Bau et al. 2017, section 2): which concept each unit detects; at onboarding only.

    A unit fires where its activation is among the highest 0.5 %; it detects the concept whose masks these places
    overlap most, if the intersection over union is above 0.04 and above what masks of other images give.
    """

    name: ClassVar[str] = "network-dissection"
    title: ClassVar[str] = "Network dissection"
    tier: ClassVar[Tier] = "T1"


@register
class ActivationMaximisation(_Onboarding):
    """Activation maximisation (Olah et al. 2017): pictures made to excite a unit, SYNTHETIC; at onboarding only.

    A sum of waves is climbed by the unit's mean activation, shifted at random before each step and smoothed by its
    total variation; several random starts show how far the picture is chance.
    """

    name: ClassVar[str] = "activation-maximisation"
    title: ClassVar[str] = "Activation maximisation"
    tier: ClassVar[Tier] = "T2"
    stochastic: ClassVar[bool] = False
