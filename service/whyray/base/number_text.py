"""Numbers as text, rounded as people and browsers round: halves away from zero.

Python's own formatting rounds an exact half to the even digit, 12.5 to 12, and `Number.toFixed` of the admin page to 13
(ECMA-262, 21.1.3.3): the same probability would read otherwise on a page than beside it.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Context, Decimal
from numbers import Integral
from typing import SupportsFloat

_WHOLE_UP_TO = 7
"""Digits of whole numbers that are written out; longer ones are powers of ten, as in Python's `g`."""
_SMALLEST = -4
"""Power of ten of the first digit of the smallest number that is written out, as in Python's `g`."""


_EXACT = Context(prec=400, rounding=ROUND_HALF_UP)
"""Room for the largest float, 309 digits, and decimals behind it."""


def fixed(value: float, decimals: int, *, signed: bool = False) -> str:
    """The number with that many decimals and a point; `signed`: with a plus where it is above zero."""
    if not math.isfinite(value):
        return str(value)
    text = f"{_rounded(value, -decimals):f}"
    return f"+{text}" if signed and not text.startswith("-") else text


def significant(value: float, digits: int) -> str:
    """The number in at most so many significant digits, without zeros at its end.

    Written out from a ten-thousandth up to ten million, else as '3.2e-05'.
    """
    if not math.isfinite(value) or value == 0:
        return "0" if value == 0 else str(value)
    rounded = _rounded(value, _exact(value).adjusted() - digits + 1)
    power = rounded.adjusted()
    if _SMALLEST <= power < _WHOLE_UP_TO:
        return _without_zeros(f"{rounded:f}")
    return f"{_without_zeros(f'{rounded.scaleb(-power):f}')}e{power:+03d}"


def with_marks(text: str, decimal_mark: str, thousands: str) -> str:
    """A number as `fixed` and `significant` write it with a language's decimal mark, and `thousands` between groups of
    three digits of whole parts that have five or more."""
    sign = text[:1] if text[:1] in ("+", "-") else ""
    number, power, exponent = text[len(sign) :].partition("e")
    whole, point, decimals = number.partition(".")
    if len(whole) > 4 and whole.isdecimal():  # four digits are read at a glance, and years never have groups
        whole = f"{int(whole):,}".replace(",", thousands)
    return sign + whole + (decimal_mark if point else "") + decimals + power + exponent


def _rounded(value: float, power: int) -> Decimal:
    """To a multiple of that power of ten; zero has no sign."""
    rounded = _exact(value).quantize(Decimal(1).scaleb(power), context=_EXACT)
    return rounded if rounded else abs(rounded)


def _exact(value: SupportsFloat) -> Decimal:
    """The number itself; those of numpy become Python's first, which alone Decimal takes."""
    return Decimal(int(value) if isinstance(value, Integral) else float(value))


def _without_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
