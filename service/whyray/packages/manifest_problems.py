"""What is wrong with a `model.yaml`, line by line, in words that say what to write there."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from pydantic import ValidationError

Place = tuple[str | int, ...]


def manifest_problems(text: str, error: ValidationError) -> list[str]:
    """One text a problem, 'line 4: title: is empty (what people read)', in the order of the lines.

    What is empty is told with the comment that stands behind it, as `whyray package init` writes them.
    """
    lines = _lines_of(yaml.compose(text, Loader=yaml.SafeLoader))
    written = text.splitlines()
    problems = []
    for problem in error.errors(include_url=False):
        place: Place = problem["loc"]
        line, whole = _nearest(lines, place)
        fault = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            fault = "is missing"
        elif problem["type"] == "extra_forbidden":
            fault = "is not a key that belongs here"
        elif problem["input"] is None and whole:
            comment = written[line - 1].partition(" #")[2].strip() if line else ""
            fault = "is empty" + (f" ({comment})" if comment else "")
        where = f"line {line}: " if line else ""
        problems.append((line or 0, f"{where}{'.'.join(map(str, place)) or 'model.yaml'}: {fault}"))
    return [words for _, words in sorted(problems, key=lambda one: one[0])]


def _nearest(lines: dict[Place, int], place: Place) -> tuple[int | None, bool]:
    """The line of a place, and True; or of the nearest place above it that the file has, and False."""
    for length in range(len(place), 0, -1):
        if place[:length] in lines:
            return lines[place[:length]], length == len(place)
    return None, False


def _lines_of(node: yaml.Node | None, place: Place = ()) -> dict[Place, int]:
    """By place the 1-based line of its key, or of its value in a list."""
    lines: dict[Place, int] = {}
    parts: Sequence[tuple[str | int, yaml.Node, yaml.Node]] = ()
    if isinstance(node, yaml.MappingNode):
        parts = [(key.value, key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        parts = [(number, value, value) for number, value in enumerate(node.value)]
    for step, at, value in parts:
        lines[*place, step] = at.start_mark.line + 1
        lines |= _lines_of(value, (*place, step))
    return lines
