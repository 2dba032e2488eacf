"""Conditions of routes: what a person writes under `when` and `study`, read into a small tree of clauses.

    when:
      Modality: {in: [CR, DX]}
      BodyPartExamined: {contains: chest}
      not: {any: [{ImageType: LOCALIZER}, {PatientAge: {range: {max: 17Y}}}]}

This file knows the grammar; `whyray.routing` knows what the operators mean for a data set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal, get_args

from pydantic import PlainSerializer, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import InitErrorDetails, PydanticCustomError, SchemaError, SchemaValidator, core_schema

from whyray.config.attributes import DATES, AttributePath, UnknownAttribute, keywords, parse_attribute
from whyray.config.problems import Place, did_you_mean, nearest

Operator = Literal["equals", "in", "contains", "matches", "range", "present", "absent"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)
_WITH_VALUE = ("equals", "in", "contains", "matches", "range")
PREFIXES = ("not_", "absent_or_")
WORDS: tuple[str, ...] = (*OPERATORS, *(prefix + operator for prefix in PREFIXES for operator in _WITH_VALUE))
"""All operators as they may be written."""
COMBINATIONS = ("all", "any", "not")

LONGEST_PATTERN = 200
_DAYS_OF_UNIT = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}
_AGE = re.compile(r"(\d{1,3})([DWMY])", re.ASCII)
_MOMENT = {
    "DA": re.compile(r"\d{8}", re.ASCII),
    "TM": re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?", re.ASCII),
    "DT": re.compile(r"\d{4}(\d{2}(\d{2}(\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)?)?)?", re.ASCII),
}


@dataclass(frozen=True)
class Clause:
    """One attribute, one operator.

    `values` are the wanted texts; `low` and `high` the inclusive ends of a range.
    """

    path: AttributePath
    operator: Operator
    values: tuple[str, ...] = ()
    low: str | None = None
    high: str | None = None

    def __str__(self) -> str:
        if self.operator in ("present", "absent"):
            return f"{self.path.text} {self.operator}"
        if self.operator == "range":
            ends = [f"≥ {self.low}" if self.low is not None else "", f"≤ {self.high}" if self.high is not None else ""]
            return f"{self.path.text} " + " and ".join(end for end in ends if end)
        if self.operator == "equals":
            return f"{self.path.text} = {self.values[0]}"
        listed = f"[{', '.join(self.values)}]" if self.operator == "in" or len(self.values) > 1 else self.values[0]
        return f"{self.path.text} {self.operator} {listed}"


@dataclass(frozen=True)
class AllOf:
    """True if all parts are; true without parts."""

    parts: tuple[Condition, ...] = ()

    def __str__(self) -> str:
        return " and ".join(_bracketed(part) for part in self.parts) or "anything"


@dataclass(frozen=True)
class AnyOf:
    """True if one part is; false without parts."""

    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " or ".join(_bracketed(part) for part in self.parts) or "nothing"


@dataclass(frozen=True)
class Not:
    """True if the part is not."""

    part: Condition

    def __str__(self) -> str:
        return f"not ({self.part})"


Condition = Clause | AllOf | AnyOf | Not


def _bracketed(condition: Condition) -> str:
    return f"({condition})" if isinstance(condition, AllOf | AnyOf) else str(condition)


def parse_condition(value: object) -> Condition:
    """The tree for what was written.

    Raises
    ------
    pydantic.ValidationError
        With one error for each thing that is wrong, its `loc` within the condition, and a `suggestion` in its context.
    """
    if isinstance(value, Clause | AllOf | AnyOf | Not):
        return value
    faults: list[InitErrorDetails] = []
    condition = _Parser(faults).mapping(value, ())
    if faults:
        raise ValidationError.from_exception_data("condition", faults)
    return condition


_NOTHING = AllOf()


@dataclass(frozen=True)
class _Parser:
    faults: list[InitErrorDetails]

    def fault(self, place: Place, value: object, message: str, suggestion: str | None = None) -> AllOf:
        error = PydanticCustomError("condition", "{reason}", {"reason": message, "suggestion": suggestion or ""})
        self.faults.append(InitErrorDetails(type=error, loc=place, input=value))
        return _NOTHING

    def mapping(self, value: object, place: Place) -> Condition:
        if not isinstance(value, Mapping):
            return self.fault(
                place, value, "a condition is a mapping of DICOM keywords", "e.g. Modality: {in: [CR, DX]}"
            )
        parts = tuple(self.entry(str(key), below, (*place, str(key))) for key, below in value.items())
        return parts[0] if len(parts) == 1 else AllOf(parts)

    def entry(self, key: str, value: object, place: Place) -> Condition:
        if key == "not":
            return Not(self.mapping(value, place))
        if key in ("all", "any"):
            if not isinstance(value, list | tuple) or not value:
                return self.fault(place, value, f"'{key}' needs a list of conditions")
            parts = tuple(self.mapping(part, (*place, index)) for index, part in enumerate(value))
            return AllOf(parts) if key == "all" else AnyOf(parts)
        try:
            path = parse_attribute(key)
        except UnknownAttribute as error:
            suggestion = error.suggestion
            if near := nearest(key, COMBINATIONS):
                suggestion = f"did you mean '{near}'?"
            return self.fault(place, key, str(error), suggestion)
        return self.attribute(path, value, place)

    def attribute(self, path: AttributePath, value: object, place: Place) -> Condition:
        if isinstance(value, Mapping):
            if not value:
                return self.fault(place, value, "no operator is written", f"operators: {', '.join(WORDS)}")
            parts = tuple(self.operation(path, str(word), below, (*place, str(word))) for word, below in value.items())
            return parts[0] if len(parts) == 1 else AllOf(parts)
        if isinstance(value, list | tuple):
            listed = ", ".join(str(entry) for entry in value)
            return self.fault(place, value, "a list needs an operator", f"write {{in: [{listed}]}}")
        if value in ("present", "absent"):
            return self.fault(place, value, f"'{value}' is an operator", f"write {{{value}: true}}")
        return self.operation(path, "equals", value, place)

    def operation(self, path: AttributePath, word: str, value: object, place: Place) -> Condition:
        if word not in WORDS:
            return self.fault(
                place,
                word,
                f"'{word}' is not an operator",
                did_you_mean(word, WORDS) or f"operators: {', '.join(WORDS)}",
            )
        prefix = next((prefix for prefix in PREFIXES if word.startswith(prefix)), "")
        clause = self.clause(path, word.removeprefix(prefix), value, place)
        if prefix == "not_":
            return Not(clause)
        return AnyOf((Clause(path, "absent"), clause)) if prefix else clause

    def clause(self, path: AttributePath, word: str, value: object, place: Place) -> Condition:
        if word in ("present", "absent"):
            if not isinstance(value, bool):
                return self.fault(place, value, f"'{word}' is true or false")
            return Clause(path, "present" if (word == "present") is value else "absent")
        if not path.last.has_text:
            return self.fault(
                place,
                value,
                f"values of VR {path.last.vr} can't be compared",
                "use present or absent, or a path into it",
            )
        if word == "range":
            return self.range(path, value, place)
        operator: Operator = next(operator for operator in OPERATORS if operator == word)
        listed = isinstance(value, list | tuple)
        if operator == "in" and not listed:
            return self.fault(place, value, "'in' needs a list", f"write in: [{value}]")
        if listed and operator not in ("in", "contains"):
            return self.fault(place, value, f"'{word}' needs one value", "use in: [...]")
        wanted = list(value) if isinstance(value, list | tuple) else [value]
        if not wanted:
            return self.fault(place, value, "an empty list never matches")
        texts = tuple(self.text(entry, (*place, index) if listed else place) for index, entry in enumerate(wanted))
        if operator in ("equals", "in") and path.last.numeric:
            for text in texts:
                self.number(text, path, place)
        if operator in ("equals", "in") and path.last.vr == "CS":
            for text in texts:
                self.code(text, path, place)
        if operator == "matches":
            self.pattern(texts[0], place)
        return Clause(path, operator, texts)

    def text(self, value: object, place: Place) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float) and str(value).strip():
            return str(value).strip()
        self.fault(place, value, "a value is a text or a number", "use present or absent to ask for emptiness")
        return ""

    def number(self, text: str, path: AttributePath, place: Place) -> None:
        try:
            finite = abs(float(text)) < float("inf")
        except ValueError:
            finite = False
        if not finite and text:
            self.fault(place, text, f"{path.text} holds numbers (VR {path.last.vr}), '{text}' is none")

    def code(self, text: str, path: AttributePath, place: Place) -> None:
        # PS3.5 table 6.2-1: a lower-case code string is an error of the writer, and equality is exact.
        if text != text.upper():
            self.fault(
                place,
                text,
                f"{path.text} holds codes in upper case (VR CS), '{text}' never equals one",
                f"write '{text.upper()}', or contains: {text}, which ignores case",
            )

    def pattern(self, text: str, place: Place) -> None:
        if len(text) > LONGEST_PATTERN:
            self.fault(place, text, f"a pattern has {LONGEST_PATTERN} characters at most, this one {len(text)}")
            return
        try:
            pattern_validator(text)
        except SchemaError as error:
            reason = str(error).split("error: ")[-1].strip().replace("\n", " ")
            self.fault(place, text, f"not a regular expression: {reason}")

    def range(self, path: AttributePath, value: object, place: Place) -> Condition:
        if not isinstance(value, Mapping) or not value:
            return self.fault(place, value, "'range' needs min, max or both", "write range: {min: 1, max: 9}")
        for key in value:
            if key not in ("min", "max"):
                self.fault((*place, str(key)), key, f"'{key}' is not an end of a range", "the ends are min and max")
        ends = {key: self.end(path, value[key], (*place, key)) for key in ("min", "max") if key in value}
        clause = Clause(path, "range", low=ends.get("min"), high=ends.get("max"))
        if (
            clause.low is not None
            and clause.high is not None
            and _measure(path, clause.low) > _measure(path, clause.high)
        ):
            return self.fault(place, None, f"min ({clause.low}) is above max ({clause.high}): nothing lies between")
        return clause

    def end(self, path: AttributePath, value: object, place: Place) -> str:
        text, vr = self.text(value, place), path.last.vr
        if vr in DATES:
            text = text.replace("-", "").replace(":", "") if vr != "DT" else text
            if not _MOMENT[vr].fullmatch(text):
                self.fault(place, value, f"{path.text} has VR {vr}: write digits as DICOM does, e.g. {_EXAMPLE[vr]}")
        elif vr == "AS":
            if age_in_days(text) is None:
                self.fault(place, value, f"{path.text} is an age: write it with D, W, M or Y, e.g. 18Y")
        else:
            self.number(text, path, place)
        return text


def _measure(path: AttributePath, end: str) -> tuple[float, str]:
    """What orders two ends of a range that were written in the same way; equal where they can't be read."""
    if path.last.vr in DATES:
        return 0.0, end
    try:
        return (age_in_days(end) or 0.0) if path.last.vr == "AS" else float(end), ""
    except ValueError:
        return 0.0, ""


