"""From a file to a `Config`, or to all that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from whyray.base.errors import ConfigError
from whyray.base.shown import shown_path
from whyray.config.lines import Document, read_yaml
from whyray.config.model import Config
from whyray.config.problems import Problem, config_error, did_you_mean, unreadable
from whyray.config.references import reference_faults
from whyray.config.schema import choices_at

_LONGEST_FOUND = 60
_OWN_WORDS = ("condition", "reference", "name")
"""Types of errors whose message is left as it is."""
_SECRET_KEYS = frozenset({"token", "password", "login", "logins", "client_secret"})
"""Under these keys nothing that was found is printed: a person may have written a secret at the wrong place."""
_EMPTY_LIST = "at least one item is needed"


def load_config(path: str | Path, *, environ: Mapping[str, str] | None = None, read_secrets: bool = True) -> Config:
    """The configuration in a file.

    Parameters
    ----------
    path
        The YAML file; relative paths in it are relative to its folder.
    environ
        Where `{env: NAME}` is looked up; the process's environment by default.
    read_secrets
        False to check a file on another machine than the one that has its secrets; they are then empty.

    Raises
    ------
    ConfigError
        Naming every problem with line, place, what was found and a suggestion.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{shown_path(path)}: not UTF-8 at byte {error.start}", advice="Save the file as UTF-8."
        ) from None
    except OSError as error:
        raise unreadable(path, error) from None
    config, problems = read_config(text, folder=path.absolute().parent, environ=environ, read_secrets=read_secrets)
    if config is None:
        raise config_error(problems, shown_path(path))
    return config


def read_config(
    text: str, *, folder: Path, environ: Mapping[str, str] | None = None, read_secrets: bool = True
) -> tuple[Config | None, tuple[Problem, ...]]:
    """The configuration in a text, or None and all problems, in the order of their lines."""
    document, yaml_problems = read_yaml(text)
    if document.data is None:
        return None, yaml_problems or (Problem((), "the file is empty", None, "`whyray config example` prints one"),)
    data = _without_empty_sections(document.data)
    context = {
        "folder": folder,
        "environ": os.environ if environ is None else environ,
        "read_secrets": read_secrets,
    }
    problems = list(yaml_problems)
    config = None
    try:
        config = Config.model_validate(data, context=context)
    except ValidationError as error:
        problems += [_problem(detail, document) for detail in error.errors(include_url=False)]
    problems += [
        Problem(fault.place, fault.message, document.line(fault.place), fault.suggestion)
        for fault in reference_faults(data)
    ]
    if problems or config is None:
        return None, _in_order(problems)
    config._document = document
    return config, ()


def example_config() -> str:
    """A commented configuration to begin with."""
    return resources.files("whyray.config").joinpath("example.yaml").read_text("utf-8")


def _in_order(problems: list[Problem]) -> tuple[Problem, ...]:
    """By line, each once, without 'needs one item' where the item is there and wrong itself."""
    unique = {(problem.place, problem.message): problem for problem in problems}
    places = [problem.place for problem in unique.values()]
    telling = [
        problem
        for problem in unique.values()
        if not (
            problem.message == _EMPTY_LIST
            and any(place[:-1] == problem.place and isinstance(place[-1], int) for place in places if place)
        )
    ]
    return tuple(sorted(telling, key=lambda problem: problem.line or 0))


def _without_empty_sections(data: object) -> object:
    """A section whose lines are all commented out counts as left out."""
    return {key: value for key, value in data.items() if value is not None} if isinstance(data, dict) else data


def _problem(error: Any, document: Document) -> Problem:
    """One of pydantic's errors in our words. `error`: pydantic_core.ErrorDetails."""
    kind, place, context = error["type"], document.written(error["loc"]), error.get("ctx") or {}
    message, suggestion = error["msg"], context.get("suggestion") or None
    written: object = error["input"]
    if kind == "extra_forbidden":
        key, choices = place[-1], choices_at(place[:-1])
        message, suggestion = f"no such key '{key}'", did_you_mean(key, choices, what="keys are")
    elif kind == "missing":
        message, written = f"the key '{error['loc'][-1]}' is missing", None
    elif kind == "literal_error":
        choices = choices_at(place)
        message, suggestion = f"not one of {', '.join(choices)}", did_you_mean(written, choices)
    elif kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "a mapping of keys is needed here"
    elif kind in ("tuple_type", "list_type"):
        message = "a list is needed here"
    elif kind == "too_short":
        message = _EMPTY_LIST
    elif written is None and kind not in _OWN_WORDS:
        message, suggestion = "nothing is written here", "write a value, or leave the key out"
    elif kind not in _OWN_WORDS:
        message = message.replace("Input should be ", "must be ", 1)
        message = message[:1].lower() + message[1:]
    if kind not in ("secret", "extra_forbidden") and _SECRET_KEYS.isdisjoint(place):
        message += _found(written, message)
    return Problem(place, message, document.line(place), suggestion)


def _found(value: object, message: str) -> str:
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str | int | float) or f"'{value}'" in message:
        return ""
    text = str(value)
    return f", found '{text if len(text) <= _LONGEST_FOUND else text[:_LONGEST_FOUND] + '…'}'"
