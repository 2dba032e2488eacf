"""What a sender held when it was killed is sent by the next at once, and the dead one's word counts no more."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import datetime, timedelta

from catalog.rows import NOON, job, result
from whyray.catalog import Announcement, Catalog, Delivery, DeliveryState, attempts, audit, deliveries, jobs
from whyray.delivery.lease import take_over_from_the_dead

MINUTE = timedelta(minutes=1)


def held_by(catalog: Catalog, *owners: str, now: datetime = NOON) -> dict[str, str]:
    """Deliveries that these senders have claimed: owner → id."""
    claimed = {}
    with catalog.begin() as session:
        made = job(session)
        jobs.claim(session, made.id, "worker", now)
        jobs.finish(session, made.id, "worker", [result(str(n), "pacs") for n, _ in enumerate(owners)], [], now)
        for owner in owners:
            (delivery,) = deliveries.claim_batch(session, "pacs", owner, now, most=1)
            claimed[owner] = delivery.id
    return claimed


def test_what_a_dead_sender_held_is_taken_up_at_once_and_what_the_living_hold_is_not(catalog: Catalog) -> None:
    dead, living, elsewhere, strange = "here:11:pacs:a", "here:12:pacs:b", "there:11:pacs:c", "nobody"
    claimed = held_by(catalog, dead, living, elsewhere, strange)
    with catalog.begin() as session:
        assert attempts.end_leases_of_the_dead(session, Delivery, "here", {12}.__contains__, NOON) == 1
        assert attempts.end_leases_of_the_dead(session, Announcement, "here", {12}.__contains__, NOON) == 0
        (taken,) = deliveries.claim_batch(session, "pacs", "here:13:pacs:d", NOON)
        assert (taken.id, taken.attempt) == (claimed[dead], 2), "it may be what the sender died of"
        deliveries.sent(session, taken.id, dead, 0, "a word from the grave", NOON)
        assert (taken.state, taken.lease_owner) == (DeliveryState.SENDING, "here:13:pacs:d")


def test_the_delivery_role_takes_over_from_one_that_was_killed_on_its_machine(catalog: Catalog) -> None:
    """Results lay for two minutes after each kill, and with them all that waited for their place."""
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    machine = socket.gethostname()
    before = [f"{machine}:{ended.pid}:pacs:a", f"{machine}:{os.getpid()}:pacs:b"]  # a container numbers as before
    claimed = held_by(catalog, *before, f"{machine}:{os.getppid()}:pacs:c", now=catalog.clock())
    assert take_over_from_the_dead(catalog) == 2
    with catalog.begin() as session:
        taken = deliveries.claim_batch(session, "pacs", "next", catalog.clock())
    assert {row.id for row in taken} == {claimed[owner] for owner in before}


def test_what_a_sender_could_enter_no_outcome_of_is_taken_up_after_a_wait_and_not_when_its_lease_ends(
    catalog: Catalog,
) -> None:
    """After a second without a database, what was under way then lay for two minutes."""
    claimed = held_by(catalog, "living", "other")
    with catalog.begin() as session:
        assert attempts.let_go(session, Delivery, "living", lambda attempt: attempt * MINUTE / 6, NOON) == 1
        assert attempts.let_go(session, Announcement, "living", lambda attempt: attempt * MINUTE / 6, NOON) == 0
    with catalog.begin() as session:
        assert deliveries.claim_batch(session, "pacs", "living", NOON + MINUTE / 7) == []
        (again,) = deliveries.claim_batch(session, "pacs", "living", NOON + MINUTE / 6)
        assert (again.id, again.attempt) == (claimed["living"], 2)
        assert attempts.let_go(session, Delivery, "living", lambda _: 60 * MINUTE, NOON) == 1
        assert again.lease_until == NOON + MINUTE / 6 + deliveries.LEASE, "never longer than it was"


def test_an_audit_receiver_that_a_dead_sender_held_before_the_clock_was_set_back_has_another(catalog: Catalog) -> None:
    """Nothing was sent to it for as long as the clock had been set back by."""
    with catalog.begin() as session:
        assert audit.lease(session, "tls://siem:6514", "dead", NOON, MINUTE) is not None
        assert audit.lease(session, "tls://siem:6514", "other", NOON + MINUTE / 2, MINUTE) is None
        assert audit.lease(session, "tls://siem:6514", "other", NOON - MINUTE / 2, MINUTE) is None, "clocks differ"
        assert audit.lease(session, "tls://siem:6514", "other", NOON - 60 * MINUTE, MINUTE) is not None
