"""What the files of `dicom_templates/` are made of: codes, colours, and words with fields to be filled in."""

from __future__ import annotations

import string
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from whyray.base.coded_concept import CodedConcept


class StrictModel(BaseModel):
    """A part of a template file: an unknown entry is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_concept(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and len(value) == 3:
        return dict(zip(("value", "scheme", "meaning"), map(str, value), strict=True))
    if not isinstance(value, (dict, CodedConcept)):
        raise ValueError("a code is written [value, scheme, meaning]")
    return value


def _within_limits(concept: CodedConcept) -> CodedConcept:
    if not concept.value or len(concept.scheme) > 16 or not 0 < len(concept.meaning) <= 64:
        raise ValueError("a code has a value, a scheme of at most 16 and a meaning of at most 64 characters")
    return concept


Concept = Annotated[
    CodedConcept,
    BeforeValidator(_as_concept, json_schema_input_type=tuple[str | int, str, str] | CodedConcept),
    AfterValidator(_within_limits),
]
Colour = tuple[
    Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)], Annotated[int, Field(ge=0, le=255)]
]


def with_fields(*allowed: str) -> AfterValidator:
    """Refuses words in braces that are none of these."""

    def check(text: str) -> str:
        fields = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        if fields - set(allowed):
            raise ValueError(f"unknown field {sorted(fields - set(allowed))}; known: {sorted(allowed) or 'none'}")
        return text

    return AfterValidator(check)


Plain = Annotated[str, with_fields()]
ByMethod = Annotated[str, with_fields("method")]
