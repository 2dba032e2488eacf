"""The answers of a study as a file: by place, without a log-in's name, so that they can be analysed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from whyray.base.errors import ConfigError, NotFound
from whyray.catalog import ReaderStudy
from whyray.reader_study.design import ReadingFact
from whyray.reader_study.register import facts, progress


@dataclass(frozen=True)
class Answers:
    """All answers of one study, of `expected` in all."""

    study: str
    expected: int
    facts: tuple[ReadingFact, ...]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: Literal["whyray-reader-study-answers/1"] = "whyray-reader-study-answers/1"
    study: str
    expected: int
    answers: list[ReadingFact]


def answers_of(study: ReaderStudy) -> Answers:
    """What the catalog has of a study."""
    return Answers(study.name, sum(standing.total for standing in progress(study)), tuple(facts(study)))


def write_answers(path: Path, answers: Answers) -> None:
    """Write them as JSON."""
    file = _File(study=answers.study, expected=answers.expected, answers=list(answers.facts))
    path.write_text(file.model_dump_json(indent=1) + "\n", "utf-8")


def read_answers(path: Path) -> Answers:
    """Read them again; NotFound or ConfigError where they can't be read."""
    try:
        file = _File.model_validate_json(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", advice="`whyray study analyse` writes answers.json.") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} holds no answers of a reader study: {type(error).__name__}",
            advice="Take the file as `whyray study analyse` wrote it, or let it write answers.json again.",
        ) from error
    return Answers(file.study, file.expected, tuple(file.answers))
