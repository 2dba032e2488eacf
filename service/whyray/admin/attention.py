"""What is stuck, and what to do about it: the first thing that an administrator reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlencode

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from whyray.admin.drift_watch import Watched, drifting
from whyray.admin.schemas import Action, AttentionOut, BulkIn, Remedy
from whyray.base.errors import uncorrectable_codes
from whyray.catalog import Announcement, Delivery, DeliveryState, Event, Job, JobState, Process, Study, processes

LOW_SPACE = 5 * 2**30
"""Free bytes below which storage is called short: about ten CT studies."""
LATE_COMMITMENT = timedelta(hours=6)
LONG_OPEN = timedelta(hours=3)
CONFLICT_MEMORY = timedelta(hours=24)


def attention(
    session: Session,
    now: datetime,
    *,
    destinations: Iterable[str],
    free_bytes: int,
    watched: Sequence[Watched] = (),
) -> list[AttentionOut]:
    """All that needs somebody, errors first; `watched` is how all series of numbers stand."""
    found = [
        *_storage(free_bytes),
        *_gone(session, now),
        *_hindered(session, now),
        *_refused_configurations(session),
        *(each for what in _STUCK for each in _stuck(session, what)),
        *_unknown_destinations(session, set(destinations)),
        *_uncommitted(session, now),
        *_open_studies(session, now),
        *_conflicts(session, now),
        *_no_statements(session, now),
        *_drift(drifting(watched, now)),
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
    alive = {row.role for row in rows if processes.is_alive(row, now)}
    ended = [(row, error) for row in rows if (error := processes.why_ended(row)) is not None]
    return [
        AttentionOut(
            severity="warning" if row.role in alive else "error",
            kind="process.ended",
            title=f"{row.name} does not run: {error['code']}",
            message=error["message"],
            advice=error["advice"],
            count=1,
            since=row.started_at,
            view="overview",
            remedies=[],
        )
        for row, error in ended
    ] + [
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


def _hindered(session: Session, now: datetime) -> list[AttentionOut]:
    """What keeps running roles from their work, each cause once."""
    rows: dict[tuple[str, ...], list[Process]] = {}
    for row in processes.all_processes(session):
        hindrance = processes.hindrance(row)
        if hindrance is not None and processes.is_alive(row, now):
            rows.setdefault((hindrance["code"], hindrance["message"], hindrance["advice"]), []).append(row)
    return [
        AttentionOut(
            severity="error",
            kind="process.hindered",
            title=f"{', '.join(sorted(each.name for each in hindered))} can't work: {code}",
            message=message,
            advice=advice,
            count=len(hindered),
            since=None,
            view="overview",
            remedies=[],
        )
        for (code, message, advice), hindered in rows.items()
    ]


def _is_gone(row: Process, now: datetime) -> bool:
    return processes.why_ended(row) is None and not processes.is_alive(row, now)


def _refused_configurations(session: Session) -> list[AttentionOut]:
    """Files that can't be obeyed, each once, however many roles look at it."""
    told: dict[str, Process] = {}
    for row in processes.all_processes(session):
        words = row.detail.get("config_refused")
        if words:
            told.setdefault(str(words), row)
    return [
        AttentionOut(
            severity="error",
            kind="config.refused",
            title="The configuration file is wrong and is not in force",
            message=words,
            advice="Correct the file; it is read again at once. `whyray config check` tells whether it is right.",
            count=1,
            since=None,
            view="events?kind=config",
            remedies=[],
        )
        for words in told
    ]


@dataclass(frozen=True)
class _Stuck:
    """Jobs, deliveries or announcements that are stuck in a state, told by their place: the route or the destination.

    `title` takes {number} and {place}; `actions` are offered as remedies, `cancel` for all errors together.
    """

    of: Literal["jobs", "deliveries", "announcements"]
    state: JobState | DeliveryState
    severity: Literal["error", "warning"]
    title: str
    actions: tuple[Action, ...] = ("retry",)

    @property
    def place(self) -> Literal["route", "destination"]:
        return "route" if self.of == "jobs" else "destination"

    def view(self, place: str) -> str:
        if self.of == "announcements":
            return "events?kind=announcement.failed" if self.state is DeliveryState.FAILED else "destinations"
        return f"{self.of}?" + urlencode({"state": self.state.value, self.place: place})

    def remedies(self, count: int, place: str, code: str | None) -> list[Remedy]:
        return _remedies(
            count,
            [
                BulkIn(
                    of=self.of,
                    action=action,
                    state=self.state,
                    error_code=code if action == "retry" else None,
                    route=place if self.of == "jobs" else None,
                    destination=None if self.of == "jobs" else place,
                )
                for action in self.actions
                if action != "retry" or self.state.value != JobState.FAILED.value or code not in uncorrectable_codes()
            ],
        )


