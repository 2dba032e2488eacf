"""What stands under each field of the configuration is its description in the JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic._internal._docs_extraction import extract_docstrings_from_cls

from whyray.config.base import Section, field_docstrings
from whyray.config.schema import config_schema


def sections(base: type[Section] = Section) -> list[type[Section]]:
    return [section for model in base.__subclasses__() for section in (model, *sections(model))]


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_docstrings_are_those_that_pydantic_finds(section: type[Section]) -> None:
    own = extract_docstrings_from_cls(section)
    assert {name: told for name, told in field_docstrings(section).items() if name in own} == own


def test_every_section_of_the_file_says_what_its_keys_are() -> None:
    schema = config_schema()

    def silent(node: dict[str, Any]) -> list[str]:
        return [key for key, child in node["properties"].items() if not (child.get("description") or "$ref" in child)]

    assert silent(schema) == []
    assert silent(schema["$defs"]["ListenerLimits"]) == []
