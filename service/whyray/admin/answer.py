"""The base of all that the HTTP API answers with."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """A value that is only read. No field of any carries a patient's name or identifier."""

    model_config = ConfigDict(frozen=True, defer_build=True)
