"""Reading a template file: YAML into a validated value, with the file and the line in every error."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from whyray.base.errors import ConfigError
from whyray.config import Problem, config_error, read_yaml

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
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}", advice=_ADVICE) from error
    document, reading_problems = read_yaml(text, quick=True)
    problems = list(reading_problems)
    if not problems:
        try:
            return model.model_validate(document.data if document.data is not None else {})
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                message = detail["msg"].removeprefix("Value error, ")
                problems.append(Problem(detail["loc"], message, document.line(detail["loc"])))
    refused = config_error(problems, str(path))
    refused.line, refused.advice = problems[0].line, _ADVICE
    raise refused
