"""Deliveries in the catalog: claimed per destination, moved only along `states.DELIVERY_TRANSITIONS`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, joinedload

from whyray.base.errors import PeerBusy, PeerUnreachable, TransitionError, WhyRayError
from whyray.catalog import announcements, attempts, events, replacement, tallies
from whyray.catalog.delivery_tables import Delivery
from whyray.catalog.states import DeliveryState, delivery_after
from whyray.catalog.tables import Job, ResultRow

LEASE = timedelta(seconds=120)
"""How long a sender may be silent before another takes over; sending twice the same UID is harmless."""
_UNREACHED = (PeerUnreachable.__name__, PeerBusy.__name__)
"""Codes of deliveries for which there was no association; PeerBusy where the peer rejected it for now."""
RESEND_UNCOMMITTED = timedelta(seconds=30)
"""Wait before what a peer did not commit to is sent again; doubled with each attempt, up to 128 times."""


def due(session: Session, destination: str, now: datetime) -> bool:
    """Whether `claim_batch` would find something: a look that needs no write lock."""
    abandoned = (Delivery.state == DeliveryState.SENDING) & (Delivery.lease_until <= now)
    due_id = session.scalar(
        select(Delivery.id)
        .where(Delivery.destination == destination, (Delivery.state == DeliveryState.QUEUED) | abandoned)
        .limit(1)
    )
    return due_id is not None


def claim_batch(session: Session, destination: str, owner: str, now: datetime, *, most: int = 50) -> list[Delivery]:
    """Take up to `most` deliveries due for one destination, most urgent and oldest first, with their results.

    Those whose results were replaced while they were being sent are cancelled instead.
    """
    abandoned = (Delivery.state == DeliveryState.SENDING) & (Delivery.lease_until <= now)
    deliveries = list(
        session.scalars(
            select(Delivery)
            .options(joinedload(Delivery.result))  # not its job: what that found would be read once a result
            .where(Delivery.destination == destination, (Delivery.state == DeliveryState.QUEUED) | abandoned)
            .order_by(Delivery.priority, Delivery.created_at, Delivery.result_id)
            .limit(most)
            .with_for_update(skip_locked=True, of=Delivery)
        )
    )
    claimed = []
    for delivery in deliveries:
        if replacement.is_replaced(delivery.result):
            replacement.drop(delivery)
        else:
            attempts.take(delivery, owner, now + LEASE)
            claimed.append(delivery)
    return claimed


def renew(session: Session, delivery_ids: Collection[str], owner: str, now: datetime) -> set[str]:
    """Renew the leases that `owner` still holds on these; says which. The others are another sender's now."""
    return attempts.renew(session, Delivery, delivery_ids, owner, now + LEASE)


def hand_back(session: Session, delivery_ids: Collection[str], owner: str) -> None:
    """Queue again what was claimed and never tried; the attempt is not counted."""
    attempts.hand_back(session, Delivery, delivery_ids, owner)


def get(session: Session, delivery_id: str, *, lock: bool = False) -> Delivery:
    """The delivery.

    Raises
    ------
    NotFound
        If there is none.
    """
    return attempts.find(session, Delivery, delivery_id, lock=lock)


def lock(session: Session, delivery_ids: Collection[str], *, with_jobs: bool) -> None:
    """Before several are entered in one transaction: lock them, and first their jobs where announcements gather.

    In the order in which all do, so that no two transactions wait for each other; SQLite lets one write at a time.
    """
    if session.get_bind().dialect.name == "sqlite":
        return
    these = Delivery.id.in_(delivery_ids)
    if with_jobs:
        of_these = select(ResultRow.job_id).join(Delivery).where(these)
        session.execute(select(Job.id).where(Job.id.in_(of_these)).order_by(Job.id).with_for_update())
    session.execute(select(Delivery.id).where(these).order_by(Delivery.id).with_for_update())


