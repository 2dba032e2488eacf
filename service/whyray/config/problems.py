"""What is wrong with a configuration, place by place, and the nearest thing that would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from whyray.base.errors import ConfigError
from whyray.base.shown import shown_path

Place = tuple[str | int, ...]
"""Keys and list indices from the top of the file, e.g. ('routes', 0, 'when', 'Modality')."""


@dataclass(frozen=True)
class Problem:
    """One thing that can't be obeyed.

    `line` is 1-based, None where the file has no place for it. `suggestion` is one sentence or None.
    """

    place: Place
    message: str
    line: int | None = None
    suggestion: str | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        at = f"{dotted(self.place)}: " if self.place else ""
        return f"{where}{at}{self.message}" + (f"; {self.suggestion}" if self.suggestion else "")


def dotted(place: Place) -> str:
    """The place as people write it, e.g. `routes[0].when.Modality`."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def nearest(word: object, choices: Iterable[str]) -> str | None:
    """The choice that `word` was most likely meant to be; None if none is near."""
    by_folded = {choice.casefold(): choice for choice in sorted(choices, reverse=True)}
    matches = difflib.get_close_matches(str(word).casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[matches[0]] if matches else None


def did_you_mean(word: object, choices: Sequence[str], *, what: str = "known") -> str | None:
    """A suggestion: the nearest choice, or all of them where they are few and none is near."""
    near = nearest(word, choices)
    if near is not None:
        return f"did you mean '{near}'?"
    if 0 < len(choices) <= 12:
        return f"{what}: {', '.join(sorted(choices))}"
    return None


def config_error(problems: Sequence[Problem], source: str) -> ConfigError:
    """One error that lists all problems, with the line of the first."""
    if len(problems) == 1:
        return ConfigError(f"{source}: {problems[0]}", advice=ConfigError.advice_of_file)
    listed = "\n".join(f"  {problem}" for problem in problems)
    return ConfigError(f"{source} has {len(problems)} problems:\n{listed}", advice=ConfigError.advice_of_file)


def unreadable(path: Path, error: OSError) -> ConfigError:
    """The error that a file is which is not there, or can't be read."""
    advice = "Check that it is a file, and that the user whom WhyRay runs as may read it."
    if isinstance(error, FileNotFoundError):
        advice = "`whyray config example > whyray.yaml` writes one to begin with."
    return ConfigError(f"{shown_path(path)}: {error.strerror or error}", advice=advice)
