"""Running roles and their last sign of life: what `whyray status` and the admin page show as alive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from whyray.base.errors import WhyRayError
from whyray.catalog import events
from whyray.catalog.tables import Process

ALIVE = timedelta(seconds=30)
"""Silence after which a role is shown as gone."""


def seen(session: Session, name: str, role: str, now: datetime, detail: dict[str, Any] | None = None) -> None:
    """Note that a role is alive."""
    row = session.get(Process, name)
    if row is None:
        row = Process(name=name, role=role, started_at=now, seen_at=now, detail={})
        session.add(row)
    row.seen_at = now
    if detail is not None:
        row.detail = detail


def ended(session: Session, name: str, role: str, now: datetime, error: WhyRayError) -> None:
    """Note why a role could not start, or ended; an event tells it once, however often the role is tried again."""
    told = as_detail(error)
    row = session.get(Process, name)
    if row is None:
        row = Process(name=name, role=role, started_at=now, seen_at=now, detail={})
        session.add(row)
    if row.detail.get("error") != told:
        events.record(session, now, "error", "role.ended", f"{name}: {error.code}: {error.message}", actor=role)
        row.started_at = now
    row.seen_at, row.detail = now, {"error": told}


def why_ended(row: Process) -> dict[str, str] | None:
    """Code, message and advice of the error by which a role ended; None while it runs, or if it was lost silently."""
    error = row.detail.get("error")
    return error if isinstance(error, dict) else None


def hindrance(row: Process) -> dict[str, str] | None:
    """Code, message and advice of what keeps a running role from its work; None where nothing does."""
    cause = row.detail.get("hindrance")
    return cause if isinstance(cause, dict) else None


def as_detail(error: WhyRayError) -> dict[str, str]:
    """An error as a process's `detail` keeps it."""
    return {"code": error.code, "message": error.message, "advice": f"{error.advice} {error.in_service}".rstrip()}


def is_alive(row: Process, now: datetime) -> bool:
    """Whether it has shown a sign of life lately, and has not ended by an error since.

    A sign of life from long after now is one from before the clock was set back.
    """
    return why_ended(row) is None and abs(now - row.seen_at) <= ALIVE


def gone(session: Session, name: str) -> None:
    """Note that a role ended in good order."""
    session.execute(delete(Process).where(Process.name == name))


def gone_with_their_processes(session: Session, role: str, machine: str, runs: Callable[[int], bool]) -> None:
    """Forget those of a role on this machine whose process is not there any more: killed, or ended while the catalog
    was out of reach, so that nobody could say so. `runs` says whether a process of that number runs.
    """
    beginning = f"{role}@{machine}:"
    for row in session.scalars(select(Process).where(Process.role == role)):
        number = row.name.removeprefix(beginning)
        if row.name != number and number.isdecimal() and not runs(int(number)):
            session.delete(row)


def forget(session: Session, before: datetime) -> None:
    """Forget roles that have been silent since then: of machines that are gone, or processes that were killed."""
    session.execute(delete(Process).where(Process.seen_at < before))


def all_processes(session: Session) -> list[Process]:
    """All roles ever seen and not ended in good order, newest sign of life first."""
    return list(session.scalars(select(Process).order_by(Process.seen_at.desc())))
