"""What the clock of each machine said last, so that one that was set back while nobody looked is noticed at a start."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from whyray.catalog.tables import ClockReading

_REMEMBERED = timedelta(days=30)


def set_back(session: Session, boot: str, now: datetime, seconds: float) -> timedelta:
    """By how much a clock that says `now` was set back since any was read last; zero or less where none was.

    Since this machine's own last reading it is exact. Before that, or where another machine has read last, it is what
    is known of it: the clock can't have said less than it did then.

    Parameters
    ----------
    boot
        Between which starts of which machine this is; see `base.sources.this_boot`.
    seconds
        What that machine's monotonic clock says.
    """
    latest = session.scalar(select(func.max(ClockReading.at)))
    back = timedelta(0) if latest is None else latest - now
    own = session.get(ClockReading, boot)
    return back if own is None else max(back, -_forward(own, now, seconds))


def set_forward(session: Session, boot: str, now: datetime, seconds: float) -> timedelta:
    """By how much this machine's clock was set forward since its own last reading, or the machine slept meanwhile.

    Zero or less where it was not, and where this is its first reading since it was started.
    """
    own = session.get(ClockReading, boot)
    return timedelta(0) if own is None else _forward(own, now, seconds)


def sweep_after(session: Session, boot: str) -> float | None:
    """What this machine's monotonic clock says before which no orphan is swept; None where it may be done at once."""
    own = session.get(ClockReading, boot)
    return None if own is None else own.sweep_after


def keep(
    session: Session,
    boot: str,
    now: datetime,
    seconds: float,
    *,
    was_set_back: bool = False,
    sweep_after: float | None = None,
) -> None:
    """Enter what the clock says; where it `was_set_back`, what was read before that is forgotten.

    A `sweep_after` that was entered before and is later stays.
    """
    if was_set_back:
        session.execute(delete(ClockReading).where(ClockReading.at > now))
    row = session.get(ClockReading, boot)
    if row is None:
        session.execute(delete(ClockReading).where(ClockReading.at < now - _REMEMBERED))
        session.add(ClockReading(boot=boot, at=now, seconds=seconds, sweep_after=sweep_after))
        return
    row.at, row.seconds = now, seconds
    if sweep_after is not None:
        row.sweep_after = sweep_after if row.sweep_after is None else max(sweep_after, row.sweep_after)


def _forward(since: ClockReading, now: datetime, seconds: float) -> timedelta:
    return (now - since.at) - timedelta(seconds=seconds - since.seconds)