_EXAMPLE = {"DA": "20260131", "TM": "083000", "DT": "20260131083000"}


def age_in_days(text: str) -> float | None:
    """Days of an age string such as '018Y' (PS3.5 table 6.2-1, VR AS); a month is 30.4375 days. None if it is none."""
    match = _AGE.fullmatch(text.strip())
    return int(match.group(1)) * _DAYS_OF_UNIT[match.group(2)] if match else None


@cache
def pattern_validator(pattern: str) -> SchemaValidator:
    """Searches `pattern` by `.isinstance_python(text)`, in time linear in the text (Rust's regex crate).

    Raises
    ------
    pydantic_core.SchemaError
        If the pattern is none, or uses look-around or back-references, which have no linear-time search.
    """
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


def write_condition(condition: Condition) -> object:
    """What `parse_condition` reads as the same condition."""
    if isinstance(condition, AllOf):
        return {"all": [write_condition(part) for part in condition.parts]} if condition.parts else {}
    if isinstance(condition, AnyOf):
        return {"any": [write_condition(part) for part in condition.parts]}
    if isinstance(condition, Not):
        return {"not": write_condition(condition.part)}
    value: object
    if condition.operator in ("present", "absent"):
        value = True
    elif condition.operator == "range":
        value = {key: end for key, end in (("min", condition.low), ("max", condition.high)) if end is not None}
    else:
        value = list(condition.values) if condition.operator in ("in", "contains") else condition.values[0]
    return {condition.path.text: {condition.operator: value}}


