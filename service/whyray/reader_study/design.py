"""Who sees which case under which condition, and in which order: counterbalanced over readers, drawn by a seed."""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from whyray.base.errors import ConfigError

Condition = Literal["with", "without"]
_OTHER: dict[Condition, Condition] = {"with": "without", "without": "with"}
FEWEST_CASES = 2


@dataclass(frozen=True)
class Showing:
    """One case put before a reader, with or without its explanation."""

    case: str
    condition: Condition


@dataclass(frozen=True)
class ReaderPlan:
    """What one reader sees: the showings of each session, in order."""

    reader: str
    sessions: tuple[tuple[Showing, ...], ...]


def plan(
    strata: Mapping[str, Hashable], readers: Sequence[str], *, seed: int, crossover: bool = False
) -> tuple[ReaderPlan, ...]:
    """A plan for every reader.

    Each reader sees each case once a session, half of them with explanation; within every stratum the halves differ by
    one case at most. Readers go in pairs, the second of a pair with conditions swapped, and every pair draws its halves
    anew: with an even number of readers each case is read equally often under both conditions. In a crossover every
    reader has a second session with the conditions swapped, in another order (Obuchowski and Bullen 2022, section 3).

    Parameters
    ----------
    strata
        Case number → what its half is balanced for, e.g. truth and whether the model is right.

    Raises
    ------
    ConfigError
        With fewer than two cases, no reader, or a reader named twice.
    """
    if len(strata) < FEWEST_CASES:
        raise ConfigError(
            f"a reader study needs {FEWEST_CASES} cases at least, found {len(strata)}",
            advice="Give it more cases with a truth and an explanation.",
        )
    if not readers or len(set(readers)) != len(readers):
        raise ConfigError(
            f"a reader study needs readers with different names, found {len(readers)}: {', '.join(readers) or 'none'}",
            advice="Say how many readers there are, e.g. --readers 4.",
        )
    rng = random.Random(seed)
    plans = []
    first: dict[str, Condition] = {}
    for index, reader in enumerate(readers):
        conditions = (
            _halves(strata, rng) if index % 2 == 0 else {case: _OTHER[condition] for case, condition in first.items()}
        )
        first = conditions
        sessions = [conditions]
        if crossover:
            sessions.append({case: _OTHER[condition] for case, condition in conditions.items()})
        plans.append(ReaderPlan(reader, tuple(_ordered(session, rng) for session in sessions)))
    return tuple(plans)


def _halves(strata: Mapping[str, Hashable], rng: random.Random) -> dict[str, Condition]:
    groups: dict[str, list[str]] = {}
    for case, stratum in strata.items():
        groups.setdefault(repr(stratum), []).append(case)
    for group in groups.values():
        rng.shuffle(group)
    names = sorted(groups)
    rng.shuffle(names)
    turns: list[Condition] = ["with", "without"]
    rng.shuffle(turns)
    # alternating through all strata keeps each of them, and the whole, balanced to one case
    row = [case for name in names for case in groups[name]]
    return {case: turns[number % 2] for number, case in enumerate(row)}


def _ordered(conditions: Mapping[str, Condition], rng: random.Random) -> tuple[Showing, ...]:
    row = [Showing(case, condition) for case, condition in sorted(conditions.items())]
    rng.shuffle(row)
    return tuple(row)


@dataclass(frozen=True)
class ReadingFact:
    """One answer. `seconds` None where it can't be used: a break, a revised answer, or clocks that contradict."""

    reader: str
    case: str
    condition: Condition
    session: int
    says_present: bool
    confidence: int
    seconds: float | None