_STUCK = (
    _Stuck("jobs", JobState.FAILED, "error", "{number} of route “{place}” failed"),
    _Stuck("deliveries", DeliveryState.FAILED, "error", "{place} did not take {number}"),
    _Stuck("deliveries", DeliveryState.WAITING, "warning", "{place} has not yet taken {number}", ("retry", "cancel")),
    _Stuck("jobs", JobState.WAITING, "warning", "{number} of route “{place}” will be tried again"),
    _Stuck("announcements", DeliveryState.FAILED, "error", "{number} of results at {place} failed"),
    _Stuck("announcements", DeliveryState.WAITING, "warning", "{number} of results at {place} will be tried again"),
)
_TABLES: dict[str, type[Job | Delivery | Announcement]] = {
    "jobs": Job,
    "deliveries": Delivery,
    "announcements": Announcement,
}
_NOUNS = {"jobs": "job", "deliveries": "result", "announcements": "announcement"}


def _stuck(session: Session, what: _Stuck) -> list[AttentionOut]:
    table = _TABLES[what.of]
    place = Job.route if table is Job else (Announcement if table is Announcement else Delivery).destination
    since = Job.finished_at if what.state is JobState.FAILED else table.created_at
    rows = session.execute(
        select(
            place,
            table.error_code,
            func.count(),
            func.min(since),
            func.max(table.error_message),
            func.max(table.error_advice),
        )
        .where(table.state == what.state)
        .group_by(place, table.error_code)
        .order_by(func.count().desc())
    )
    return [
        AttentionOut(
            severity=what.severity,
            kind=f"{what.of}.{what.state.value}",
            title=what.title.format(number=_number(count, _NOUNS[what.of]), place=name) + f": {code}",
            message=message or "",
            advice=advice or "",
            count=count,
            since=oldest,
            view=what.view(name),
            remedies=what.remedies(count, name, code),
        )
        for name, code, count, oldest, message, advice in rows
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
            Study.received_sequence > Study.routed_sequence, Study.opened_at <= now - LONG_OPEN
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


def _no_statements(session: Session, now: datetime) -> list[AttentionOut]:
    count, since = session.execute(
        select(func.count(), func.min(Event.at)).where(
            Event.kind == "job.no-statement", Event.at >= now - CONFLICT_MEMORY
        )
    ).one()
    if not count:
        return []
    return [
        AttentionOut(
            severity="warning",
            kind="job.no-statement",
            title=f"Of {_number(count, 'image')} nothing was said today",
            message="They are unlike those that the package was made for: neither finding nor map was given.",
            advice="Look at the images of these jobs: those wrongly turned or exposed are the sender's to mend; other "
            "kinds of images don't belong to the route, whose conditions can leave them out.",
            count=count,
            since=since,
            view="events?kind=job.no-statement",
            remedies=[],
        )
    ]


_MOST_NAMED = 3


def _drift(found: Sequence[Watched]) -> list[AttentionOut]:
    """One for each package version and measure, however many targets it has."""
    groups: dict[tuple[str, str], list[Watched]] = {}
    for each in found:
        groups.setdefault((each.key.package, each.key.measure), []).append(each)
    made = []
    for (package, measure), group in groups.items():
        worst = sorted(group, key=lambda each: -each.shift.psi if each.shift else 0.0)
        words = [_drifted(each) for each in worst[:_MOST_NAMED]]
        more = len(group) - len(words)
        made.append(
            AttentionOut(
                severity="warning",
                kind=f"drift.{measure}",
                title=f"{package}: {measure} has drifted" + (f" in {len(group)} series" if len(group) > 1 else ""),
                message="; ".join(words) + (f"; and {more} more" if more > 0 else ""),
                advice="Look whether senders, protocols or patients have changed. If they have, onboard the package on "
                "images of today before its answers are relied on; if not, look at its results and their grades.",
                count=len(group),
                since=None,
                view=f"drift/{worst[0].id}" if len(group) == 1 else "drift?" + urlencode({"package": package}),
                remedies=[],
            )
        )
    return made


def _drifted(each: Watched) -> str:
    name = " by ".join(part for part in (each.key.target, each.key.method) if part) or each.key.measure
    latest = 0.0 if each.latest_mean is None else each.latest_mean
    psi = each.shift.psi if each.shift else 0.0
    return f"{name}: mean {each.first_mean:.3g} at first, {latest:.3g} now (PSI {psi:.2f})"


def _remedies(count: int, bodies: Sequence[BulkIn]) -> list[Remedy]:
    labels = {"retry": f"Retry all {count}", "cancel": "Cancel all"}
    return [
        Remedy(label=labels[body.action] + (f" {body.state.value}" if body.action == "cancel" else ""), body=body)
        for body in bodies
    ]


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"
