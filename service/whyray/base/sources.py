"""The clock and the sources of new identifiers, passed in where they are needed, so that callers can fix them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""Says what time it is, timezone-aware."""
IdSource = Callable[[], str]
"""Gives another identifier each time."""


def system_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def is_due(last: datetime | None, every: timedelta, now: datetime) -> bool:
    """Whether what was done `last`, or never, is to be done again; at once where the clock was set back since."""
    return last is None or not timedelta(0) <= now - last < every


def random_id() -> str:
    """A random UUID (version 4), 36 characters: for rows of the catalog, never sent to anybody."""
    return str(uuid.uuid4())


def random_uid() -> str:
    """A random DICOM UID below 2.25 (PS3.5 section B.2), at most 44 characters."""
    return f"2.25.{uuid.uuid4().int}"
