"""What all sections of the configuration share."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from typing import Annotated, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")
OneOrMore: TypeAlias = Item | Annotated[tuple[Item, ...], Field(min_length=1)]
"""How the JSON Schema shows a list that may be written as its only item."""


class Section(BaseModel):
    """A part of `whyray.yaml`: unknown keys are errors, values never change after reading.

    The docstring under each field is its description in the JSON Schema and in docs/configure.md; `field_docstrings`
    reads it when somebody asks: pydantic would parse the source of all sections at each start.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        serialize_by_alias=True,
        defer_build=True,
    )


def field_docstrings(section: type[Section]) -> dict[str, str]:
    """What stands under each field of a section, and of those that it is made from, by the field's name."""
    docstrings: dict[str, str] = {}
    for model in reversed(section.__mro__):
        if issubclass(model, Section):
            docstrings |= _docstrings_under(model)
    return docstrings


def _docstrings_under(model: type[Section]) -> dict[str, str]:
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(body, ast.ClassDef)
    docstrings = {}
    for field, below in itertools.pairwise(body.body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            docstrings[field.target.id] = inspect.cleandoc(below.value.value)
    return docstrings
