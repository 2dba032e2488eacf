"""Work that failed or waits to be tried again, by place and error: told by an index, without reading all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from whyray.catalog.delivery_tables import Announcement, Delivery
from whyray.catalog.states import DeliveryState, JobState
from whyray.catalog.tables import Job

Kind = Literal["jobs", "deliveries", "announcements"]
_TABLES: dict[Kind, type[Job | Delivery | Announcement]] = {
    "jobs": Job,
    "deliveries": Delivery,
    "announcements": Announcement,
}


@dataclass(frozen=True)
class Stuck:
    """Work of one kind that is stuck in one state, at one place and by one error.

    The place of a job is its route, that of the others their destination. `message` and `advice` are those of what was
    created last, at `newest_at`; `since` is when the first of them failed, or was created where it waits.
    """

    place: str
    error_code: str | None
    count: int
    since: datetime | None
    newest_at: datetime
    message: str
    advice: str


StuckGroups = Mapping[tuple[Kind, JobState | DeliveryState], Sequence[Stuck]]
"""What is stuck, by its kind and its state."""
_OF_DELIVERIES: tuple[tuple[Kind, JobState | DeliveryState], ...] = (
    ("deliveries", DeliveryState.FAILED),
    ("deliveries", DeliveryState.WAITING),
)
_OF_ALL: tuple[tuple[Kind, JobState | DeliveryState], ...] = (
    ("jobs", JobState.FAILED),
    ("jobs", JobState.WAITING),
    *_OF_DELIVERIES,
    ("announcements", DeliveryState.FAILED),
    ("announcements", DeliveryState.WAITING),
)


def deliveries(session: Session) -> StuckGroups:
    """Stuck deliveries alone."""
    return {key: stuck(session, *key) for key in _OF_DELIVERIES}


def everything(session: Session) -> StuckGroups:
    """All that is stuck."""
    return {key: stuck(session, *key) for key in _OF_ALL}


def is_in(column: InstrumentedAttribute[Any], state: JobState | DeliveryState) -> ColumnElement[bool]:
    """Whether a row is in a state: said as the indexes of what is stuck say it, for which no parameter will do."""
    return column == literal(state, column.type, literal_execute=True)


def stuck(session: Session, kind: Kind, state: JobState | DeliveryState) -> list[Stuck]:
    """What is stuck in a state, `FAILED` or `WAITING`; the most frequent first."""
    groups = [
        Stuck(place, code, int(number), since, newest_at, message or "", advice or "")
        for place, code, number, since, newest_at, message, advice in session.execute(_groups(kind, state))
    ]
    return sorted(groups, key=lambda group: (-group.count, group.place, group.error_code or ""))


@cache  # to make it takes longer than to answer it
def _groups(kind: Kind, state: JobState | DeliveryState) -> Select[Any]:
    """(place, error, number, since, when the newest was created, its message and advice) of each group."""
    table = _TABLES[kind]
    newest = aliased(table)
    stands, newest_stands = (is_in(entity.state, state) for entity in (table, newest))
    place, its_place = (getattr(entity, "route" if kind == "jobs" else "destination") for entity in (table, newest))
    since = Job.finished_at if state is JobState.FAILED else table.created_at
    groups = (
        select(
            place.label("place"),
            table.error_code.label("code"),
            func.count().label("number"),
            func.min(since).label("since"),
            func.max(table.created_at).label("newest_at"),
        )
        .where(stands)
        .group_by(place, table.error_code)
        .subquery()
    )
    of_group = (
        newest_stands,
        its_place == groups.c.place,
        newest.error_code == groups.c.code,
        newest.created_at == groups.c.newest_at,
    )
    words = [
        select(column).where(*of_group).order_by(newest.id).limit(1).correlate(groups).scalar_subquery()
        for column in (newest.error_message, newest.error_advice)
    ]
    return select(groups, *words)
