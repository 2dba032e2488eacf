"""Who pages are made for, and for whom methods are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Audience = Literal["radiologist", "scientist", "administrator"]
"""Who pages are made for."""

_FOR_SCIENTISTS = {"scientist", "all", "tcav", "rcv", "unit-report"}
"""Groups for scientists, and methods whose explanations have no page for others."""


def reader_of(methods: Sequence[str]) -> Audience:
    """Who pages are for that are explained by these methods or groups of them."""
    if _FOR_SCIENTISTS & set(methods):
        return "scientist"
    return "administrator" if list(methods) == ["administrator"] else "radiologist"
