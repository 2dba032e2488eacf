"""What the HTTP API answers about explanations and the methods that make them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from whyray.admin.answer import Answer


class MeasurementOut(Answer):
    """One measurement of an explanation's quality."""

    name: str
    aspect: str
    value: float | None
    baseline: float | None
    grade: str
    rule: str


class TrustOut(Answer):
    """How far an explanation can be trusted, in words."""

    level: Literal["reliable", "caution", "not_shown"]
    name: str = Field(examples=["use with caution"])
    sentence: str | None = Field(
        examples=["Use with caution: part of the highlighted area lies where this finding cannot be."]
    )
    record: str | None = Field(
        None,
        description="How many of radiologists' marks such maps of the package met before.",
        examples=["Such maps of this package hit 34 of 58 places that radiologists had marked; a guess hits 28."],
    )


class AgreementOut(Answer):
    """How far several maps of a finding point at the same places: overlap of their strongest tenths."""

    value: float = Field(ge=0, le=1)
    by_chance: float = Field(ge=0, le=1)
    methods: list[str]


class ExplanationOut(Answer):
    """One explanation of one finding: shown, withheld, or refused by the method, each with its reasons."""

    finding: str
    frame: int | None = Field(None, ge=1, description="Of a multi-frame image: which of its frames it is about.")
    method: str = Field(examples=["similar-cases"])
    title: str = Field(description="What the method is called for people.", examples=["Similar cases"])
    type: str = Field(description="Its type of interpretability; 'explanation' where the method is not known here.")
    part: str | None = Field(description="Which of the explanation's maps this is, where it has several.")
    state: Literal["shown", "withheld", "refused"]
    grade: str | None
    trust: TrustOut | None = Field(description="None for what an earlier version explained, or a method refused.")
    reasons: list[str] = Field(description="What was measured and is not as it should be; of a refusal, why.")
    measurements: list[MeasurementOut]
    results: list[str] = Field(description="SOP Instance UIDs of the objects that show it.")


class PackageMethodOut(Answer):
    """Whether a package can be explained by a method."""

    package: str = Field(examples=["cxr-findings@1.0.0"])
    possible: bool
    why_not: str | None
    advice: str | None


class MethodOut(Answer):
    """One explanation method."""

    name: str = Field(examples=["similar-cases"])
    kind: str = Field(description="Its type of interpretability.", examples=["case-based"])
    tier: str = Field(description="T0: answers alone; T1: inner activations; T2: gradients.")
    says: str
    tasks: list[str] = Field(description="Tasks that it explains; empty for all.")
    deliverable: bool = Field(description="False for methods for research only.")
    packages: list[PackageMethodOut]


class ParameterOut(Answer):
    """A parameter of a method."""

    name: str
    default: str


class MethodDetail(MethodOut):
    """A method with all that it says of itself."""

    doc: str
    unit: str
    signed: bool
    stochastic: bool
    parameters: list[ParameterOut]
