"""The smallest set of regions whose replacement takes an answer across a level: greedy, then pruned, then checked.

Knows sets and numbers only, so that it can be tested against exhaustive search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray

Ask = Callable[[BoolArray], NDArray[np.float64]]
"""Answers (sets,), on any scale that grows with them, with the regions of each set (sets, regions) replaced."""


@dataclass(frozen=True)
class SearchOutcome:
    """What the search came to.

    Attributes
    ----------
    order
        The regions in the order in which they count: the first alone moves the answer most, each further one most
        beside those before it.
    flipped
        Whether replacing all of them takes the answer across.
    irreducible
        Whether it was checked that none of them can be left out.
    certified
        All sets of fewer regions than this were tried and don't flip: the set is smallest if it has this many.
    asked
        How many sets were tried.
    """

    order: tuple[int, ...]
    flipped: bool
    irreducible: bool
    certified: int
    asked: int


class Search:
    """One search. `ask` is counted against `budget` sets; `batch` sets are asked at once.

    `start` is the answer with nothing replaced. `downwards`: whether the answer has to fall below `level`, else to
    reach it.
    """

    def __init__(
        self, ask: Ask, regions: int, *, start: float, level: float, downwards: bool, budget: int, width: int = 8
    ) -> None:
        self._ask = ask
        self._regions = regions
        self._start = start
        self._level = level
        self._sign = -1.0 if downwards else 1.0
        self._downwards = downwards
        self._budget = budget
        self._width = width
        self._known: dict[frozenset[int], float] = {}

    def run(self) -> SearchOutcome:
        """Singles, greedy growth, pruning; then, where the budget allows, all smaller sets.

        If replacing more never undoes a flip (monotone), an irreducible set has no flipping subset at all; if the
        effects of regions add up, greedy growth gives the smallest set. In general only `certified` is sure.
        """
        gains = self._answers([frozenset([region]) for region in range(self._regions)])
        chosen = self._grown(gains)
        irreducible = False
        if self._flips(chosen):
            chosen, irreducible = self._pruned(chosen)
        chosen, certified = self._enumerated(chosen)
        flipped = self._flips(chosen)
        if not flipped and self._known:
            chosen = max(self._known, key=lambda regions: (self._sign * self._known[regions], -len(regions)))
        irreducible = flipped and (irreducible or certified >= len(chosen))
        return SearchOutcome(tuple(self._ordered(chosen)), flipped, irreducible, certified, len(self._known))

    def _left(self) -> int:
        return self._budget - len(self._known)

    def _answers(self, sets: Sequence[frozenset[int]]) -> dict[frozenset[int], float]:
        """How far each set moves the answer (larger is nearer to the flip); those beyond the budget are left out."""
        new = [regions for regions in dict.fromkeys(sets) if regions not in self._known][: max(0, self._left())]
        if new:
            members = np.zeros((len(new), self._regions), bool)
            for row, regions in enumerate(new):
                members[row, list(regions)] = True
            for regions, answer in zip(new, self._ask(members), strict=True):
                self._known[regions] = float(answer)
        return {regions: self._sign * self._known[regions] for regions in sets if regions in self._known}

    def _flips(self, chosen: frozenset[int]) -> bool:
        if chosen not in self._known:
            return False
        return (self._known[chosen] < self._level) if self._downwards else (self._known[chosen] >= self._level)

    def _grown(self, alone: dict[frozenset[int], float]) -> frozenset[int]:
        """Adds the region that helps most until the answer flips, all are in, or the budget is spent.

        Gains are asked anew for the `width` regions that promised most when they were last asked (Minoux 1978).
        """
        if not alone:
            return frozenset()
        promise = {next(iter(single)): gain for single, gain in alone.items()}
        chosen, reached = frozenset[int](), -np.inf
        while not self._flips(chosen):
            ranked = sorted(set(promise) - chosen, key=lambda region: -promise[region])[: self._width]
            moves = self._answers([chosen | {region} for region in (ranked if chosen else promise)])
            if not moves:
                break
            best = max(moves, key=lambda regions: moves[regions])
            for regions, moved in moves.items():
                if chosen:
                    promise[next(iter(regions - chosen))] = moved - reached
            if not chosen:
                promise = {region: gain - self._sign * self._start for region, gain in promise.items()}
            chosen, reached = best, moves[best]
        return chosen

    def _pruned(self, chosen: frozenset[int]) -> tuple[frozenset[int], bool]:
        """Leaves out what can be left out, the one that is missed least first, until each is needed."""
        while len(chosen) > 1:
            without = [chosen - {region} for region in chosen]
            moves = self._answers(without)
            if len(moves) < len(without):
                return chosen, False
            still = [regions for regions in without if self._flips(regions)]
            if not still:
                return chosen, True
            chosen = max(still, key=lambda regions: moves[regions])
        return chosen, True

    def _enumerated(self, chosen: frozenset[int]) -> tuple[frozenset[int], int]:
        """All smaller sets, by size, as far as the budget goes; the strongest of the first size that flips.

        The number: all sets of fewer regions than that were tried, and none of them flips.
        """
        below = len(chosen) if self._flips(chosen) else self._regions + 1
        for size in range(1, below):
            if comb(self._regions, size) > self._budget:
                return chosen, size
            sets = [frozenset(combination) for combination in combinations(range(self._regions), size)]
            if sum(regions not in self._known for regions in sets) > self._left():
                return chosen, size
            moves = self._answers(sets)
            flipping = [regions for regions in sets if self._flips(regions)]
            if flipping:
                return max(flipping, key=lambda regions: moves[regions]), size
        return chosen, below

    def _ordered(self, chosen: frozenset[int]) -> list[int]:
        """The members, the strongest alone first."""
        alone = self._answers([frozenset([region]) for region in chosen])
        return sorted(chosen, key=lambda region: (-alone.get(frozenset([region]), -np.inf), region))
