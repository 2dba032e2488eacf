"""What all sections of the configuration share."""

from __future__ import annotations

from typing import Annotated, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")
OneOrMore: TypeAlias = Item | Annotated[tuple[Item, ...], Field(min_length=1)]
"""How the JSON Schema shows a list that may be written as its only item."""


class Section(BaseModel):
    """A part of `whyray.yaml`: unknown keys are errors, values never change after reading.

    The docstring under each field is its description in the JSON Schema and in docs/configure.md.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        serialize_by_alias=True,
        defer_build=True,
    )