def sent(
    session: Session,
    delivery_id: str,
    owner: str,
    status: int,
    words: str,
    now: datetime,
    *,
    transfer_syntax_uid: str | None = None,
    announce_as: str | None = None,
) -> None:
    """The peer took it, with success or a warning: `status` is the peer's own.

    Where somebody is to be told of its arrival, `announce_as` is the SOP Instance UID of a new announcement: used if
    none gathers the results of this job at this destination yet.
    """
    delivery = get(session, delivery_id, lock=True)
    if not attempts.holds(delivery, owner):
        return
    delivery.state = delivery_after("sent", delivery.state)
    delivery.status, delivery.status_text, delivery.sent_at = status, words, now
    delivery.transfer_syntax_uid = transfer_syntax_uid
    attempts.clear_error(delivery)
    attempts.release_lease(delivery)
    result = delivery.result
    if replacement.is_replaced(result):
        why = "a later run replaced" if result.withdrawn_at is None else "was withdrawn with the images it is of"
        words = f"{delivery.destination} took {result.sop_instance_uid}, which {why} meanwhile"
        events.record(session, now, "warning", "delivery.replaced", words, job=result.job_id)
    elif announce_as is not None:
        announcements.gather(session, delivery, announce_as, now)


def stop(
    session: Session,
    delivery_id: str,
    owner: str,
    error: WhyRayError,
    now: datetime,
    *,
    status: int | None,
    retry_after: timedelta | None,
) -> DeliveryState:
    """Close a failed attempt: wait for `retry_after`, or fail for good where it is None. Says the state reached."""
    delivery = get(session, delivery_id, lock=True)
    if not attempts.holds(delivery, owner):
        return delivery.state
    delivery.status, delivery.status_text = status, None
    if attempts.give_up(delivery, error, now, retry_after):
        events.record(
            session,
            now,
            "error",
            "delivery.failed",
            f"{delivery.destination} did not take {delivery.result.sop_instance_uid}: {error.code}: {error.message}",
            job=delivery.result.job_id,
        )
    return delivery.state


def uncommitted(
    session: Session, destination: str, *, asked_before: datetime, sent_before: datetime, most: int = 500
) -> list[Delivery]:
    """What is not committed: sent before `sent_before` and never asked for, or asked for before `asked_before`."""
    forgotten = Delivery.commitment_asked_at.is_(None) & (Delivery.sent_at <= sent_before)
    unanswered = Delivery.commitment_uid.is_not(None) & (Delivery.commitment_asked_at <= asked_before)
    return list(
        session.scalars(
            select(Delivery)
            .options(joinedload(Delivery.result))
            .where(Delivery.destination == destination, Delivery.state == DeliveryState.SENT)
            .where(forgotten | unanswered)
            .order_by(Delivery.sent_at, Delivery.result_id)
            .limit(most)
        )
    )


def ask_commitment(session: Session, delivery_ids: Sequence[str], transaction_uid: str, now: datetime) -> None:
    """Note that the peer was asked to commit to storing these."""
    asked = select(Delivery).where(Delivery.id.in_(delivery_ids)).order_by(Delivery.id).with_for_update()
    for delivery in session.scalars(asked):
        delivery.commitment_uid, delivery.commitment_asked_at = transaction_uid, now


def commitment_reported(
    session: Session, transaction_uid: str, committed: Sequence[str], failed: dict[str, int], now: datetime
) -> int:
    """Enter the peer's report, by SOP Instance UID; says how many deliveries it moved. A failed one is sent again."""
    moved = 0
    rows = session.scalars(
        select(Delivery)
        .options(joinedload(Delivery.result))
        .where(Delivery.commitment_uid == transaction_uid, Delivery.state == DeliveryState.SENT)
        .order_by(Delivery.id)
        .with_for_update(of=Delivery)
    )
    for row in rows:
        uid = row.result.sop_instance_uid
        if uid in committed:
            row.state = delivery_after("commit", row.state)
        elif uid in failed:
            row.state = delivery_after("uncommitted", row.state)
            row.not_before = now + RESEND_UNCOMMITTED * 2 ** min(row.attempt - 1, 7)
            row.error_code = "CommitmentFailed"
            row.error_message = f"the peer could not commit to {uid}: failure reason 0x{failed[uid]:04X}"
            row.error_advice = "WhyRay sends it again; look at the peer's log if this repeats."
        else:
            continue
        moved += 1
    return moved


def cancel(session: Session, delivery_id: str, now: datetime, *, actor: str) -> DeliveryState:
    """Cancel a delivery that waits.

    Raises
    ------
    NotFound, TransitionError
        If there is none, or it is being sent or past that.
    """
    delivery = get(session, delivery_id, lock=True)
    delivery.state = delivery_after("cancel", delivery.state)
    events.record(
        session, now, "info", "admin.cancel", f"delivery {delivery_id} to {delivery.destination}", actor=actor
    )
    return delivery.state


