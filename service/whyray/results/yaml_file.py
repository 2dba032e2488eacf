"""Reading a template file: YAML into a validated value, with the file and the line in every error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from whyray.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)

_ADVICE = "Correct the file at the line named, or delete it to fall back on the one that is shipped."


def read_template(path: Path, model: type[Model]) -> Model:
    """The file's contents as `model`.

    Raises
    ------
    ConfigError
        If the file can't be read, is not YAML, or says something that `model` doesn't allow; with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}", advice=_ADVICE) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(
            f"{path}: not YAML: {problem}", line=None if mark is None else mark.line + 1, advice=_ADVICE
        ) from error
    try:
        return model.model_validate(values if values is not None else {})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(each) for each in first["loc"])
        raise ConfigError(
            f"{path}: {place or 'file'}: {first['msg']}", line=_line_of(tree, first["loc"]), advice=_ADVICE
        ) from error


def _line_of(node: yaml.Node | None, location: Sequence[int | str]) -> int | None:
    """The 1-based line of the deepest node on the way to `location` that the file holds."""
    if node is None:
        return None
    line = node.start_mark.line + 1
    for step in location:
        child = _child(node, step)
        if child is None:
            break
        key, node = child
        line = key.start_mark.line + 1
    return line


def _child(node: yaml.Node, step: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None
