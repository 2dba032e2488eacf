"""What is stuck, and what to do about it: the first thing that an administrator reads, on the page or in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from whyray.catalog import conflicts, deliveries, processes, stuck
from whyray.catalog.attention_item import Attention, Work, number_of
from whyray.catalog.delivery_tables import SENT_AND_ASKED, Delivery
from whyray.catalog.ending_tokens import ending_tokens
from whyray.catalog.event_kinds import EventKind
from whyray.catalog.shortages import Disks, shortages
from whyray.catalog.states import DeliveryState, JobState
from whyray.catalog.tables import Event, Process, Study
from whyray.catalog.turned_away import turned_away
from whyray.catalog.unserved import unserved

LATE_COMMITMENT = timedelta(hours=6)
LONG_OPEN = timedelta(hours=3)
EVENT_MEMORY = timedelta(hours=24)
_MOST_STUDIES = 10
"""Told one by one."""


def attention(
    session: Session,
    now: datetime,
    *,
    destinations: Iterable[str],
    disks: Disks,
    stuck_work: stuck.StuckGroups | None = None,
) -> tuple[Attention, ...]:
    """All that needs somebody, errors first.

    Parameters
    ----------
    destinations
        Those that the configuration names.
    disks
        What storage and catalog can still take.
    stuck_work
        As `stuck.everything` gives it, where it was looked up already.
    """
    stuck_groups = stuck.everything(session) if stuck_work is None else stuck_work
    processes_seen = processes.all_processes(session)
    running = [row for row in processes_seen if processes.is_alive(row, now)]
    alive = {row.role for row in running}
    named = set(destinations)
    attentions = [
        *shortages(session, now, disks),
        *unserved(session, now, running=running, destinations=named),
        *_ended(processes_seen, alive, now),
        *_hindered(processes_seen, now),
        *_refused_configurations(processes_seen),
        *turned_away(session, now),
        *ending_tokens(session, now),
        *(item for what in _STUCK for item in _stuck(what, stuck_groups[what.of, what.state])),
        *_unknown_destinations(session, named, stuck_groups["deliveries", DeliveryState.WAITING]),
        *_uncommitted(session, now),
        *_open_studies(session, now),
        *_corrected(session, now),
        *_rejected(session, now),
        *_refused_rejections(session, now),
        *_conflicts(session, now),
        *_no_statements(session, now),
    ]
    return tuple(sorted(attentions, key=lambda item: item.severity))


def _ended(rows: Sequence[Process], alive: Collection[str], now: datetime) -> list[Attention]:
    ended = [(row, error) for row in rows if (error := processes.why_ended(row)) is not None]
    return [
        Attention(
            severity="warning" if row.role in alive else "error",
            kind="process.ended",
            title=f"{row.name} does not run: {error['code']}",
            message=error["message"],
            advice=error["advice"],
            since=row.started_at,
        )
        for row, error in ended
    ] + [
        Attention(
            # another process of the same role does its work meanwhile
            severity="warning" if row.role in alive else "error",
            kind="process.gone",
            title=f"{row.role} {row.name} is silent",
            message="It gave no sign of life for more than 30 seconds and did not end in good order.",
            advice="Look at its log and start it again; its jobs are taken over when their leases run out.",
            since=row.seen_at,
        )
        for row in rows
        if _is_gone(row, now)
    ]


def _hindered(rows: Sequence[Process], now: datetime) -> list[Attention]:
    """What keeps running roles from their work, each cause once."""
    causes: dict[tuple[str, ...], list[Process]] = {}
    for row in rows:
        hindrance = processes.hindrance(row)
        if hindrance is not None and processes.is_alive(row, now):
            causes.setdefault((hindrance["code"], hindrance["message"], hindrance["advice"]), []).append(row)
    return [
        Attention(
            severity="error",
            kind="process.hindered",
            title=f"{', '.join(sorted(row.name for row in hindered))} hindered: {code}",
            message=message,
            advice=advice,
            count=len(hindered),
        )
        for (code, message, advice), hindered in causes.items()
    ]


def _is_gone(row: Process, now: datetime) -> bool:
    return processes.why_ended(row) is None and not processes.is_alive(row, now)


def _refused_configurations(rows: Sequence[Process]) -> list[Attention]:
    """Files that can't be obeyed, each once, however many roles look at it."""
    told: dict[str, Process] = {}
    for row in rows:
        words = row.detail.get("config_refused")
        if words:
            told.setdefault(str(words), row)
    return [
        Attention(
            severity="error",
            kind="config.refused",
            title="The configuration file is wrong and is not in force",
            message=words,
            advice="Correct the file; it is read again at once. `whyray config check` tells whether it is right.",
        )
        for words in told
    ]


