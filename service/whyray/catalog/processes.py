"""Running roles and their last sign of life: what `whyray status` and the admin page show as alive."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

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


def gone(session: Session, name: str) -> None:
    """Note that a role ended in good order."""
    session.execute(delete(Process).where(Process.name == name))


def all_processes(session: Session) -> list[Process]:
    """All roles ever seen and not ended in good order, newest sign of life first."""
    return list(session.scalars(select(Process).order_by(Process.seen_at.desc())))
