"""`narrative/LANGUAGE.yaml`: the phrases of one language, read and validated."""

from __future__ import annotations

import string
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from whyray.base.errors import ConfigError
from whyray.base.number_text import fixed, with_marks
from whyray.base.shipped import shipped_templates
from whyray.explain.language.rules import PHRASES, WORDS, fields_of, styles_of

FOLDER = "narrative"
ZONES = tuple(f"{row}-{column}" for row in ("upper", "middle", "lower") for column in ("left", "centre", "right"))


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NarrativePhrases(_Strict):
    """All phrases of a language.

    Attributes
    ----------
    decimal_mark
        What stands between a number's whole and its parts.
    percent
        How a percentage is written, e.g. '{value}%'.
    zones
        Names of the ninths of an image.
    stack
        Names of the thirds of a stack of slices, each with a field `zone` for the place within the slice.
    sides
        The patient's two sides, and words for a place that is on neither.
    names
        Words for targets, structures and concepts, where they should not read as the package calls them.
    caption
        How what a captioner package wrote, `{words}`, is quoted.
    phrases
        One for each thing that a narrative can say; `{fields}` are filled in.
    """

    decimal_mark: str = Field(min_length=1, max_length=1)
    percent: str
    zones: dict[str, str]
    stack: dict[str, str]
    sides: dict[str, str]
    names: dict[str, str] = Field(default_factory=dict)
    caption: str
    phrases: dict[str, str]

    @field_validator("percent")
    @classmethod
    def _percent(cls, text: str) -> str:
        return _with_fields(text, {"value"}, "percent")

    @field_validator("caption")
    @classmethod
    def _caption(cls, text: str) -> str:
        if _fields(text) != {"words"}:
            raise ValueError("caption has the field {words}, and no other")
        return text

    @field_validator("stack")
    @classmethod
    def _stack(cls, texts: dict[str, str]) -> dict[str, str]:
        _exactly(texts, ("first", "central", "last"), "stack")
        return {key: _with_fields(text, {"zone"}, f"stack.{key}") for key, text in texts.items()}

    @field_validator("phrases")
    @classmethod
    def _phrases(cls, phrases: dict[str, str]) -> dict[str, str]:
        _exactly(phrases, PHRASES, "phrases")
        for key, text in phrases.items():
            _with_fields(text, fields_of(key), f"phrases.{key}")
            numbers = set(styles_of(key)) if key.startswith(("answer_", "value_")) else set()
            if missing := sorted(numbers - _fields(text)):
                raise ValueError(f"phrases.{key} must say {', '.join('{' + name + '}' for name in missing)}")
        return phrases

    @model_validator(mode="after")
    def _consistent(self) -> NarrativePhrases:
        _exactly(self.zones, ZONES, "zones")
        _exactly(self.sides, ("left", "right", "centre"), "sides")
        texts: dict[str, str] = {}
        for key, text in self.phrases.items():
            if text in texts:
                raise ValueError(f"phrases.{key} reads like phrases.{texts[text]}: nobody could tell them apart")
            texts[text] = key
        return self

    def named(self, name: str) -> str:
        """The word for a target, structure or concept."""
        return self.names.get(name, name.replace("_", " "))

    def filled(self, key: str, fields: Mapping[str, str | float], target: str, words: Mapping[str, str]) -> str:
        """The phrase with its fields, as `matched` gives them; ValueError where words are missing."""
        styles = styles_of(key)
        texts = {"target": self.named(target)}
        for name, value in fields.items():
            texts[name] = self._number(float(value), styles[name]) if name in styles else self._word(name, str(value))
        if "zone" in fields and "side" in fields:
            texts["side"] = self._side(str(fields["zone"]), str(fields["side"]))
        if key in WORDS:
            path = WORDS[key].format(**fields)
            if path not in words:
                raise ValueError(f"no words at {path}")
            texts["reasons"] = words[path]
        return self.phrases[key].format(**texts)

    def _word(self, field: str, name: str) -> str:
        if field == "zone":
            parts = name.split("-")
            place = self.zones["-".join(parts[-2:])]
            return place if len(parts) == 2 else self.stack[parts[0]].format(zone=place)
        return name if field in ("method", "unit", "label", "side") else self.named(name)

    def _side(self, zone: str, sides: str) -> str:
        column = zone.rsplit("-", 1)[-1]
        if column == "centre" or sides == "left-is-left":
            return self.sides[column]
        return self.sides["right" if column == "left" else "left"]

    def _number(self, value: float, style: str) -> str:
        if style in ("percent", "whole percent"):
            least = style == "percent" and 0 < value < 0.0005
            text = fixed(0.1 if least else 100 * value, 1 if style == "percent" else 0)
            return self.percent.format(value=("< " if least else "") + with_marks(text, self.decimal_mark, ""))
        text = fixed(value, 0 if style == "count" else 2)
        return with_marks(text, self.decimal_mark, "").replace("-", "−")


def read_phrases(language: str, folder: Path | None = None) -> NarrativePhrases:
    """The phrases of a language: from a site's folder of templates where it has its own, else the shipped ones.

    Raises ConfigError where there are none, or where the file says something that is not allowed.
    """
    places = [
        templates / FOLDER / f"{language}.yaml" for templates in (folder, shipped_templates()) if templates is not None
    ]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        known = sorted(path.stem for path in (shipped_templates() / FOLDER).glob("*.yaml"))
        raise ConfigError(
            f"no phrases for language {language!r}; there are {', '.join(known)}",
            advice=f"Add {FOLDER}/{language}.yaml to the site's template folder, or name a language that exists.",
        )
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _read(path: Path, changed: int) -> NarrativePhrases:  # noqa: ARG001 - another time of change, another file
    try:
        return NarrativePhrases.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path}: {error}", advice="`whyray template check FOLDER` names the line.") from error


def _with_fields(text: str, allowed: set[str], where: str) -> str:
    if unknown := sorted(_fields(text) - allowed):
        raise ValueError(f"{where}: unknown field {unknown}; known: {sorted(allowed)}")
    return text


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def _exactly(given: Mapping[str, str], wanted: Mapping[str, object] | tuple[str, ...], where: str) -> None:
    missing, unknown = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or unknown:
        words = [f"{what} {', '.join(keys)}" for what, keys in (("missing", missing), ("unknown", unknown)) if keys]
        raise ValueError(f"{where}: {'; '.join(words)}")
