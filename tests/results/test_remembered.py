"""What is made of an object is made once, and never given for another one."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from whyray.results.remembered import Remembered


def test_the_same_objects_and_key_get_what_was_made_of_them_and_equal_ones_their_own() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    remembered: Remembered[int] = Remembered(2)
    first, equal = np.zeros(3), np.zeros(3)
    assert [remembered.of((first,), "a", make) for _ in range(2)] == [0, 0]
    assert remembered.of((equal,), "a", make) == 1
    assert remembered.of((first,), "b", make) == 2, "of two, what was asked for least lately goes"
    assert remembered.of((first,), "a", make) == 3


def test_what_was_made_of_an_object_that_is_gone_is_given_to_none_that_takes_its_place() -> None:
    remembered: Remembered[object] = Remembered(8)
    for _ in range(50):  # ids come again
        image, picture = np.zeros(3), object()
        assert remembered.of((image,), None, lambda picture=picture: picture) is picture
        del image
        gc.collect(0)
    assert len(remembered._made) <= 1


def test_what_is_taken_was_made_once_and_is_kept_no_longer() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    remembered: Remembered[int] = Remembered(2)
    one = np.zeros(3)
    assert remembered.of((one,), "a", make) == 0
    assert [remembered.taken((one,), "a", make) for _ in range(2)] == [0, 1]
    assert not remembered._made


def test_who_asks_for_what_another_thread_is_making_waits_for_it() -> None:
    begun, go_on = threading.Event(), threading.Event()
    remembered: Remembered[str] = Remembered(2)
    one = np.zeros(3)

    def slow() -> str:
        begun.set()
        assert go_on.wait(60)
        return "the other thread's"

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(remembered.of, (one,), None, slow)
        assert begun.wait(60)
        second = threads.submit(remembered.of, (one,), None, lambda: "made twice")
        go_on.set()
        assert first.result(60) == second.result(60) == "the other thread's"
