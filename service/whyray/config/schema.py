"""The JSON Schema of `whyray.yaml`, for editors and for suggestions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from whyray.config.base import Section, field_docstrings
from whyray.config.conditions import condition_schema
from whyray.config.model import Config
from whyray.config.problems import Place


def config_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the configuration file."""
    schema: dict[str, Any] = Config.model_json_schema(by_alias=True, mode="validation")
    definitions = schema["$defs"]
    for model in _models(Section):
        node = schema if model is Config else definitions.get(model.__name__, {})
        _write_descriptions(model, node, definitions)
        _write_defaults(model, node)
    for field in ("when", "study"):
        entry = definitions["Route"]["properties"][field]
        description = entry.get("description")
        definitions["Route"]["properties"][field] = {"$ref": "#/$defs/condition", "description": description}
    definitions["condition"] = condition_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "whyray.yaml"}


def _models(base: type[Section]) -> Iterator[type[Section]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


def _write_descriptions(model: type[Section], node: dict[str, Any], definitions: Mapping[str, Any]) -> None:
    """What the source says of each field, unless the field, or what it refers to, says the same or more of itself."""
    told = field_docstrings(model)
    for name, field in model.model_fields.items():
        child = node.get("properties", {}).get(field.alias or name)
        if child is None or name not in told or field.description is not None:
            continue
        referred = definitions.get(str(child.get("$ref", "")).rsplit("/", 1)[-1], {})
        if referred.get("description") != told[name]:
            child["description"] = told[name]


def _write_defaults(model: type[Section], node: dict[str, Any]) -> None:
    """Defaults as a person writes them ('20s', '2GiB'), where pydantic puts them as JSON sees their Python values."""
    written = model.model_construct().model_dump(mode="json", by_alias=True)
    for key, child in node.get("properties", {}).items():
        if child.get("default") is not None:
            child["default"] = written[key]


@cache
def _schema() -> dict[str, Any]:
    return config_schema()


def choices_at(place: Place) -> tuple[str, ...]:
    """What may be written at a place: the keys of a mapping, or the words of a fixed vocabulary."""
    choices: dict[str, None] = {}
    for node in _nodes(_schema(), place):
        choices.update(dict.fromkeys(node.get("properties", ())))
        choices.update(dict.fromkeys(word for word in node.get("enum", ()) if isinstance(word, str)))
        if isinstance(node.get("const"), str):
            choices[node["const"]] = None
    return tuple(choices)


def _nodes(schema: Mapping[str, Any], place: Place) -> Iterator[Mapping[str, Any]]:
    nodes = list(_alternatives(schema))
    for step in place:
        below = [
            alternative for node in nodes for child in _children(node, step) for alternative in _alternatives(child)
        ]
        # A step without children is a name that the validator gave to one of its alternatives.
        nodes = below or nodes
    yield from nodes


def _children(node: Mapping[str, Any], step: str | int) -> Iterator[Mapping[str, Any]]:
    if isinstance(step, int):
        if isinstance(node.get("items"), Mapping):
            yield node["items"]
    elif step in node.get("properties", {}):
        yield node["properties"][step]
    elif node.get("type") == "object":
        for key in ("additionalProperties",):
            if isinstance(node.get(key), Mapping):
                yield node[key]
        yield from node.get("patternProperties", {}).values()


def _alternatives(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "$ref" in node:
        yield from _alternatives(_schema()["$defs"][node["$ref"].rsplit("/", 1)[-1]])
        return
    yield node
    for key in ("anyOf", "oneOf", "allOf"):
        for alternative in node.get(key, ()):
            yield from _alternatives(alternative)
