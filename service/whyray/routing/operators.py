"""What the operators of a condition mean for the values of an element. Documented for sites in docs/configure.md."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache

from whyray.config.attributes import DATES
from whyray.config.conditions import AllOf, Clause, Condition, Not, age_in_days, pattern_validator
from whyray.routing.elements import Element

Predicate = Callable[[str], bool]

_MOMENT_DIGITS = {"DA": 8, "TM": 6, "DT": 14}
_SEPARATORS = re.compile(r"[-:.]")
_ZONE = re.compile(r"[+-]\d{4}$", re.ASCII)


@lru_cache(maxsize=4096)
def predicate(clause: Clause) -> Predicate:
    """A test of one value's text, compiled once for each clause. Not for `present` and `absent`."""
    if clause.operator in ("equals", "in"):
        if clause.path.last.numeric:
            numbers = frozenset(float(each) for each in clause.values)
            return lambda text: number(text) in numbers
        wanted = frozenset(clause.values)
        return lambda text: text in wanted
    if clause.operator == "contains":
        parts = tuple(each.casefold() for each in clause.values)
        return lambda text: any(part in text.casefold() for part in parts)
    if clause.operator == "matches":
        return pattern_validator(clause.values[0]).isinstance_python
    return _range(clause)


def holds(clause: Clause, elements: tuple[Element, ...]) -> bool:
    """Whether a clause is true of the elements found at its path: any value of any of them suffices."""
    if clause.operator == "present":
        return any(element.present for element in elements)
    if clause.operator == "absent":
        return not any(element.present for element in elements)
    test = predicate(clause)
    return any(test(text) for element in elements for text in element.texts)


def evaluate(condition: Condition, found: Callable[[Clause], tuple[Element, ...]]) -> bool:
    """Whether a condition is true, given how to find a clause's elements."""
    if isinstance(condition, Clause):
        return holds(condition, found(condition))
    if isinstance(condition, Not):
        return not evaluate(condition.part, found)
    decide = all if isinstance(condition, AllOf) else any
    return decide(evaluate(part, found) for part in condition.parts)


def clauses_of(condition: Condition) -> tuple[Clause, ...]:
    """All clauses of a condition, in the order of writing."""
    if isinstance(condition, Clause):
        return (condition,)
    parts = (condition.part,) if isinstance(condition, Not) else condition.parts
    return tuple(clause for part in parts for clause in clauses_of(part))


def top_level(condition: Condition) -> tuple[Condition, ...]:
    """The parts that must all be true."""
    if isinstance(condition, AllOf):
        return tuple(each for part in condition.parts for each in top_level(part))
    return (condition,)


def number(text: str) -> float:
    """The finite number that a text writes, else NaN, which equals nothing and lies in no range."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _range(clause: Clause) -> Predicate:
    vr, low, high = clause.path.last.vr, clause.low, clause.high
    if vr in DATES:
        digits = _MOMENT_DIGITS[vr]
        first, last = moment(low or "", digits, "0"), moment(high or "", digits, "9")
        return lambda text: text[:1].isdigit() and first <= moment(text, digits, "0") <= last
    measure = _days if vr == "AS" else number
    least = measure(low) if low is not None else -math.inf
    most = measure(high) if high is not None else math.inf
    return lambda text: least <= measure(text) <= most


def _days(text: str) -> float:
    days = age_in_days(text)
    return math.nan if days is None else days


def moment(text: str, digits: int, fill: str) -> str:
    """Digits of a DA, TM or DT, filled up to microseconds, so that they compare as texts.

    The offset from UTC of a DT is left out of account. Old forms with separators (2001.01.31, 12:30:00) are understood.
    """
    whole, _, fraction = _ZONE.sub("", text).partition(".") if digits != 8 else (text, "", "")
    return _SEPARATORS.sub("", whole)[:digits].ljust(digits, fill) + fraction[:6].ljust(6, fill)
