"""One thing that needs somebody, as the page and `whyray status` show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from whyray.catalog.states import DeliveryState, JobState


@dataclass(frozen=True)
class Work:
    """Which jobs, deliveries or announcements something is about: those in one of `states` at one `place`.

    The place of a job is its route, that of the others their destination. `error_code` is None where they are together
    for another reason than their error.
    """

    of: Literal["jobs", "deliveries", "announcements"]
    states: tuple[JobState | DeliveryState, ...]
    place: str
    error_code: str | None = None


@dataclass(frozen=True)
class Attention:
    """One thing that needs somebody. `work` names what of the work is concerned, where some is."""

    severity: Literal["error", "warning"]
    kind: str
    title: str
    message: str
    advice: str
    count: int = 1
    since: datetime | None = None
    work: Work | None = None
    study: str | None = None
    """The Study Instance UID of the one that is concerned."""


def number_of(count: int, one: str, many: str | None = None) -> str:
    """'1 job', '2 jobs', '1,000 jobs'; `many` is the plural where no s makes it."""
    return f"{count} {one}" if count == 1 else f"{count:,} {many or one + 's'}"
