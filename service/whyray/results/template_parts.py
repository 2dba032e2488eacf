"""Codes and colours, as the files of `dicom_templates/` write them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from whyray.base.coded_concept import CodedConcept


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
