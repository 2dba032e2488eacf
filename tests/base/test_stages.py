"""Stages add up to the whole, each second counted once, however they lie within each other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from whyray.base.stages import ELSEWHERE, StageTime, each_in_stage, measured_stages, stage, stages_in_words


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def own(times: tuple[StageTime, ...]) -> dict[str, float]:
    return {stage.name: stage.own for stage in times}


def test_a_second_belongs_to_the_innermost_stage_alone() -> None:
    clock = Clock()
    with measured_stages(clock) as stages:
        clock.now += 1
        with stage("rise"):
            clock.now += 2
            with stage("forward passes"):
                clock.now += 4
            clock.now += 8
        clock.now += 16
    assert own(stages.times()) == {ELSEWHERE: 17, "rise": 10, "forward passes": 4}
    (rise,) = [stage for stage in stages.times() if stage.name == "rise"]
    assert rise.plain() == {"stage": "rise", "own_s": 10, "total_s": 14, "times": 1}


def test_a_stage_within_one_of_its_name_is_not_counted_twice() -> None:
    clock = Clock()
    with measured_stages(clock) as stages, stage("drawing"):
        clock.now += 1
        with stage("drawing"):
            clock.now += 2
    (drawing,) = [stage for stage in stages.times() if stage.name == "drawing"]
    assert (drawing.own, drawing.total, drawing.times) == (3, 3, 2)


def test_a_stage_that_raises_has_ended() -> None:
    clock = Clock()

    @stage("reading")
    def read() -> None:
        clock.now += 3
        raise ValueError("broken")

    with measured_stages(clock) as stages:
        with pytest.raises(ValueError, match="broken"):
            read()
        clock.now += 1
    assert own(stages.times()) == {"reading": 3, ELSEWHERE: 1}


def test_times_can_be_asked_for_while_a_stage_runs() -> None:
    clock = Clock()
    with measured_stages(clock) as stages:
        clock.now += 1
        with stage("catalog"):
            clock.now += 2
            assert own(stages.times()) == {ELSEWHERE: 1}


def test_of_what_is_made_one_by_one_the_making_alone_is_counted() -> None:
    clock = Clock()

    def pages() -> Iterator[int]:
        for number in range(3):
            clock.now += 1
            yield number

    with measured_stages(clock) as stages:
        for _ in each_in_stage("drawing", pages()):
            clock.now += 10
    assert own(stages.times()) == {"drawing": 3, ELSEWHERE: 30}


def test_other_threads_and_work_that_nobody_measures_count_for_nothing() -> None:
    clock = Clock()

    def work() -> None:
        with stage("elsewhere"):
            clock.now += 5

    work()
    with measured_stages(clock) as stages, ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()
    assert own(stages.times()) == {ELSEWHERE: 5}


def test_words_name_what_took_longest_and_sum_up_the_rest() -> None:
    times = [
        StageTime(name, seconds, seconds, 1) for name, seconds in (("a", 3.0), ("b", 2.0), ("c", 0.5), ("d", 0.25))
    ]
    assert stages_in_words(times, most=2) == "5.75 s: a 3.00, b 2.00, the rest 0.75"
