"""When a study is complete for a route: quiet time, association release, expected count, and a ceiling."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, Protocol


class CompletionRule(Protocol):
    """The `complete:` section of a route."""

    @property
    def on_release(self) -> bool:
        """Complete as soon as the association that brought the last instance has ended."""

    @property
    def quiet_for(self) -> timedelta:
        """Complete when nothing came for this long."""

    @property
    def at_most(self) -> timedelta:
        """The ceiling, from the first instance on."""

    @property
    def if_incomplete(self) -> Literal["process", "skip"]:
        """What to do at the ceiling."""


class Decision(StrEnum):
    """What the rule says now."""

    WAIT = "wait"
    PROCESS = "process"
    SKIP = "skip"


@dataclass(frozen=True)
class Arrivals:
    """What is known of how a study comes in.

    `received` counts instances or series, whatever `expected` counts; `expected` is None where no count is configured
    or the PACS gave none.
    """

    opened_at: datetime
    last_received_at: datetime
    released_at: datetime | None
    received: int
    expected: int | None


def decide(rule: CompletionRule, arrivals: Arrivals, now: datetime) -> tuple[Decision, str]:
    """Whether to wait, to process or to give up, and why, in words.

    With an expected count, the count alone completes the study (release and quiet time would cut a slow study short).
    Without one, release or quiet time does, whichever comes first. At the ceiling `if_incomplete` decides.
    """
    if arrivals.expected is not None and arrivals.received >= arrivals.expected:
        return Decision.PROCESS, f"all {arrivals.expected} expected are here"
    if now - arrivals.opened_at >= rule.at_most:
        missing = "" if arrivals.expected is None else f"; {arrivals.received} of {arrivals.expected} came"
        decision = Decision.PROCESS if rule.if_incomplete == "process" else Decision.SKIP
        return decision, f"the ceiling of {rule.at_most} is reached{missing}"
    if arrivals.expected is not None:
        return Decision.WAIT, f"waiting for {arrivals.expected - arrivals.received} more of {arrivals.expected}"
    released = arrivals.released_at is not None and arrivals.released_at >= arrivals.last_received_at
    if rule.on_release and released:
        return Decision.PROCESS, "the association was released"
    quiet = now - arrivals.last_received_at
    if quiet >= rule.quiet_for:
        return Decision.PROCESS, f"nothing came for {rule.quiet_for}"
    return Decision.WAIT, f"waiting until nothing came for {rule.quiet_for}"