def retry(session: Session, delivery_id: str, now: datetime, *, actor: str, anyway: bool = False) -> DeliveryState:
    """Queue again, from attempt 0.

    Raises
    ------
    NotFound, TransitionError
        If there is none, or it is queued or being sent; or a later run replaced its result; or, unless it is to be
        tried `anyway`, if it failed for a reason that nobody can correct.
    """
    delivery = get(session, delivery_id, lock=True)
    # one that failed since is let through, for it is cancelled when its turn comes
    if delivery.state is not DeliveryState.FAILED and replacement.is_replaced(delivery.result):
        if delivery.result.withdrawn_at is not None:
            raise TransitionError(
                "the images that this result was made from were corrected",
                advice="Send what was made from the corrected ones.",
            )
        raise TransitionError(
            "a later run of the job replaced this result", advice="Send what the job made when it ran last."
        )
    attempts.queue_again(delivery, DeliveryState.SENT, DeliveryState.COMMITTED, anyway=anyway)
    delivery.commitment_uid = delivery.commitment_asked_at = None
    events.record(session, now, "info", "admin.retry", f"delivery {delivery_id} to {delivery.destination}", actor=actor)
    return delivery.state


def waiting_for(session: Session) -> frozenset[str]:
    """The destinations for which something is queued, or waits to be tried again: a look that needs no write lock."""
    states = (DeliveryState.QUEUED, DeliveryState.WAITING)
    return frozenset(session.scalars(select(Delivery.destination).where(Delivery.state.in_(states)).distinct()))


def to_wake(session: Session, now: datetime) -> bool:
    """Whether `wake` would find something: a look that needs no write lock."""
    return attempts.to_wake(session, Delivery, now)


def wake(session: Session, now: datetime) -> int:
    """Queue the waiting deliveries whose back-off is over; says how many."""
    return attempts.wake(session, Delivery, now)


def wake_unreached(session: Session, destination: str, now: datetime) -> int:
    """Queue what waits since its destination could not be reached, which it was again; says how many.

    What the peer has answered with a status of its own keeps its wait.
    """
    waiting = (Delivery.destination == destination, Delivery.state == DeliveryState.WAITING, Delivery.not_before > now)
    unreached = (Delivery.error_code.in_(_UNREACHED), Delivery.status.is_(None))
    rows = session.scalars(select(Delivery).where(*waiting, *unreached).with_for_update(skip_locked=True)).all()
    for row in rows:
        row.state = delivery_after("due", row.state)
    return len(rows)


def tally(session: Session) -> dict[str, dict[DeliveryState, int]]:
    """How many deliveries are in each state, by destination."""
    counts: dict[str, Counter[DeliveryState]] = {}
    for row in tallies.counted(session, "deliveries"):
        destination, _, state = row.facets
        counts.setdefault(destination, Counter())[DeliveryState(state)] += row.number
    return {destination: dict(states) for destination, states in counts.items()}


def oldest_queued_at(session: Session) -> dict[str, datetime]:
    """By destination, where something is queued: looked up by route, as `ix_deliveries_facets` has them together."""
    queued = [
        (destination, route)
        for destination, route, state in (row.facets for row in tallies.counted(session, "deliveries"))
        if state == DeliveryState.QUEUED
    ]
    oldest = _of_each(
        session,
        [
            select(func.min(Delivery.created_at)).where(
                Delivery.destination == destination,
                Delivery.route.is_(None) if route is None else Delivery.route == route,
                Delivery.state == DeliveryState.QUEUED,
            )
            for destination, route in queued
        ],
    )
    by_destination: dict[str, datetime] = {}
    for (destination, _), at in zip(queued, oldest, strict=True):
        if at is not None:
            by_destination[destination] = min(at, by_destination.get(destination, at))
    return by_destination


def last_sent_at(session: Session, names: Sequence[str]) -> dict[str, datetime | None]:
    """When the last delivery to each of these destinations was sent."""
    latest = [select(func.max(Delivery.sent_at)).where(Delivery.destination == name) for name in names]
    return dict(zip(names, _of_each(session, latest), strict=True))


def _of_each(session: Session, queries: Sequence[Select[Any]]) -> Sequence[datetime | None]:
    """The one value of each query, by one statement."""
    if not queries:
        return ()
    return session.execute(select(*(query.scalar_subquery() for query in queries))).one()
