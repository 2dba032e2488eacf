"""`series.yaml`, `equipment.yaml` and `concepts.yaml`: what results say beside their pixels."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from whyray.base.coded_concept import CodedConcept
from whyray.results.template_parts import Concept
from whyray.results.template_text import Strict, with_fields


class SeriesTemplate(Strict):
    """Number, modality and description of the series of one kind of result."""

    number: int = Field(ge=0, le=2**31 - 1)
    modality: str = Field(pattern=r"^[A-Z0-9_ ]{1,16}$")
    description: Annotated[str, with_fields("package", "version", "title", "method", "findings")]


class SeriesTemplates(Strict):
    """`series.yaml`."""

    base: int = Field(default=9000, ge=0, le=2**30)
    packages: dict[str, Annotated[int, Field(ge=0, lt=100)]] = Field(default_factory=dict)
    """Places of packages: see `series_number`."""
    sc: SeriesTemplate
    seg: SeriesTemplate
    segments: SeriesTemplate
    pm: SeriesTemplate
    sr: SeriesTemplate
    gsps: SeriesTemplate
    blend: SeriesTemplate
    ko: SeriesTemplate
    pdf: SeriesTemplate
    cine: SeriesTemplate


class CodingScheme(Strict):
    """Who answers for private codes."""

    designator: str = Field(min_length=1, max_length=16)
    name: str
    organisation: str


class Equipment(Strict):
    """`equipment.yaml`."""

    manufacturer: str = Field(min_length=1, max_length=64)
    model: str = Field(min_length=1, max_length=64)
    serial_number: str = Field(min_length=1, max_length=64)
    content_qualification: Literal["PRODUCT", "RESEARCH", "SERVICE"]
    coding_scheme: CodingScheme


class Grades(Strict):
    """The concepts of the three grades of a quality card."""

    green: Concept
    amber: Concept
    red: Concept


class Concepts(Strict):
    """`concepts.yaml`."""

    quantities: dict[str, Concept]
    other_quantity: Concept
    region_category: Concept
    region_type: Concept
    segment_category: Concept
    probability: Concept
    threshold: Concept
    agreement: Concept = CodedConcept(
        value="agreement", scheme="99WHYRAY", meaning="Agreement of the explanations' maps"
    )
    prevalence: Concept = CodedConcept(
        value="prevalence", scheme="99WHYRAY", meaning="Prevalence that the probability holds for"
    )
    area: Concept
    volume: Concept
    value: Concept
    present: Concept
    absent: Concept
    quality_grade: Concept
    trust: Concept = CodedConcept(value="trust", scheme="99WHYRAY", meaning="How far the explanation can be trusted")
    grades: Grades
    withheld: Concept
    refused: Concept
    measurements: dict[str, Concept]
    procedure: Concept
    algorithm_family: Concept
    document: Concept

    def quantity(self, method: str) -> CodedConcept:
        """What a heatmap of `method` measures."""
        return self.quantities.get(method, self.other_quantity)
