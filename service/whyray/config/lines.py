"""YAML into plain values, remembering the line of every key and value.

Scalars follow YAML 1.2's core schema, so that `NO` and `0010` stay text: DICOM has such values, and YAML 1.1 would make
them `false` and 8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from whyray.base.yaml_parsers import libyaml_may_read
from whyray.config.problems import Place, Problem

_TAG = "tag:yaml.org,2002:"
_MOST_VALUES = 100_000
_TOO_DEEP = Problem((), "nested or repeated too deeply")


class WrittenFloat(float):
    """A number with a point that remembers how it was written: as text, 1.10 is not 1.1."""

    text: str

    def __new__(cls, text: str) -> WrittenFloat:  # noqa: D102
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Document:
    """A file's values, the 1-based line of each place (of its key, where it has one), and its text."""

    data: object
    lines: Mapping[Place, int] = field(default_factory=dict)
    text: str = field(default="", repr=False)

    def line(self, place: Place) -> int | None:
        """The line of the place, or of the nearest place above it that the file has; None for an empty file."""
        return self.lines.get(self.written(place))

    def written(self, place: Place) -> Place:
        """The place as the file has it.

        Steps that the file does not have (the names that a validator gives to its alternatives) are passed over; a
        position in what was written as a mapping becomes the key at that position.
        """
        deepest: Place = ()
        value = self.data
        for step in place:
            if isinstance(value, dict) and isinstance(step, int) and step < len(value):
                step = list(value)[step]
            if (*deepest, step) in self.lines:
                deepest = (*deepest, step)
                value = _below(value, step)
        return deepest


def _below(value: object, step: str | int) -> object:
    if isinstance(value, dict):
        return value.get(step)
    return value[step] if isinstance(value, list) and isinstance(step, int) else None


class _Resolver(BaseResolver):
    """YAML 1.2 core schema, section 10.3.2, without octal and hexadecimal numbers."""


for _kind, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", r"<<", "<"),
):
    _Resolver.add_implicit_resolver(_TAG + _kind, re.compile(rf"^(?:{_pattern})$"), list(_first))


class _Loader(Reader, Scanner, Parser, Composer, _Resolver):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        _Resolver.__init__(self)


def _node(text: str, *, quick: bool) -> yaml.Node | None:
    if quick and libyaml_may_read(text):
        try:
            return _QuickLoader(text).get_single_node()
        except yaml.YAMLError:
            pass  # told in the words of the other parser
    return _Loader(text).get_single_node()


if yaml.__with_libyaml__:

    class _QuickLoader(_Resolver, yaml.CSafeLoader):
        pass


class _Refused(Exception):  # noqa: N818 - never leaves this file
    pass


def read_yaml(text: str, *, quick: bool = False) -> tuple[Document, tuple[Problem, ...]]:
    """The values of one YAML document, and what is wrong with it as YAML.

    `quick`: by libyaml, which lets a few things pass (tabs between tokens) that are refused otherwise.
    """
    try:
        node = _node(text, quick=quick)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        hint = "indent with spaces, not with tabs" if "\\t" in message else None
        return Document(None), (Problem((), f"not YAML: {message}", mark.line + 1 if mark else None, hint),)
    except yaml.YAMLError as error:
        return Document(None), (Problem((), f"not YAML: {' '.join(str(error).split())}"),)
    except RecursionError:
        return Document(None), (_TOO_DEEP,)
    reading = _Reading()
    try:
        data = reading.value(node, ()) if node is not None else None
    except (_Refused, RecursionError):
        reading.problems.append(_TOO_DEEP)
        data = None
    return Document(data, reading.lines, text), tuple(reading.problems)


class _Reading:
    """One pass over the nodes: values, lines and problems."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()

    def value(self, node: yaml.Node, place: Place) -> object:
        self.lines.setdefault(place, node.start_mark.line + 1)
        if id(node) in self._open or len(self.lines) > _MOST_VALUES:
            raise _Refused
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
            return self._scalar(node, place) if isinstance(node, yaml.ScalarNode) else None
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, object]:
        values: dict[str, object] = {}
        merged: list[tuple[yaml.Node, int]] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _TAG + "merge":
                several = isinstance(value_node, yaml.SequenceNode)
                merged += [(merge_node, line) for merge_node in (value_node.value if several else [value_node])]
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(place, line, "a key is a word, not a list or a mapping")
                continue
            key = str(key_node.value)
            if key in values:
                first = self.lines[(*place, key)]
                self._problem((*place, key), line, f"written twice; the first is in line {first}")
                continue
            self.lines[(*place, key)] = line
            values[key] = self.value(value_node, (*place, key))
        for value_node, line in merged:
            self._merge(values, value_node, line, place)
        return values

    def _merge(self, values: dict[str, object], node: yaml.Node, line: int, place: Place) -> None:
        if not isinstance(node, yaml.MappingNode):
            self._problem(place, line, "<< needs a mapping")
            return
        inherited = _Reading()
        inherited._open = self._open
        for key, value in inherited._mapping(node, place).items():
            if key not in values:
                values[key] = value
                below = (*place, key)
                self.lines.update({at: line for at, line in inherited.lines.items() if at[: len(below)] == below})
        self.problems += inherited.problems

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> object:
        text, tag = str(node.value), node.tag.removeprefix(_TAG)
        if tag == "bool":
            return text.lower() == "true"
        if tag == "null":
            return None
        if tag in ("int", "float") and len(text) <= 100:
            try:
                return int(text) if tag == "int" else WrittenFloat(text)
            except ValueError:
                return text
        if tag not in ("str", "merge", "int", "float"):
            self._problem(place, node.start_mark.line + 1, f"the tag {node.tag} is not used here", "leave the tag out")
        return text

    def _problem(self, place: Place, line: int, message: str, suggestion: str | None = None) -> None:
        self.problems.append(Problem(place, message, line, suggestion))
