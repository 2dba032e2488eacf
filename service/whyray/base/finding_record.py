"""What is kept of one finding of a job, in figures and words: in the catalog, and in report.json.

It holds no pixel values and nothing of the patient. `whyray.results.describe` writes it, everybody else reads it by
these types: the admin page, the watch on drift, reader studies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from whyray.base.errors import DecodeError

SCHEMA_VERSION = 1
"""Of what is written now. 0, which has no number of its own, was written before; it is read as well."""

GradeName = Literal["green", "amber", "red"]


class _Record(BaseModel):
    """A value that is only read; of what was written beside it, nothing is told."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class MeasurementRecord(_Record):
    """One metric of an explanation; see `whyray.quality.Measurement`. None where a number was not finite, or was not
    kept yet."""

    name: str
    aspect: str
    value: float | None
    baseline: float | None
    grade: GradeName = "red"
    rule: str = ""
    source: str = ""
    of: int | None = None


class TrustRecord(_Record):
    """How far an explanation can be trusted, in words: the level's name, at most one sentence why, and how many of
    radiologists' marks such maps met before."""

    level: Literal["reliable", "caution", "not_shown"]
    name: str
    sentence: str | None = None
    record: str | None = None


class AgreementRecord(_Record):
    """How far several maps of a finding point at the same places: overlap of their strongest tenths, 0..1."""

    value: float
    by_chance: float
    methods: tuple[str, ...] = ()


class CardRecord(_Record):
    """The measured quality of an explanation, and one sentence for each thing that is not green.

    `trust` says it in a reader's words; None in what earlier versions wrote.
    """

    grade: GradeName
    trust: TrustRecord | None = None
    reasons: tuple[str, ...] = ()
    measurements: tuple[MeasurementRecord, ...] = ()


class ExplanationRecord(_Record):
    """One explanation and its quality.

    Attributes
    ----------
    title
        What the method is called for people; None in what earlier versions wrote.
    part
        Which map of an explanation that has several; None for the explanation as a whole.
    drift_numbers
        What of it is worth watching over time, by measure (`salient-area` in 0..1, `outside-anatomy` in 0..1,
        `ood-percentile` in 0..100, `case-distance` in units of the usual distance); a method may add its own. Empty
        in schema 0.
    """

    method: str
    title: str | None = None
    part: str | None = None
    withheld: bool
    quality: CardRecord
    drift_numbers: Mapping[str, float] = Field(default_factory=dict)


class PackageRecord(_Record):
    """Which package answered; `digest` is the SHA-256 (hex) over its files."""

    name: str
    version: str
    digest: str = ""

    @property
    def identity(self) -> str:
        """NAME@VERSION."""
        return f"{self.name}@{self.version}"


class NoteRecord(_Record):
    """What a reader must know of how an image was read."""

    kind: str
    detail: str


class FindingRecord(_Record):
    """One finding of one image, or of one frame of it, with its explanations.

    Attributes
    ----------
    finding
        Name of the target.
    frame
        Of a multi-frame instance, which of its frames it is about, from 1.
    present
        None of a number that no threshold calls present or absent.
    probability, value, unit
        As in `whyray.results.Finding`.
    explanations, typed_explanations
        Heatmaps, and explanations that are more, or other, than a map.
    agreement
        Of its maps; None where no two could be compared, and in what early versions wrote.
    refused
        Methods that could not explain it, and why.
    images
        SOP Instance UIDs of what it was answered from.
    results
        SOP Instance UIDs of the results about it; None in schema 0 of early versions, where nobody knows.
    """

    schema_version: int = 0
    finding: str
    frame: int | None = None
    probability: float | None
    value: float | None
    present: bool | None
    unit: str | None = None
    explanations: tuple[ExplanationRecord, ...] = ()
    typed_explanations: tuple[ExplanationRecord, ...] = ()
    agreement: AgreementRecord | None = None
    refused: Mapping[str, str] = Field(default_factory=dict)
    package: PackageRecord
    study: str
    images: tuple[str, ...]
    results: tuple[str, ...] | None = None
    notes: tuple[NoteRecord, ...] = ()

    @field_validator("present")
    @classmethod
    def _decided_of_a_probability(cls, present: bool | None, info: ValidationInfo) -> bool | None:
        if present is None and info.data.get("probability") is not None:
            raise ValueError("a probability is present or absent")
        return present

    @property
    def all_explanations(self) -> tuple[ExplanationRecord, ...]:
        """Maps first, then the others."""
        return (*self.explanations, *self.typed_explanations)


def finding_records(values: Iterable[Mapping[str, Any]], *, of: str) -> tuple[FindingRecord, ...]:
    """Read what was written of findings, by this version or an earlier one; `of` is told in errors.

    Raises
    ------
    DecodeError
        If a value is none that WhyRay wrote; by the names of the members that are wrong, without their content.
    """
    try:
        return tuple(FindingRecord.model_validate(value) for value in values)
    except ValidationError as error:
        places = sorted({".".join(map(str, one["loc"])) for one in error.errors(include_url=False)})
        raise DecodeError(
            f"{of}: expected findings as WhyRay writes them, found others in {', '.join(places[:3])}",
            advice="Use what this version of WhyRay wrote, or an earlier one.",
        ) from None
