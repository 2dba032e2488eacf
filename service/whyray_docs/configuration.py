"""The tables of docs/configure.md, made from the models, so that they can't fall behind them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from whyray.config import config_schema
from whyray_docs.marks import with_part

_BEGIN = "<!-- reference: made by whyray_docs.configuration, do not edit -->"
_END = "<!-- end of reference -->"
_HEADER = ("| key | value | default | meaning |", "| --- | --- | --- | --- |")
_PLAIN = {"boolean": "`true`, `false`", "integer": "whole number", "number": "number"}
_SCALARS = {"string", "number"}
_ELSEWHERE = ("condition",)


def reference_markdown() -> str:
    """One table of keys for each section, in the order of the file; equal ones once, and where that is."""
    schema = config_schema()
    parts: list[str] = []
    first_at: dict[str, str] = {}
    told: set[tuple[str, str]] = set()
    for path, node in _sections("", schema, schema, {}):
        body = _table(node, schema)
        if (path, body) in told:  # of two kinds of one section, both of which have it
            continue
        told.add((path, body))
        first = first_at.setdefault(body, path)
        parts.append(f"{_heading(path, node)}\n\n{body if first == path else f'As [`{first}`](#{_anchor(first)}).'}")
    return "\n\n".join(parts) + "\n"


def with_reference(page: str) -> str:
    """The page with its part between the two marks replaced by the tables.

    Raises
    ------
    ValueError
        If the page lacks the marks.
    """
    return with_part(page, _BEGIN, _END, reference_markdown())


def _sections(
    path: str, node: Mapping[str, Any], schema: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each section with its path; `defaults` are those that the section above gives it in place of its own."""
    properties = {
        key: {**child, "default": defaults[key]} if key in defaults else child
        for key, child in node["properties"].items()
    }
    yield path, {**node, "properties": properties}
    for key, child in properties.items():
        default = child.get("default")
        for suffix, below in _objects_below(child, schema):
            at = f"{path}.{key}{suffix}" if path else f"{key}{suffix}"
            yield from _sections(at, below, schema, default if isinstance(default, Mapping) and not suffix else {})


def _objects_below(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The models that a key leads to, and what stands between: `[]` for a list, `.NAME` for a mapping of names."""
    node = _resolved(node, schema)
    if "properties" in node and node.get("title") not in _ELSEWHERE and "all" not in node["properties"]:
        yield "", node
    for key in ("anyOf", "oneOf"):
        for alternative in node.get(key, ()):
            yield from (
                (suffix, below) for suffix, below in _objects_below(alternative, schema) if "description" in below
            )
    if isinstance(node.get("items"), Mapping):
        yield from ((f"[]{suffix}", below) for suffix, below in _objects_below(node["items"], schema))
    named = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    for child in named:
        if isinstance(child, Mapping):
            yield from ((f".NAME{suffix}", below) for suffix, below in _objects_below(child, schema))


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in node:
        return node
    name = str(node["$ref"]).rsplit("/", 1)[-1]
    below = dict(schema["$defs"][name])
    return {**below, "title": name} if name in _ELSEWHERE else below


def _heading(path: str, node: Mapping[str, Any]) -> str:
    kind = str(node.get("title", ""))
    return (f"### `{path}`" if path else "### The whole file") + (f" ({kind})" if kind.startswith("by ") else "")


def _anchor(path: str) -> str:
    """Of a section's heading, as GitHub makes it."""
    return re.sub(r"[^\w-]", "", path).lower()


def _table(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A section's own words, and its keys."""
    required = node.get("required", ())
    rows = [
        f"| `{key}` | {_kind(child, schema)} | {'**needed**' if key in required else _default(child)} "
        f"| {_meaning(child, schema)} |"
        for key, child in node["properties"].items()
    ]
    described = _one_line(str(node.get("description", "")))
    return "\n".join([described, "", *_HEADER, *rows])


def _meaning(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    return _one_line(str(node.get("description") or _resolved(node, schema).get("description", "")))


def _kind(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    node = _resolved(node, schema)
    alternatives = [
        alternative
        for alternative in (*node.get("anyOf", ()), *node.get("oneOf", ()))
        if alternative.get("type") != "null"
    ]
    if "enum" in node:
        return ", ".join(f"`{word}`" for word in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    if node.get("type") == "array":
        return f"list of {_kind(node.get('items', {}), schema)}"
    if node.get("type") == "object":
        if "properties" in node:
            return "condition" if node.get("title") in _ELSEWHERE else "section"
        named = node.get("additionalProperties")
        if isinstance(named, Mapping) and {option.get("type") for option in named.get("anyOf", ())} == _SCALARS:
            return f"{_kind(named, schema)} by name"
        return "sections by name"
    title = str(node.get("title", ""))
    if (title and title[:1].islower()) or title.split(" ")[0] in ("AE", "UID", "URL"):
        return title
    if alternatives:
        return " or ".join(dict.fromkeys(_kind(alternative, schema) for alternative in alternatives))
    return _PLAIN.get(node.get("type", ""), "text")


def _default(node: Mapping[str, Any]) -> str:
    default = node.get("default")
    if default is None or isinstance(default, Mapping) or default == []:
        return ""
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default, ensure_ascii=False)}`"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