def condition_schema() -> dict[str, object]:
    """JSON Schema of a condition, with all keywords of PS3.6 for an editor's completion left to the pattern."""
    scalar = {"type": ["string", "number", "boolean"]}
    several = {"type": "array", "items": scalar, "minItems": 1}
    shapes: dict[str, object] = {
        "equals": scalar,
        "in": several,
        "contains": {"anyOf": [scalar, several]},
        "matches": {"type": "string", "maxLength": LONGEST_PATTERN},
        "range": {"type": "object", "properties": {"min": scalar, "max": scalar}, "additionalProperties": False},
        "present": {"type": "boolean"},
        "absent": {"type": "boolean"},
    }
    operators = {word: shapes[word.removeprefix("not_").removeprefix("absent_or_")] for word in WORDS}
    attribute = {
        "anyOf": [
            {"type": "object", "properties": operators, "additionalProperties": False, "minProperties": 1},
            scalar,
        ]
    }
    inner = {"$ref": "#/$defs/condition"}
    return {
        "type": "object",
        "properties": {
            "all": {"type": "array", "items": inner, "minItems": 1},
            "any": {"type": "array", "items": inner, "minItems": 1},
            "not": inner,
        },
        "patternProperties": {r"^([A-Z(])": attribute},
        "additionalProperties": False,
    }


ConditionValue = Annotated[
    Condition,
    PlainValidator(parse_condition),
    PlainSerializer(write_condition),
    WithJsonSchema({"title": "condition"}),
]

__all__ = [
    "COMBINATIONS",
    "OPERATORS",
    "WORDS",
    "AllOf",
    "AnyOf",
    "Clause",
    "Condition",
    "ConditionValue",
    "Not",
    "Operator",
    "age_in_days",
    "condition_schema",
    "keywords",
    "parse_condition",
    "pattern_validator",
    "write_condition",
]