@dataclass(frozen=True)
class _Stuck:
    """Work that is stuck in a state, told by its place; `title` takes {number} and {place}."""

    of: Literal["jobs", "deliveries", "announcements"]
    state: JobState | DeliveryState
    severity: Literal["error", "warning"]
    title: str


_STUCK = (
    _Stuck("jobs", JobState.FAILED, "error", "{number} of route “{place}” failed"),
    _Stuck("deliveries", DeliveryState.FAILED, "error", "{place} did not take {number}"),
    _Stuck("deliveries", DeliveryState.WAITING, "warning", "{place} has not yet taken {number}"),
    _Stuck("jobs", JobState.WAITING, "warning", "{number} of route “{place}” will be tried again"),
    _Stuck("announcements", DeliveryState.FAILED, "error", "{number} of results at {place} failed"),
    _Stuck("announcements", DeliveryState.WAITING, "warning", "{number} of results at {place} will be tried again"),
)
_NOUNS = {"jobs": "job", "deliveries": "result", "announcements": "announcement"}


def _stuck(what: _Stuck, groups: Iterable[stuck.Stuck]) -> list[Attention]:
    return [
        Attention(
            severity=what.severity,
            kind=f"{what.of}.{what.state.value}",
            title=what.title.format(number=number_of(group.count, _NOUNS[what.of]), place=group.place)
            + f": {group.error_code}",
            message=group.message,
            advice=group.advice,
            count=group.count,
            since=group.since,
            work=Work(what.of, (what.state,), group.place, group.error_code),
        )
        for group in groups
    ]


def _unknown_destinations(session: Session, known: set[str], waiting: Iterable[stuck.Stuck]) -> list[Attention]:
    pending = (DeliveryState.QUEUED, DeliveryState.WAITING)
    counts = {
        name: sum(states.get(state, 0) for state in pending)
        for name, states in sorted(deliveries.tally(session).items())
        if name not in known
    }
    queued = deliveries.oldest_queued_at(session) if any(counts.values()) else {}
    rows = []
    for name, count in counts.items():
        if count:
            oldest = [queued.get(name), *(group.since for group in waiting if group.place == name)]
            rows.append((name, count, min((at for at in oldest if at is not None), default=None)))
    return [
        Attention(
            severity="error",
            kind="destination.unknown",
            title=f"{number_of(count, 'result')} wait for “{name}”, which the configuration does not name",
            message="Nothing sends them: the destination was renamed or removed.",
            advice="Name the destination in the configuration again, or cancel these deliveries.",
            count=count,
            since=since,
            work=Work("deliveries", pending, name),
        )
        for name, count, since in rows
    ]


def _uncommitted(session: Session, now: datetime) -> list[Attention]:
    rows = session.execute(
        select(Delivery.destination, func.count(), func.min(Delivery.sent_at))
        # by when it was sent: who gets no report asks anew each `commitment_within`
        .where(SENT_AND_ASKED, Delivery.sent_at <= now - LATE_COMMITMENT)
        .group_by(Delivery.destination)
    )
    return [
        Attention(
            severity="warning",
            kind="commitment.late",
            title=f"{name} has not said whether it keeps {number_of(count, 'result')}",
            message="They were sent more than 6 hours ago; storage commitment was asked for, and no report came.",
            advice="Check that the PACS offers storage commitment, and that it knows WhyRay's AE title, host and port, "
            "to which it sends the report.",
            count=count,
            since=since,
            work=Work("deliveries", (DeliveryState.SENT,), name),
        )
        for name, count, since in rows
    ]


def _open_studies(session: Session, now: datetime) -> list[Attention]:
    count, since = session.execute(
        select(func.count(), func.min(Study.opened_at)).where(
            Study.received_sequence > Study.routed_sequence, Study.opened_at <= now - LONG_OPEN
        )
    ).one()
    if not count:
        return []
    return [
        Attention(
            severity="warning",
            kind="studies.open",
            title=f"{number_of(count, 'study', 'studies')} waited for completion for more than 3 hours",
            message="The note of each study says what routing waits for.",
            advice="Check the route's `complete` rules (at_most), and that the intake process runs.",
            count=count,
            since=since,
        )
    ]


