"""What a sender held when it was killed is sent by the next at once, and the dead one's word counts no more."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import datetime, timedelta

import pytest

from catalog.rows import NOON, job, result
from whyray.base.sources import this_pid_namespace
from whyray.catalog import Announcement, Catalog, Delivery, DeliveryState, attempts, audit, deliveries, jobs
from whyray.config import DicomDestination
from whyray.delivery import Caller, lease
from whyray.delivery.destination_worker import DestinationWorker
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
    dead, living, elsewhere, strange = "here:11:ns1:pacs:a", "here:12:ns1:pacs:b", "there:11:ns1:pacs:c", "nobody"
    apart, before_the_update = "here:11:ns2:pacs:e", "here:11:pacs:f"
    claimed = held_by(catalog, dead, living, elsewhere, strange, apart, before_the_update)
    with catalog.begin() as session:
        assert attempts.end_leases_of_the_dead(session, Delivery, "here", "ns1", {12}.__contains__, NOON) == 1
        assert attempts.end_leases_of_the_dead(session, Announcement, "here", "ns1", {12}.__contains__, NOON) == 0
        (taken,) = deliveries.claim_batch(session, "pacs", "here:13:ns1:pacs:d", NOON)
        assert (taken.id, taken.attempt) == (claimed[dead], 2), "it may be what the sender died of"
        deliveries.sent(session, taken.id, dead, 0, "a word from the grave", NOON)
        assert (taken.state, taken.lease_owner) == (DeliveryState.SENDING, "here:13:ns1:pacs:d")


def test_the_delivery_role_takes_over_from_one_that_was_killed_on_its_machine(catalog: Catalog) -> None:
    """Results lay for two minutes after each kill, and with them all that waited for their place."""
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    machine, here = socket.gethostname(), this_pid_namespace()
    before = [f"{machine}:{ended.pid}:{here}:pacs:a", f"{machine}:{os.getpid()}:{here}:pacs:b"]
    claimed = held_by(catalog, *before, f"{machine}:{os.getppid()}:{here}:pacs:c", now=catalog.clock())
    assert take_over_from_the_dead(catalog) == 2
    with catalog.begin() as session:
        taken = deliveries.claim_batch(session, "pacs", "next", catalog.clock())
    assert {row.id for row in taken} == {claimed[owner] for owner in before}


def test_a_container_of_the_same_name_takes_nothing_from_a_living_one_that_it_can_not_see(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two with the host's network and numbers of their own: the second sent what the first was sending."""
    worker = _Idle("pacs", DicomDestination(ae_title="PACS", host="h", port=1), Caller(), work="delivery", look=1.0)
    claimed = held_by(catalog, worker.owner, now=catalog.clock())
    monkeypatch.setattr(lease, "this_pid_namespace", lambda: "another0")
    monkeypatch.setattr(lease, "_is_another_process", lambda _: False)
    assert take_over_from_the_dead(catalog) == 0
    with catalog.begin() as session:
        assert deliveries.claim_batch(session, "pacs", "next", catalog.clock()) == []
    monkeypatch.undo()
    monkeypatch.setattr(lease, "_is_another_process", lambda _: False)
    assert take_over_from_the_dead(catalog) == 1, "one of its own namespace is seen"
    with catalog.begin() as session:
        (taken,) = deliveries.claim_batch(session, "pacs", "next", catalog.clock())
    assert taken.id == claimed[worker.owner]


def test_the_name_of_a_sender_fits_its_column_however_long_those_of_machine_and_destination_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 64)
    peer = DicomDestination(ae_title="PACS", host="h", port=1)
    first, other = (_Idle("d" * 64, peer, Caller(), work="delivery", look=1.0).owner for _ in range(2))
    assert len(first) <= 128
    assert first != other


class _Idle(DestinationWorker):
    """A sender that sends nothing."""

    def turn(self) -> bool:
        """Nothing is due."""
        return False

    def let_go(self) -> None:
        """Nothing was claimed."""


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
