"""What jobs, deliveries and announcements have in common: a lease, attempts, an error, a wait, and being woken."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from whyray.base.errors import NotFound, StorageUnavailable, TransitionError, WhyRayError, uncorrectable_codes
from whyray.catalog.delivery_tables import Announcement, Delivery
from whyray.catalog.states import DeliveryState, JobState, delivery_after
from whyray.catalog.tables import Job

Attempted = TypeVar("Attempted", Job, Delivery, Announcement)
Outgoing = TypeVar("Outgoing", Delivery, Announcement)
_FAILED = "failed"
_WAITING = {Job: JobState.WAITING, Delivery: DeliveryState.WAITING, Announcement: DeliveryState.WAITING}


def find(session: Session, table: type[Attempted], row_id: str, *, lock: bool) -> Attempted:
    """The row of that id, locked for this transaction if wanted.

    Raises
    ------
    NotFound
        If there is none.
    """
    query = select(table).where(table.id == row_id)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound(f"no {table.__name__.lower()} {row_id}")
    return row


def to_wake(session: Session, table: type[Attempted], now: datetime) -> bool:
    """Whether there are waiting rows whose back-off is over: a look that needs no write lock."""
    due = select(table.id).where(table.state == _WAITING[table], table.not_before <= now)
    return session.scalar(due.limit(1)) is not None


def waiting_until(session: Session, table: type[Attempted], now: datetime) -> Sequence[Attempted]:
    """The waiting rows whose back-off is over, locked; rows that another process holds are left to it."""
    due = select(table).where(table.state == _WAITING[table], table.not_before <= now)
    return session.scalars(due.with_for_update(skip_locked=True)).all()


def set_error(row: Job | Delivery | Announcement, error: WhyRayError, *, again: bool) -> None:
    """Say why the attempt did not succeed, what to do, and whether WhyRay tries `again` by itself."""
    advice = f"{error.advice} {error.in_service}".rstrip()
    if again:
        advice += " WhyRay tries again by itself."
    elif error.retriable:
        advice += f" Attempt {row.attempt} was the last that WhyRay makes by itself; retry when the cause is gone."
    row.error_code, row.error_message, row.error_advice = error.code, error.message, advice


def clear_error(row: Job | Delivery | Announcement) -> None:
    """Forget why an earlier attempt did not succeed."""
    row.error_code = row.error_message = row.error_advice = None


def release_lease(row: Job | Delivery | Announcement) -> None:
    """Give up the lease."""
    row.lease_owner = row.lease_until = None


def begin_anew(row: Job | Delivery | Announcement) -> None:
    """Count attempts from 0, at once."""
    row.attempt, row.outages, row.not_before = 0, 0, None
    release_lease(row)


def count(row: Job | Delivery | Announcement, error: WhyRayError) -> None:
    """An attempt that is to be made again: one that met an outage which all work meets was none of its own."""
    row.attempt -= error.waited_out
    row.outages = row.outages + 1 if error.waited_out else 0


def take(row: Delivery | Announcement, owner: str, until: datetime) -> None:
    """Claim it, locked as it is; the attempt is counted."""
    row.state = delivery_after("claim", row.state)
    row.attempt += 1
    row.lease_owner, row.lease_until = owner, until


def renew(session: Session, table: type[Outgoing], ids: Collection[str], owner: str, until: datetime) -> set[str]:
    """Renew the leases that `owner` still holds on these; says which. The others are another sender's now."""
    mine = set(
        session.scalars(
            select(table.id)
            .where(table.id.in_(ids), table.lease_owner == owner, table.state == DeliveryState.SENDING)
            .order_by(table.id)  # whoever locks several does so in this order, so that no two wait for each other
            .with_for_update()
        )
    )
    session.execute(update(table).where(table.id.in_(mine)).values(lease_until=until))
    return mine