def _corrected(session: Session, now: datetime) -> list[Attention]:
    """Studies that came again under another patient or order, each as long as nobody has decided about it."""
    waiting_studies = conflicts.unidentified(session)
    told = len(waiting_studies) if len(waiting_studies) <= _MOST_STUDIES else _MOST_STUDIES - 1
    waiting = [
        Attention(
            severity="error",
            kind="content.identification",
            title=f"A study may be under the wrong patient: {conflicts.instances_in_words(study.instances)} came again "
            f"with another {', '.join(sorted(study.identification))}",
            message="The former content is in use, so that results go to the PACS under the former patient or order.",
            advice="Look up in the PACS which of the two is right. On the study's page, use the newest content where "
            "that is the corrected one; its routes then run anew. Else keep what is in use.",
            count=study.instances,
            since=study.since,
            study=study.study_instance_uid,
        )
        for study in waiting_studies[:told]
    ]
    if more := waiting_studies[told:]:
        waiting.append(
            Attention(
                severity="error",
                kind="content.identification",
                title=f"{number_of(len(more), 'more study', 'more studies')} may be under the wrong patient",
                message="They came again with another identification of patient or order, too.",
                advice="Where this is how two senders write the same patients, let one of them send here.",
                count=sum(study.instances for study in more),
                since=more[0].since,
            )
        )
    return waiting + _of_events_today(
        session,
        now,
        "warning",
        "content.used",
        title=lambda count: f"Of {number_of(count, 'study', 'studies')} a corrected content was taken into use today",
        message="What was made of the former content and not sent is cancelled; an archive keeps what it has.",
        advice="See on each study's page what had been sent, and have the PACS administrator correct or remove it, if "
        "the PACS has not moved it with the study.",
    )


def _rejected(session: Session, now: datetime) -> list[Attention]:
    """Studies of which images were rejected after results of them had been sent."""
    of_today = select(Event).where(
        Event.kind == "instance.rejected", Event.severity == "error", Event.at >= now - EVENT_MEMORY
    )
    told = list(session.scalars(of_today.order_by(Event.at)))
    if not told:
        return []
    studies_told = len({event.study_instance_uid for event in told})
    return [
        Attention(
            severity="warning",
            kind="instance.rejected",
            title=f"{number_of(studies_told, 'study', 'studies')} had images rejected after results of them were sent",
            message="What was not sent is cancelled; an archive keeps what it has.",
            advice="See on each study's page what had been sent, and have the PACS administrator reject it too, if it "
            "did not go with the images.",
            count=studies_told,
            since=told[0].at,
        )
    ]


def _refused_rejections(session: Session, now: datetime) -> list[Attention]:
    return _of_events_today(
        session,
        now,
        "error",
        "rejection.refused",
        title=lambda count: f"{number_of(count, 'rejection note')} not obeyed today",
        message="The images that they reject are still explained; the events say why.",
        advice="Have the PACS administrator compare note and study, correct what is wrong, and send it anew.",
    )


def _conflicts(session: Session, now: datetime) -> list[Attention]:
    return _of_events_today(
        session,
        now,
        "warning",
        "instance.conflict",
        title=lambda count: f"{number_of(count, 'instance')} came again with other content today",
        message="The former content stays in use unless a corrected one was taken; the events say how they differ.",
        advice="Ask the sender why one SOP Instance UID names two contents. A study's page can use the newest.",
    )


def _no_statements(session: Session, now: datetime) -> list[Attention]:
    return _of_events_today(
        session,
        now,
        "warning",
        "job.no-statement",
        title=lambda count: f"Of {number_of(count, 'image')} nothing was said today",
        message="They are unlike those that the package was made for: neither finding nor map was given.",
        advice="Look at the images of these jobs: those wrongly turned or exposed are the sender's to mend; other "
        "kinds of images don't belong to the route, whose conditions can leave them out.",
    )


def _of_events_today(
    session: Session,
    now: datetime,
    severity: Literal["error", "warning"],
    kind: EventKind,
    *,
    title: Callable[[int], str],
    message: str,
    advice: str,
) -> list[Attention]:
    """What is told of the events of a kind within `EVENT_MEMORY`, by how many they are; nothing where none was."""
    count, since = session.execute(
        select(func.count(), func.min(Event.at)).where(Event.kind == kind, Event.at >= now - EVENT_MEMORY)
    ).one()
    if not count:
        return []
    return [
        Attention(
            severity=severity, kind=kind, title=title(count), message=message, advice=advice, count=count, since=since
        )
    ]
