"""Codes of DICOM: Code Sequence Macro, PS3.3 section 8.8."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class CodedConcept(BaseModel):
    """A triple of PS3.3 section 8.8: code value, coding scheme designator, code meaning."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: str
    scheme: str
    meaning: str
