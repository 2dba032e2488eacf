"""Things are made once each, by the thread or by who asks for them, and what goes wrong is told to who asks."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from whyray.base.made_ahead import MadeAhead

WAIT = 10.0


def test_each_thing_is_made_once_and_given_in_the_order_in_which_it_is_asked_for() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number * number

    makers = {number: partial(make, number) for number in range(50)}
    with MadeAhead(makers, most=3) as things:
        taken = [things.take(number, partial(make, number)) for number in range(50)]
    assert taken == [number * number for number in range(50)]
    assert sorted(made) == list(range(50))


def test_who_would_wait_for_the_thread_makes_another_meanwhile() -> None:
    begun, may_end = threading.Event(), threading.Event()
    by: dict[str, threading.Thread] = {}

    def slow() -> str:
        by["slow"] = threading.current_thread()
        begun.set()
        assert may_end.wait(WAIT)
        return "slow"

    def other() -> str:
        by["other"] = threading.current_thread()
        may_end.set()
        return "other"

    with MadeAhead({"slow": slow, "other": other}) as things:
        assert begun.wait(WAIT)
        assert things.take("slow", slow) == "slow"
        assert things.take("other", other) == "other"
    assert by["slow"] is not threading.current_thread()
    assert by["other"] is threading.current_thread()


def test_no_more_things_wait_than_may() -> None:
    made: list[int] = []
    third = threading.Event()

    def make(number: int) -> int:
        made.append(number)
        if len(made) == 3:
            third.set()
        return number

    with MadeAhead({number: partial(make, number) for number in range(9)}, most=2) as things:
        assert things.take(0, partial(make, 0)) == 0
        assert third.wait(WAIT)  # the place of the one that was taken, or made by who asked for it, is filled
        assert len(made) == 3


def test_what_was_not_to_be_made_ahead_is_made_by_who_asks_for_it() -> None:
    with MadeAhead[int]({}) as things:
        assert things.take("unknown", lambda: 7) == 7


def test_what_goes_wrong_is_raised_to_who_asks_for_it() -> None:
    tried = threading.Event()

    def fails() -> int:
        tried.set()
        raise ValueError("no such page")

    with MadeAhead({"bad": fails, "good": lambda: 1}) as things:
        assert tried.wait(WAIT)
        with pytest.raises(ValueError, match="no such page"):
            things.take("bad", fails)
        assert things.take("good", lambda: 1) == 1


def test_what_comes_afterwards_is_done_once_all_is_begun_and_may_fail() -> None:
    done = threading.Event()

    def fails() -> None:
        raise ValueError("told where it is needed")

    with MadeAhead({"first": lambda: 1}, [fails, done.set]) as things:
        assert things.take("first", lambda: 1) == 1
        assert done.wait(WAIT)


def test_nothing_is_begun_any_more_once_it_is_over() -> None:
    begun, made = threading.Event(), []

    def first() -> int:
        begun.set()
        return 1

    with MadeAhead({"first": first, "second": lambda: made.append(2) or 2}, most=1):
        assert begun.wait(WAIT)
    assert made == []
    assert not [thread for thread in threading.enumerate() if thread.name == "made-ahead"]
