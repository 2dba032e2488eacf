"""What the process that listens and a receiving process say to each other; see `receiving_processes`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# from a receiving process


@dataclass(frozen=True)
class Ready:
    """It serves connections from now on."""


@dataclass(frozen=True)
class NotReady:
    """It can't serve any, and ends: why, in words."""

    words: str


@dataclass(frozen=True)
class AssociationRequested:
    """A peer asks for an association on the connection `number`; answered with a `Rejection` or None."""

    token: int
    number: int
    calling: str
    address: str
    named: bool


@dataclass(frozen=True)
class ConnectionOver:
    """The connection `number`, and any association on it, has ended."""

    number: int


@dataclass(frozen=True)
class StudiesReleased:
    """An association that brought instances has ended in good order, and the catalog knows."""


# to a receiving process


@dataclass(frozen=True)
class Answer:
    """To what had the token."""

    token: int
    value: Any


@dataclass(frozen=True)
class MakeRoom:
    """Close the connection `number`, for this reason."""

    number: int
    words: str


@dataclass(frozen=True)
class Reload:
    """The configuration has changed."""


@dataclass(frozen=True)
class Stop:
    """Let open associations end for so many seconds, abort the others, and end."""

    grace: float
