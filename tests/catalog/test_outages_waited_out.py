"""An outage that all work meets uses up no attempts, and the wait grows for as long as it lasts."""

from __future__ import annotations

import random
from datetime import timedelta

from catalog.rows import NOON, job, result
from whyray.base.errors import PeerUnreachable, StorageUnavailable, WhyRayError
from whyray.base.retry import retry_after
from whyray.catalog import Catalog, Delivery, DeliveryState, Job, JobState, deliveries, jobs
from whyray.config import Retry

POLICY = Retry(attempts=3, delay=timedelta(seconds=10), multiplier=2, ceiling=timedelta(minutes=5))
AWAY = StorageUnavailable("storage at /data is not there")
HICCUP = PeerUnreachable("nothing listens there")
HOUR = timedelta(hours=1)


class _Steady(random.Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        """The least."""
        return min(a, b)


def a_delivery(catalog: Catalog) -> str:
    with catalog.begin() as session:
        made = job(session)
        jobs.claim(session, made.id, "worker", NOON)
        jobs.finish(session, made.id, "worker", [result("1", "pacs")], [], NOON)
        return made.results[0].deliveries[0].id


def send_in_vain(catalog: Catalog, delivery_id: str, error: WhyRayError, times: int) -> tuple[Delivery, list[float]]:
    """What a sender does that meets `error`; gives the delivery as it is then, and each wait in seconds."""
    waits: list[float] = []
    for _ in range(times):
        with catalog.begin() as session:
            deliveries.wake(session, NOON + HOUR)
            (row,) = deliveries.claim_batch(session, "pacs", "sender", NOON)
            wait = retry_after(error, row.attempt, POLICY, _Steady(), outages=row.outages)
        waits.append(float("inf") if wait is None else wait.total_seconds())
        with catalog.begin() as session:
            deliveries.stop(session, delivery_id, "sender", error, NOON, status=None, retry_after=wait)
    with catalog.read() as session:
        return deliveries.get(session, delivery_id), waits


def test_a_delivery_that_waited_while_storage_was_away_has_all_its_attempts_for_its_peer(catalog: Catalog) -> None:
    """They had been used up, and the first hiccup of the archive failed it for good."""
    delivery_id = a_delivery(catalog)
    row, waits = send_in_vain(catalog, delivery_id, AWAY, 8)
    assert (row.state, row.attempt) == (DeliveryState.WAITING, 0)
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300], "not all of them every ten seconds, for days"
    row, waits = send_in_vain(catalog, delivery_id, HICCUP, 2)
    assert (row.state, row.attempt, waits) == (DeliveryState.WAITING, 2, [10, 20])
    row, waits = send_in_vain(catalog, delivery_id, AWAY, 1)
    assert (row.state, row.attempt, waits) == (DeliveryState.WAITING, 2, [40]), "the outage of today, anew"
    row, _ = send_in_vain(catalog, delivery_id, HICCUP, 1)
    assert (row.state, row.attempt) == (DeliveryState.FAILED, 3)


def test_the_wait_of_a_job_grows_with_the_outage_and_its_attempts_do_not(catalog: Catalog) -> None:
    """Every half minute each job computed in full what the disk had no room for."""
    with catalog.begin() as session:
        job_id = job(session).id
    waits: list[float] = []

    def tried(error: WhyRayError) -> Job:
        with catalog.begin() as session:
            jobs.wake(session, NOON + HOUR)
            row = jobs.claim(session, job_id, "worker", NOON)
            assert row is not None
            wait = retry_after(error, row.attempt, POLICY, _Steady(), outages=row.outages)
            waits.append(float("inf") if wait is None else wait.total_seconds())
            jobs.stop(session, job_id, "worker", error, NOON, retry_after=wait)
            return row

    assert [tried(AWAY).attempt for _ in range(7)] == [0] * 7
    assert (tried(HICCUP).attempt, tried(HICCUP).attempt) == (1, 2)
    assert waits == [10, 20, 40, 80, 160, 300, 300, 10, 20]
    assert tried(HICCUP).state is JobState.FAILED
    with catalog.begin() as session:
        jobs.retry(session, job_id, NOON, actor="admin")
        assert jobs.get(session, job_id).outages == 0
