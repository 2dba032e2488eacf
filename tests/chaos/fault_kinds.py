"""What a fault is: it strikes once, holds for a moment of chance, and is over when its function returns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chaos.hospital import Hospital
from chaos.senders import Ledger

Chance = random.Random


class Unavailable(Exception):  # noqa: N818 - named for what it says
    """This fault can't be made here; says why."""


@dataclass(frozen=True)
class Scene:
    """What a fault works on."""

    hospital: Hospital
    ledger: Ledger
    names: Iterator[str]
    """A fresh name for each study that a fault sends."""
    patience: float
    """The longest that an ordinary fault holds, in seconds."""

    def hold(self, chance: Chance, most: float | None = None) -> float:
        """Let the fault last: the random moment is the test, not a wait for something."""
        seconds = chance.uniform(0.1, 1.0) * (most or self.patience)
        time.sleep(seconds)
        return seconds


@dataclass(frozen=True)
class Fault:
    """A kind of fault. `weight`: how often it is drawn among the others."""

    name: str
    what: str
    strike: Callable[[Scene, Chance], str]
    weight: float = 1.0


FAULTS: dict[str, Fault] = {}
Strike = Callable[[Scene, Chance], str]


def fault(name: str, what: str, *, weight: float = 1.0) -> Callable[[Strike], Strike]:
    """Register a kind."""

    def register(strike: Strike) -> Strike:
        FAULTS[name] = Fault(name, what, strike, weight)
        return strike

    return register
