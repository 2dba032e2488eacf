"""How a language writes numbers: the only place where pages, and texts of reports, turn a number into words.

A number for machines (DS, NumericValue, JSON, CSV) never comes through here: it keeps its point.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from whyray.base import number_text
from whyray.results.template_text import Plain, Strict, with_fields

NO_BREAK = "\N{NO-BREAK SPACE}"
"""Between a number and its unit, in every language here."""


def _holds_value(pattern: str) -> str:
    if "{value}" not in pattern:
        raise ValueError("must hold {value}")
    return pattern


class Numbers(Strict):
    """Marks and patterns of numbers.

    Attributes
    ----------
    decimal_mark
        What stands between a number's whole and its parts.
    thousands
        What parts groups of three digits from five digits on; may be empty.
    percent
        How a percentage is written: '{value}%', or with a no-break space before the sign.
    below_one
        What is said of a percentage that would read as nothing.
    """

    decimal_mark: Annotated[str, Field(min_length=1, max_length=1)] = "."
    thousands: Annotated[str, Field(max_length=1)] = ","
    percent: Annotated[str, with_fields("value"), AfterValidator(_holds_value)] = "{value}%"
    below_one: Plain = "below 1%"

    def fixed(self, value: float, decimals: int, *, signed: bool = False) -> str:
        """With that many decimals; `signed`: with a plus where it is above zero."""
        return self._written(number_text.fixed(value, decimals, signed=signed))

    def significant(self, value: float, digits: int) -> str:
        """In at most that many significant digits."""
        return self._written(number_text.significant(value, digits))

    def whole(self, value: float) -> str:
        """A count, or what is told in whole numbers."""
        return self.fixed(value, 0)

    def whole_percent(self, share: float) -> str:
        """A share of 0..1 in whole percents."""
        return self.percent.format(value=self.whole(100 * share))

    def percent_to(self, share: float, digits: int) -> str:
        """A share of 0..1 in percents of at most that many significant digits."""
        return self.percent.format(value=self.significant(100 * share, digits))

    def probability(self, share: float) -> str:
        """A share of 0..1 as it is told of findings: in whole percents, with a decimal below ten; 'below 1%' where that
        would read as nothing."""
        hundredth = 100 * share
        if 0 < hundredth < 1:
            return self.below_one
        return self.percent.format(value=self.fixed(hundredth, 1 if 0 < hundredth < 9.95 else 0))

    def _written(self, text: str) -> str:
        return number_text.with_marks(text, self.decimal_mark, self.thousands)