def end_leases_of_the_dead(
    session: Session,
    table: type[Outgoing],
    machine: str,
    namespace: str,
    is_alive: Callable[[int], bool],
    now: datetime,
) -> int:
    """Let what a sender held that died on this machine be taken up at once; says how much that was.

    Of one in another namespace nobody here can see whether it lives: its leases end by themselves.

    Parameters
    ----------
    machine, namespace
        Its name, and in which PID namespace the caller is; senders' names begin with 'MACHINE:PROCESS:NAMESPACE:'.
    is_alive
        Whether a process of that number is another sender of this namespace.
    """
    held = select(table.lease_owner).where(table.state == DeliveryState.SENDING).distinct()
    dead = []
    for owner in session.scalars(held):
        name, number, where, *_ = f"{owner}:::".split(":")
        if (name, where) == (machine, namespace) and number.isdecimal() and not is_alive(int(number)):
            dead.append(owner)
    theirs = select(table).where(table.state == DeliveryState.SENDING, table.lease_owner.in_(dead)).order_by(table.id)
    rows = session.scalars(theirs.with_for_update()).all() if dead else ()
    for row in rows:
        row.lease_until = now  # and its attempt is counted: it may be what the sender died of
    return len(rows)


def let_go(session: Session, table: type[Outgoing], owner: str, wait: Callable[[int], timedelta], now: datetime) -> int:
    """Let what `owner` holds and could not enter an outcome of be taken up after a wait; says how much that was.

    It was sent, perhaps: it is sent again by the same UID. `wait` gives the wait after so many attempts.
    """
    theirs = select(table).where(table.state == DeliveryState.SENDING, table.lease_owner == owner).order_by(table.id)
    rows = session.scalars(theirs.with_for_update()).all()
    for row in rows:
        soon = now + wait(row.attempt)
        row.lease_until = soon if row.lease_until is None else min(row.lease_until, soon)
    return len(rows)


def hand_back(session: Session, table: type[Outgoing], ids: Collection[str], owner: str) -> None:
    """Queue again what was claimed and never tried; the attempt is not counted."""
    rows = select(table).where(table.id.in_(ids), table.lease_owner == owner).order_by(table.id)
    for row in session.scalars(rows.with_for_update()):
        if row.state is DeliveryState.SENDING:
            row.state = delivery_after("hand-back", row.state)
            row.attempt -= 1
            release_lease(row)


def holds(row: Delivery | Announcement, owner: str) -> bool:
    """Whether `owner` is still the one that sends it."""
    return row.lease_owner == owner and row.state is DeliveryState.SENDING


def give_up(row: Delivery | Announcement, error: WhyRayError, now: datetime, retry_after: timedelta | None) -> bool:
    """Close a failed attempt: wait for `retry_after`, or fail for good where it is None. Says whether it has failed.

    One that met an outage that all work meets is not counted.
    """
    release_lease(row)
    set_error(row, error, again=retry_after is not None)
    if retry_after is None:
        row.state = delivery_after("fail", row.state)
        return True
    row.state, row.not_before = delivery_after("defer", row.state), now + retry_after
    count(row, error)
    return False


def wake(session: Session, table: type[Outgoing], now: datetime) -> int:
    """Queue those that wait and whose back-off is over; says how many."""
    due = waiting_until(session, table, now)
    for row in due:
        row.state = delivery_after("due", row.state)
    return len(due)


def end_waits_for_storage(session: Session, now: datetime) -> int:
    """Let the jobs and deliveries that wait since storage was away or full be woken at once; says how many."""
    return _end_waits_for_storage(session, Job, now) + _end_waits_for_storage(session, Delivery, now)


def _end_waits_for_storage(session: Session, table: type[Attempted], now: datetime) -> int:
    waiting = (table.state == _WAITING[table], table.error_code == StorageUnavailable.__name__)
    due = select(table).where(*waiting, table.not_before > now).order_by(table.id)
    rows = session.scalars(due.with_for_update(skip_locked=True)).all()
    for row in rows:
        row.not_before = now
    return len(rows)


def check_retry(row: Job | Delivery | Announcement, *, anyway: bool) -> None:
    """Refuse to repeat what failed for a reason that is still there: the same bytes, the same model, the same answer.

    Raises
    ------
    TransitionError
        If its failure can't be corrected from outside, unless it is to be tried `anyway`.
    """
    if anyway or row.state.value != _FAILED or row.error_code not in uncorrectable_codes():
        return
    raise TransitionError(
        f"it failed with {row.error_code} and would fail again in the same way",
        advice="Do what the error's own advice says. After an update of WhyRay or of the package, "
        "`anyway=true` queues it all the same.",
    )


def queue_again(row: Delivery | Announcement, *done: DeliveryState, anyway: bool) -> None:
    """Queue from attempt 0; `done` are the states in which it has had what it was for. Raises as `check_retry`."""
    check_retry(row, anyway=anyway)
    row.state = delivery_after("repeat" if row.state in done else "retry", row.state)
    begin_anew(row)
