"""What `whyray status --study UID` prints: one study, why it waits or failed, and what happened to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from whyray.catalog.attention_item import number_of

if TYPE_CHECKING:
    from rich.console import Console

    from whyray.catalog import Event
    from whyray.catalog.one_study import DeliveryOfStudy, JobOfStudy, OneStudy
    from whyray.catalog.overview import ErrorWords

_EVENTS_SHOWN = 20


def as_json(status: OneStudy) -> dict[str, Any]:
    """What a script reads."""
    study = status.study
    return {
        "study_instance_uid": status.uid,
        "here": study is not None,
        "state": status.state,
        "note": None if study is None else study.note,
        "first_received_at": None if study is None else _iso(study.first_received_at),
        "last_received_at": None if study is None else _iso(study.last_received_at),
        "instances": sum(sender.instances for sender in status.senders),
        "senders": {sender.calling_ae: sender.instances for sender in status.senders},
        "rejected": status.rejected,
        "undecided": status.undecided,
        "jobs": [_job_json(item) for item in status.jobs],
        "deliveries": [_delivery_json(item) for item in status.deliveries],
        "events": [_event_json(event) for event in status.events],
    }


def _job_json(item: JobOfStudy) -> dict[str, Any]:
    job = item.job
    return {
        "id": job.id,
        "route": job.route,
        "package": job.package,
        "revision": job.revision,
        "state": job.state.value,
        "why": item.why,
        "attempt": job.attempt,
        "error": _error_json(item.error),
        "next_try_at": _iso(item.next_try_at),
        "created_at": _iso(job.created_at),
        "started_at": _iso(job.started_at),
        "finished_at": _iso(job.finished_at),
    }


def _delivery_json(item: DeliveryOfStudy) -> dict[str, Any]:
    delivery = item.delivery
    return {
        "id": delivery.id,
        "job_id": item.result.job_id,
        "destination": delivery.destination,
        "sop_instance_uid": item.result.sop_instance_uid,
        "kind": item.result.kind,
        "state": delivery.state.value,
        "why": item.why,
        "attempt": delivery.attempt,
        "status": delivery.status_text,
        "error": _error_json(item.error),
        "next_try_at": _iso(item.next_try_at),
        "sent_at": _iso(delivery.sent_at),
    }


def _error_json(error: ErrorWords | None) -> dict[str, str | None] | None:
    return None if error is None else {"code": error.code, "message": error.message, "advice": error.advice}


def _event_json(event: Event) -> dict[str, Any]:
    return {
        "at": _iso(event.at),
        "severity": event.severity,
        "kind": event.kind,
        "actor": event.actor,
        "job_id": event.job_id,
        "message": event.message,
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def print_study(console: Console, status: OneStudy) -> None:
    """The same for people: what stands still first, then what happened."""
    for line in _lines(status):
        console.print(line, markup=False, soft_wrap=True)


def _lines(status: OneStudy) -> Iterator[str]:
    study = status.study
    if study is None:
        yield f"{status.uid} is not here: it never came, was refused, or retention removed it."
        if not status.events:
            yield "  Give its whole UID: by a part of it no event is found of a study that is not here."
            yield (
                "  What to do: look in the PACS's log whether it sent the study, and what it was answered; `whyray "
                "status` says which senders were turned away lately."
            )
    else:
        note = f": {study.note}" if study.note else ""
        yield f"{status.uid}: {status.state}{note}"
        for sender in status.senders:
            yield f"  {number_of(sender.instances, 'instance')} from {sender.calling_ae}"
        yield f"  the last came at {_time(study.last_received_at)}"
        if status.rejected:
            rejected = number_of(status.rejected, "instance")
            yield f"  {rejected} rejected by the PACS: `whyray rejection list` shows the notes"
        if status.undecided:
            undecided = number_of(status.undecided, "instance")
            yield f"  {undecided} came again with other content: decide on the study's page"
        yield from _jobs(status)
        yield from _deliveries(status)
    yield from _events(status)


def _jobs(status: OneStudy) -> Iterator[str]:
    yield "Jobs"
    if not status.jobs:
        yield "  No job was made of it yet. `whyray route test FILE.dcm` says which routes would take its files."
    for item in status.jobs:
        job = item.job
        revision = f", revision {job.revision}" if job.revision > 1 else ""
        tried = f", attempt {job.attempt}" if job.attempt > 1 else ""
        yield f"  {job.route}: {job.package}{revision}, {job.state.value}{tried}{_because(item.why, item.next_try_at)}"
        yield from _error(item.error)


def _deliveries(status: OneStudy) -> Iterator[str]:
    """Those of one destination, state and error together."""

    def key(item: DeliveryOfStudy) -> tuple[str, str, str, str]:
        words = "" if item.error is None else f"{item.error.code}: {item.error.message}"
        return item.delivery.destination, item.delivery.state.value, words, item.why or ""

    if status.deliveries:
        yield "Results on their way"
    for (destination, state, _, _), group in groupby(sorted(status.deliveries, key=key), key):
        items = list(group)
        tries = [item.next_try_at for item in items if item.next_try_at is not None]
        because = _because(items[0].why, min(tries, default=None))
        yield f"  {destination}: {number_of(len(items), 'result')} {state}{because}"
        yield from _error(items[0].error)


def _events(status: OneStudy) -> Iterator[str]:
    if status.events:
        yield "Events, the newest first"
    for event in status.events[:_EVENTS_SHOWN]:
        yield f"  {_time(event.at)} {event.severity} {event.kind}: {event.message}"
    if len(status.events) > _EVENTS_SHOWN:
        yield f"  and {len(status.events) - _EVENTS_SHOWN} more: --json has up to 100, the page all"


def _because(why: str | None, next_try_at: datetime | None) -> str:
    next_try = "" if next_try_at is None else f", the next time at {_time(next_try_at)}"
    return f" ({why}{next_try})" if why else ""


def _error(error: ErrorWords | None) -> Iterator[str]:
    if error is not None:
        yield f"    {error.code}: {error.message}"
        if error.advice:
            yield f"    What to do: {error.advice}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
