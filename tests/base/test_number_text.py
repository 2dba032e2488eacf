"""Numbers as text: halves away from zero as in browsers, written out where people can read them, a language's marks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyray.base.number_text import fixed, significant, with_marks

numbers = st.floats(-1e300, 1e300)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(12.5, 0, "13"), (-12.5, 0, "-13"), (0.125, 2, "0.13"), (2.675, 2, "2.67"), (-0.2, 0, "0"), (7, 1, "7.0")],
)
def test_an_exact_half_is_rounded_away_from_zero_and_zero_has_no_sign(value: float, decimals: int, text: str) -> None:
    assert fixed(value, decimals) == text


def test_a_signed_number_bears_a_plus_where_it_is_not_below_zero() -> None:
    assert [fixed(value, 2, signed=True) for value in (0.25, -0.25, 0.0, -0.001)] == [
        "+0.25",
        "-0.25",
        "+0.00",
        "+0.00",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (30120.4, "30120"),
        (12345.6, "12350"),
        (9999.5, "10000"),
        (612.0, "612"),
        (0.87654, "0.8765"),
        (0.0001, "0.0001"),
        (0.0000321, "3.21e-05"),
        (123456789.0, "1.235e+08"),
        (-1.5, "-1.5"),
        (0.0, "0"),
    ],
)
def test_significant_digits_have_no_power_of_ten_where_people_write_none(value: float, text: str) -> None:
    assert significant(value, 4) == text


@given(numbers)
def test_text_is_the_number_nearest_to_it_in_so_many_digits(value: float) -> None:
    assert math.isclose(float(significant(value, 4)), value, rel_tol=5.1e-4, abs_tol=5e-324)
    assert abs(float(fixed(value, 2)) - value) <= 0.005 + abs(value) * 1e-15


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.87", "0,87"),
        ("-1234.5", "-1234,5"),
        ("12345.6", "12 345,6"),
        ("+1234567", "+1 234 567"),
        ("3.21e-05", "3,21e-05"),
        ("100", "100"),
        ("nan", "nan"),
    ],
)
def test_marks_stand_where_a_language_wants_them(text: str, shown: str) -> None:
    assert with_marks(text, ",", " ") == shown


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int32, np.int64])
def test_numbers_of_numpy_are_written_as_others_are(kind: type) -> None:
    assert (fixed(kind(3), 1), significant(kind(3), 2), fixed(kind(-3), 0, signed=True)) == ("3.0", "3", "-3")
    assert fixed(np.float32(0.5), 2) == "0.50"
    assert fixed(2**70, 0) == str(2**70)


def test_what_is_no_number_is_said_as_such() -> None:
    assert [fixed(math.nan, 2), significant(math.inf, 3)] == ["nan", "inf"]
