"""Entries are made beside what goes on, in order, and none is lost without a word."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from whyray.delivery.entries import Entries


def test_what_comes_while_one_is_written_is_entered_together_and_in_order() -> None:
    entered: list[list[int]] = []
    begun, goes_on = threading.Event(), threading.Event()

    def enter(some: Sequence[int]) -> None:
        entered.append(list(some))
        begun.set()
        assert goes_on.wait(10)

    entries: Entries[int] = Entries(enter)
    entries.add(1)
    assert begun.wait(10)
    for number in (2, 3, 4):
        entries.add(number)
    goes_on.set()
    entries.settle()
    assert entered == [[1], [2, 3, 4]]
    entries.settle()
    entries.add(5)
    entries.close()
    assert entered[2:] == [[5]]


def test_what_can_t_be_entered_is_told_and_nothing_is_entered_after_it() -> None:
    asked: list[int] = []

    def enter(some: Sequence[int]) -> None:
        asked.extend(some)
        raise ValueError("the catalog is away")

    entries: Entries[int] = Entries(enter)
    entries.add(1)
    with pytest.raises(ValueError, match="away"):
        entries.settle()
    with pytest.raises(ValueError, match="away"):
        entries.add(2)
    with pytest.raises(ValueError, match="away"):
        entries.settle()
    entries.close()
    assert asked == [1]
