"""Where the time of a piece of work goes: named stages, entered wherever the work is done, added up by name.

A stage costs two readings of a clock. It counts inside `measured_stages` and in the same thread alone, so that rooms
which know nothing of jobs may name theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypeVar

Item = TypeVar("Item")
ELSEWHERE = "anything else"
"""The stage of what is done in no other."""


@dataclass(frozen=True)
class StageTime:
    """What one stage took.

    Attributes
    ----------
    name
        In words, such as 'forward passes'.
    own
        Seconds in the stage and in none that was entered within it: those of all stages add up to the whole.
    total
        Seconds from entering to leaving, with all stages within.
    times
        How often it was entered.
    """

    name: str
    own: float
    total: float
    times: int

    def plain(self) -> dict[str, str | float | int]:
        """As plain values, for JSON; seconds to the tenth of a millisecond."""
        return {"stage": self.name, "own_s": round(self.own, 4), "total_s": round(self.total, 4), "times": self.times}


@dataclass
class _Running:
    name: str
    start: float
    within: float = 0.0
    """Seconds of stages entered within."""


class StageObserver(Protocol):
    """Told of each stage as it begins and ends; what was entered last is left first."""

    def entered(self, name: str, /) -> None:
        """A stage of this name begins."""

    def left(self) -> None:
        """The stage that was entered last ends."""


class Stages:
    """Collects stages from its making on. `clock` gives seconds from any beginning, ever rising."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter, observer: StageObserver | None = None) -> None:
        self._clock, self._observer = clock, observer
        self._running = [_Running(ELSEWHERE, clock())]
        self._ended: dict[str, StageTime] = {}

    def enter(self, name: str) -> None:
        """A stage begins within the one that runs."""
        if self._observer is not None:
            self._observer.entered(name)
        self._running.append(_Running(name, self._clock()))

    def leave(self) -> None:
        """The stage that was entered last ends."""
        done = self._running.pop()
        took = self._clock() - done.start
        self._running[-1].within += took
        again = any(outer.name == done.name for outer in self._running)  # its time is the outer one's already
        self._add(done.name, took - done.within, 0.0 if again else took)
        if self._observer is not None:
            self._observer.left()

    def _add(self, name: str, own: float, total: float) -> None:
        before = self._ended.get(name, StageTime(name, 0.0, 0.0, 0))
        self._ended[name] = StageTime(name, before.own + own, before.total + total, before.times + 1)

    def times(self) -> tuple[StageTime, ...]:
        """Of the stages that have ended, and what was done in none so far; what took longest by itself first."""
        outside = self._running[0]
        whole = self._clock() - outside.start
        own = whole - outside.within - sum(self._clock() - inner.start for inner in self._running[1:2])
        every = [*self._ended.values(), StageTime(ELSEWHERE, own, whole, 1)]
        return tuple(sorted(every, key=lambda stage: (-stage.own, stage.name)))


_current: ContextVar[Stages | None] = ContextVar("stages", default=None)


@contextmanager
def measured_stages(
    clock: Callable[[], float] = time.perf_counter, observer: StageObserver | None = None
) -> Iterator[Stages]:
    """Collect the stages that this thread enters inside."""
    stages = Stages(clock, observer)
    token = _current.set(stages)
    try:
        yield stages
    finally:
        _current.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """What is done inside belongs to this stage, but for what is done in stages within it."""
    stages = _current.get()
    if stages is None:
        yield
        return
    stages.enter(name)
    try:
        yield
    finally:
        stages.leave()


def each_in_stage(name: str, made: Iterable[Item]) -> Iterator[Item]:
    """The items of what makes them one by one; their making, and not what is done with them, belongs to the stage."""
    items = iter(made)
    while True:
        with stage(name):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def stages_in_words(times: Sequence[StageTime], most: int = 8) -> str:
    """'2.10 s: forward passes 0.65, drawing 0.41, …, the rest 0.20', in seconds; at most so many by name."""
    said = [f"{stage.name} {stage.own:.2f}" for stage in times[:most]]
    if len(times) > most:
        said.append(f"the rest {sum(stage.own for stage in times[most:]):.2f}")
    return f"{sum(stage.own for stage in times):.2f} s: {', '.join(said)}"
