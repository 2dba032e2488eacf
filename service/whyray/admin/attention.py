"""What is stuck, and what to do about it: the first thing that an administrator reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlencode

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from whyray.admin.schemas import AttentionOut, BulkIn, Remedy
from whyray.catalog import Delivery, DeliveryState, Event, Job, JobState, Process, Study, processes

LOW_SPACE = 5 * 2**30
"""Free bytes below which storage is called short: about ten CT studies."""
LATE_COMMITMENT = timedelta(hours=6)
LONG_OPEN = timedelta(hours=3)
CONFLICT_MEMORY = timedelta(hours=24)


def attention(session: Session, now: datetime, *, destinations: Iterable[str], free_bytes: int) -> list[AttentionOut]:
    """All that needs somebody, errors first."""
    found = [
        *_storage(free_bytes),
        *_gone(session, now),
        *_failed_jobs(session),
        *_failed_deliveries(session),
        *_waiting_deliveries(session),
        *_waiting_jobs(session),
        *_unknown_destinations(session, set(destinations)),
        *_uncommitted(session, now),
        *_open_studies(session, now),
        *_conflicts(session, now),
    ]
    return sorted(found, key=lambda each: each.severity)


def _storage(free_bytes: int) -> list[AttentionOut]:
    if free_bytes >= LOW_SPACE:
        return []
    return [
        AttentionOut(
            severity="error",
            kind="storage.low",
            title="Storage is nearly full",
            message=f"{free_bytes / 2**30:.1f} GiB are free, {LOW_SPACE / 2**30:.0f} GiB are wanted",
            advice="Free disk or shorten the retention; new instances are refused when nothing is left.",
            count=1,
            since=None,
            view="overview",
            remedies=[],
        )
    ]


def _gone(session: Session, now: datetime) -> list[AttentionOut]:
    rows = processes.all_processes(session)
    alive = {row.role for row in rows if now - row.seen_at <= processes.ALIVE}
    return [
        AttentionOut(
            # another process of the same role does its work meanwhile
            severity="warning" if row.role in alive else "error",
            kind="process.gone",
            title=f"{row.role} {row.name} is silent",
            message="It gave no sign of life for more than 30 seconds and did not end in good order.",
            advice="Look at its log and start it again; its jobs are taken over when their leases run out.",
            count=1,
            since=row.seen_at,
            view="overview",
            remedies=[],
        )
        for row in rows
        if _is_gone(row, now)
    ]


def _is_gone(row: Process, now: datetime) -> bool:
    return now - row.seen_at > processes.ALIVE


def _failed_jobs(session: Session) -> list[AttentionOut]:
    rows = session.execute(
        select(
            Job.route,
            Job.error_code,
            func.count(),
            func.min(Job.finished_at),
            func.max(Job.error_message),
            func.max(Job.error_advice),
        )
        .where(Job.state == JobState.FAILED)
        .group_by(Job.route, Job.error_code)
        .order_by(func.count().desc())
    )
    return [
        AttentionOut(
            severity="error",
            kind="jobs.failed",
            title=f"{_number(count, 'job')} of route “{route}” failed: {code}",
            message=message or "",
            advice=advice or "",
            count=count,
            since=since,
            view="jobs?" + urlencode({"state": "failed", "route": route}),
            remedies=_remedies(
                count, [BulkIn(of="jobs", action="retry", state=JobState.FAILED, route=route, error_code=code)]
            ),
        )
        for route, code, count, since, message, advice in rows
    ]


def _waiting_jobs(session: Session) -> list[AttentionOut]:
    rows = session.execute(
        select(
            Job.route,
            Job.error_code,
            func.count(),
            func.min(Job.created_at),
            func.max(Job.error_message),
            func.max(Job.error_advice),
        )
        .where(Job.state == JobState.WAITING)
        .group_by(Job.route, Job.error_code)
    )
    return [
        AttentionOut(
            severity="warning",
            kind="jobs.waiting",
            title=f"{_number(count, 'job')} of route “{route}” will be tried again: {code}",
            message=message or "",
            advice=advice or "",
            count=count,
            since=since,
            view="jobs?" + urlencode({"state": "waiting", "route": route}),
            remedies=_remedies(
                count, [BulkIn(of="jobs", action="retry", state=JobState.WAITING, route=route, error_code=code)]
            ),
        )
        for route, code, count, since, message, advice in rows
    ]


def _failed_deliveries(session: Session) -> list[AttentionOut]:
    return _deliveries(session, DeliveryState.FAILED, "error", "deliveries.failed", "did not take")


def _waiting_deliveries(session: Session) -> list[AttentionOut]:
    return _deliveries(session, DeliveryState.WAITING, "warning", "deliveries.waiting", "has not yet taken")


def _deliveries(session: Session, state: DeliveryState, severity: str, kind: str, verb: str) -> list[AttentionOut]:
    rows = session.execute(
        select(
            Delivery.destination,
            Delivery.error_code,
            func.count(),
            func.min(Delivery.created_at),
            func.max(Delivery.error_message),
            func.max(Delivery.error_advice),
        )
        .where(Delivery.state == state)
        .group_by(Delivery.destination, Delivery.error_code)
        .order_by(func.count().desc())
    )
    return [
        AttentionOut(
            severity="error" if severity == "error" else "warning",
            kind=kind,
            title=f"{destination} {verb} {_number(count, 'result')}: {code}",
            message=message or "",
            advice=advice or "",
            count=count,
            since=since,
            view="deliveries?" + urlencode({"state": state.value, "destination": destination}),
            remedies=_remedies(
                count,
                [
                    BulkIn(of="deliveries", action="retry", state=state, destination=destination, error_code=code),
                    *(
                        [BulkIn(of="deliveries", action="cancel", state=state, destination=destination)]
                        if state is DeliveryState.WAITING
                        else []
                    ),
                ],
            ),
        )
        for destination, code, count, since, message, advice in rows
    ]


def _unknown_destinations(session: Session, known: set[str]) -> list[AttentionOut]:
    pending = (DeliveryState.QUEUED, DeliveryState.WAITING)
    rows = session.execute(
        select(Delivery.destination, func.count(), func.min(Delivery.created_at))
        .where(Delivery.state.in_(pending), Delivery.destination.not_in(known))
        .group_by(Delivery.destination)
    )
    return [
        AttentionOut(
            severity="error",
            kind="destination.unknown",
            title=f"{_number(count, 'result')} wait for “{name}”, which the configuration does not name",
            message="Nothing sends them: the destination was renamed or removed.",
            advice="Name the destination in the configuration again, or cancel these deliveries.",
            count=count,
            since=since,
            view="deliveries?" + urlencode({"destination": name}),
            remedies=_remedies(
                count, [BulkIn(of="deliveries", action="cancel", state=state, destination=name) for state in pending]
            ),
        )
        for name, count, since in rows
    ]


def _uncommitted(session: Session, now: datetime) -> list[AttentionOut]:
    rows = session.execute(
        select(Delivery.destination, func.count(), func.min(Delivery.commitment_asked_at))
        .where(Delivery.state == DeliveryState.SENT, Delivery.commitment_asked_at <= now - LATE_COMMITMENT)
        .group_by(Delivery.destination)
    )
    return [
        AttentionOut(
            severity="warning",
            kind="commitment.late",
            title=f"{name} has not said whether it keeps {_number(count, 'result')}",
            message="Storage commitment was asked for more than 6 hours ago, and no report came.",
            advice="Check that the PACS knows WhyRay's AE title, host and port, to which it sends the report.",
            count=count,
            since=since,
            view="deliveries?" + urlencode({"state": "sent", "destination": name}),
            remedies=[],
        )
        for name, count, since in rows
    ]


def _open_studies(session: Session, now: datetime) -> list[AttentionOut]:
    count, since = session.execute(
        select(func.count(), func.min(Study.opened_at)).where(
            Study.serial > Study.settled_serial, Study.opened_at <= now - LONG_OPEN
        )
    ).one()
    if not count:
        return []
    return [
        AttentionOut(
            severity="warning",
            kind="studies.open",
            title=f"{_number(count, 'study', 'studies')} waited for completion for more than 3 hours",
            message="The note of each study says what routing waits for.",
            advice="Check the route's `complete` rules (at_most), and that the intake process runs.",
            count=count,
            since=since,
            view="studies?state=receiving",
            remedies=[],
        )
    ]


def _conflicts(session: Session, now: datetime) -> list[AttentionOut]:
    count, since = session.execute(
        select(func.count(), func.min(Event.at)).where(
            Event.kind == "instance.conflict", Event.at >= now - CONFLICT_MEMORY
        )
    ).one()
    if not count:
        return []
    return [
        AttentionOut(
            severity="warning",
            kind="instance.conflict",
            title=f"{_number(count, 'instance')} came again with other content today",
            message="The first content is used; the other was kept apart and not processed.",
            advice="Ask the sender why one SOP Instance UID names two contents.",
            count=count,
            since=since,
            view="events?kind=instance.conflict",
            remedies=[],
        )
    ]


def _remedies(count: int, bodies: Sequence[BulkIn]) -> list[Remedy]:
    labels = {"retry": f"Retry all {count}", "cancel": "Cancel all"}
    return [
        Remedy(label=labels[each.action] + (f" {each.state.value}" if each.action == "cancel" else ""), body=each)
        for each in bodies
    ]


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"
