"""What the operators of a condition mean for the values of an element. Documented for sites in docs/configure.md."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from whyray.config import DATES, NUMBERS, AllOf, AnyOf, Clause, Condition, Not, age_in_days, pattern_validator
from whyray.routing.elements import Element
from whyray.routing.encoded_text import name_groups

Predicate = Callable[[str], bool | None]
"""A test of one value's text; None where the text is no such value: no number, no date, no age."""

_MOMENT_DIGITS = {"DA": 8, "TM": 6, "DT": 14}
_SEPARATORS = re.compile(r"[-:.]")
_WHOLE = re.compile(r"[+-]?\d{1,32}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MOMENT = {
    "DA": re.compile(r"\d{8}", re.ASCII),
    "TM": re.compile(r"(\d\d){1,3}(\.\d{1,6})?", re.ASCII),
    "DT": re.compile(r"\d{4}(\d\d){0,5}(\.\d{1,6})?", re.ASCII),
}
_ZONE = re.compile(r"[+-]\d{4}$", re.ASCII)


@lru_cache(maxsize=4096)
def predicate(clause: Clause, *, numeric: bool = False) -> Predicate:
    """A test of one value's text, compiled once for each clause. Not for `present` and `absent`.

    `numeric` says that the element in the file is of a value representation of numbers, whatever the dictionary says.
    """
    if clause.operator in ("equals", "in"):
        numbers = frozenset(number(value) for value in clause.values)
        if clause.path.last.numeric or (numeric and not any(math.isnan(wanted_number) for wanted_number in numbers)):
            return lambda text: _of_number(number(text), numbers.__contains__)
        wanted = frozenset(text for value in clause.values for text in _as_compared(value, clause))
        return lambda text: text in wanted
    if clause.operator == "contains":
        parts = tuple(unicodedata.normalize("NFC", value).casefold() for value in clause.values)
        return lambda text: any(part in text.casefold() for part in parts)
    if clause.operator == "matches":
        return pattern_validator(unicodedata.normalize("NFC", clause.values[0])).isinstance_python
    return _range(clause)


def _as_compared(value: str, clause: Clause) -> tuple[str, ...]:
    """A wanted text as `elements` gives texts: composed letters, names without null components at their ends."""
    text = unicodedata.normalize("NFC", value)
    return (text, "=".join(name_groups(text))) if clause.path.last.vr == "PN" else (text,)


def holds(clause: Clause, elements: tuple[Element, ...]) -> bool | None:
    """Whether a clause is true of the elements found at its path: any value of any of them suffices.

    None where it can't be told: no value fulfils it, and one can't be read.
    """
    unread = any(element.unread for element in elements)
    if clause.operator in ("present", "absent"):
        here = any(element.present for element in elements) or (None if unread else False)
        return here if clause.operator == "present" else negation(here)
    for element in elements:
        test = predicate(clause, numeric=set(element.vr.split(" or ")) <= NUMBERS)
        answers = [test(text) for text in element.texts]
        if True in answers:
            return True
        unread = unread or None in answers
    return None if unread else False


def evaluate(condition: Condition, elements_of: Callable[[Clause], tuple[Element, ...]]) -> bool | None:
    """Whether a condition is true, given how to find a clause's elements.

    None where that hangs on a value that can't be read (Kleene's logic: what is true or false without it stays so).
    """
    if isinstance(condition, Clause):
        return holds(condition, elements_of(condition))
    if isinstance(condition, Not):
        return negation(evaluate(condition.part, elements_of))
    decided = isinstance(condition, AnyOf)  # one part with this value decides
    parts = [evaluate(part, elements_of) for part in condition.parts]
    if decided in parts:
        return decided
    return None if None in parts else not decided


def negation(value: bool | None) -> bool | None:
    """The opposite; what can't be told stays so."""
    return None if value is None else not value


def clauses_of(condition: Condition) -> tuple[Clause, ...]:
    """All clauses of a condition, in the order of writing."""
    if isinstance(condition, Clause):
        return (condition,)
    parts = (condition.part,) if isinstance(condition, Not) else condition.parts
    return tuple(clause for part in parts for clause in clauses_of(part))


def top_level(condition: Condition) -> tuple[Condition, ...]:
    """The parts that must all be true."""
    if isinstance(condition, AllOf):
        return tuple(part_of_all for part in condition.parts for part_of_all in top_level(part))
    return (condition,)


def number(text: str) -> float:
    """The finite number that a text writes, else NaN, which equals nothing and lies in no range.

    Whole numbers stay whole: those of 64 bits (SV, UV) have more digits than a float.
    """
    if _WHOLE.fullmatch(text):
        return int(text)
    value = float(text) if _DECIMAL.fullmatch(text) else math.nan
    return value if math.isfinite(value) else math.nan


def _of_number(value: float, test: Callable[[float], bool]) -> bool | None:
    return None if math.isnan(value) else test(value)


def _range(clause: Clause) -> Predicate:
    vr, low, high = clause.path.last.vr, clause.low, clause.high
    if vr in DATES:
        digits = _MOMENT_DIGITS[vr]
        first, last = moment(low or "", digits, "0"), moment(high or "", digits, "9")

        def within(text: str) -> bool | None:
            return first <= moment(text, digits, "0") <= last if _is_moment(text, vr) else None

        return within
    measure = _days if vr == "AS" else number
    least = measure(low) if low is not None else -math.inf
    most = measure(high) if high is not None else math.inf
    return lambda text: _of_number(measure(text), lambda value: least <= value <= most)


def _is_moment(text: str, vr: str) -> bool:
    """Whether a text is a DA, TM or DT (PS3.5 table 6.2-1), in an old form with separators or not."""
    whole, _, fraction = (text if vr == "DA" else _ZONE.sub("", text)).partition("." if vr != "DA" else "\0")
    plain = _SEPARATORS.sub("", whole)
    return bool(_MOMENT[vr].fullmatch(f"{plain}.{fraction[:6]}" if fraction else plain))


def _days(text: str) -> float:
    days = age_in_days(text)
    return math.nan if days is None else days


def moment(text: str, digits: int, fill: str) -> str:
    """Digits of a DA, TM or DT, filled up to microseconds, so that they compare as texts.

    The offset from UTC of a DT is left out of account. Old forms with separators (2001.01.31, 12:30:00) are understood.
    """
    whole, _, fraction = _ZONE.sub("", text).partition(".") if digits != 8 else (text, "", "")
    return _SEPARATORS.sub("", whole)[:digits].ljust(digits, fill) + fraction[:6].ljust(6, fill)
