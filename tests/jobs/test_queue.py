from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import timedelta

import celery.worker.state
import pytest
import redis

from catalog.rows import result
from peers import RedisServer, until
from site_under_test import Site, film
from whyray.app.retention import Retention
from whyray.app.schedule import SEND_AGAIN_AFTER, Schedule
from whyray.base.errors import PeerBusy
from whyray.catalog import JobState
from whyray.delivery import DeliveryService
from whyray.jobs import queue
from whyray.jobs.queue import QUEUES, RUN_JOB, backlog, celery_app, queue_hindrance, send
from whyray.jobs.worker import run_job


def schedule_of(site: Site, url: str) -> Schedule:
    app = celery_app(url)
    return Schedule(
        catalog=site.catalog,
        router=site.router(),
        retention=Retention(site.catalog, site.storage, lambda: site.config),
        send=lambda job_id, priority: send(app, job_id, priority),
        backlog=lambda: backlog(url),
    )


def test_a_message_carries_the_job_id_and_nothing_else(site: Site, shared_redis: RedisServer) -> None:
    import json

    site.receive([film(1)])
    schedule_of(site, shared_redis.socket_url).step()
    with redis.from_url(shared_redis.url) as client:
        raw = client.lpop(QUEUES[1])
    assert raw is not None
    message = json.loads(raw)
    import base64

    (arguments, keywords, _) = json.loads(base64.b64decode(message["body"]))
    assert (arguments, keywords) == ([site.jobs()[0].id], {})
    assert film().PatientName.family_name.encode() not in raw


def test_a_schedule_that_is_stirred_steps_at_once_and_one_that_is_stopped_ends_at_once(site: Site) -> None:
    stop, stepped = threading.Event(), threading.Event()
    retention = Retention(site.catalog, site.storage, lambda: site.config)
    schedule = Schedule(site.catalog, site.router(), retention, send=lambda *_: None, backlog=lambda: 0)
    retention_step = retention.step
    retention.step = lambda *at, **how: (retention_step(*at, **how), stepped.set())  # type: ignore[method-assign,func-returns-value]
    running = threading.Thread(target=schedule.run, args=[stop], kwargs={"tick": 3600.0})
    running.start()
    assert stepped.wait(30), "the first step"
    site.receive([film(1)])
    schedule.stir()
    until(site.jobs, what="the job of what came after the first step")
    stop.set()
    running.join(30)
    assert not running.is_alive()


def test_contents_that_come_again_are_compared_after_the_jobs_are_sent_and_hold_up_none(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[str] = []
    retention = Retention(site.catalog, site.storage, lambda: site.config)

    def fails() -> int:
        assert sent, "the job of the study was sent before"
        raise ValueError("a file of which nobody knew")

    schedule = Schedule(
        site.catalog,
        site.router(),
        retention,
        send=lambda job_id, _priority: sent.append(job_id),
        backlog=lambda: 0,
        compare=fails,
    )
    site.receive([film(1)])
    schedule.step()
    assert len(sent) == 1
    assert "comparing contents that came again" in caplog.text
    assert schedule._kept_house_at is not None


def test_urgent_work_is_taken_before_routine_work_that_came_first(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Celery keeps it for the whole process, and a worker that has failed in another test has set it
    monkeypatch.setattr(celery.worker.state, "should_stop", None)
    app = celery_app(shared_redis.socket_url)
    done: list[str] = []

    @app.task(name=RUN_JOB, shared=False)
    def run(job_id: str) -> None:
        done.append(job_id)

    for job_id, priority in (("routine", 2), ("urgent", 1), ("stat", 0), ("routine too", 2)):
        send(app, job_id, priority)
    worker = app.Worker(pool="solo", without_gossip=True, without_mingle=True, without_heartbeat=True, quiet=True)
    thread = threading.Thread(target=worker.start, daemon=True)
    thread.start()
    try:
        until(lambda: len(done) == 4, what="four messages")
    finally:
        worker.stop()
        thread.join(10)
    assert done == ["stat", "urgent", "routine", "routine too"]


def test_a_message_that_the_broker_lost_is_sent_again_and_one_that_waits_there_is_not(
    site: Site, redis_server: Callable[[], RedisServer]
) -> None:
    server = redis_server()
    site.receive([film(1)])
    schedule = schedule_of(site, server.socket_url)
    schedule.step()
    assert backlog(server.socket_url) == 1
    site.clock.tick(SEND_AGAIN_AFTER.total_seconds() + 1)
    assert schedule.dispatch() == 0
    server.kill()
    assert schedule.dispatch() == 0
    server.start()
    assert schedule.dispatch() == 1
    assert backlog(server.socket_url) == 1


def test_a_broker_that_is_down_is_told_in_the_log_once_and_when_it_is_back(
    site: Site, redis_server: Callable[[], RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    """Jobs of a night met it twice a second."""
    server = redis_server()
    schedule = schedule_of(site, server.socket_url)
    server.kill()
    site.receive([film(1)])
    for _ in range(3):
        schedule.step()
    server.start()
    assert schedule.dispatch() == 1
    told = [record.message for record in caplog.records if record.name == "whyray.schedule"]
    assert len(told) == 2
    assert told[0].startswith("sending jobs to the queue: PeerUnreachable: the queue can't be reached")
    assert told[1].startswith("sending jobs to the queue: well again, after 3 failures")


def test_a_broker_that_is_down_loses_nothing(site: Site, redis_server: Callable[[], RedisServer]) -> None:
    server = redis_server()
    url = server.socket_url
    schedule = schedule_of(site, url)
    server.kill()
    site.receive([film(1)])
    schedule.step()
    assert site.jobs()[0].state is JobState.QUEUED
    server.start()
    assert schedule.dispatch() == 1


def test_a_delivery_whose_pause_is_over_is_queued_again_by_the_delivery_role_alone(site: Site) -> None:
    from whyray.catalog import Delivery, DeliveryState, deliveries, jobs

    site.receive([film(1)])
    schedule = Schedule(
        catalog=site.catalog,
        router=site.router(),
        retention=Retention(site.catalog, site.storage, lambda: site.config),
        send=lambda _job_id, _priority: None,
        backlog=lambda: 0,
    )
    schedule.step()
    with site.catalog.begin() as session:
        job_id = site.jobs()[0].id
        jobs.claim(session, job_id, "worker", site.clock())
        jobs.finish(session, job_id, "worker", [result("1", "pacs")], [], site.clock())
    with site.catalog.begin() as session:
        (taken,) = deliveries.claim_batch(session, "pacs", "sender", site.clock())
        pause = timedelta(minutes=1)
        deliveries.stop(session, taken.id, "sender", PeerBusy("busy"), site.clock(), status=0xA700, retry_after=pause)
    site.clock.tick(120)

    def state() -> DeliveryState:
        with site.catalog.read() as session:
            return session.query(Delivery).one().state

    schedule.step()
    assert state() is DeliveryState.WAITING
    DeliveryService(site.catalog, site.storage, {}).poll()
    assert state() is DeliveryState.QUEUED


def test_beside_a_queue_that_hangs_studies_are_routed_and_their_jobs_sent_once_it_answers(
    site: Site, shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "BROKER_PATIENCE", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        path = str(site.folder / "silent.sock")
        silent.bind(path)
        silent.listen(8)
        schedule = schedule_of(site, f"redis+socket://{path}")
        site.receive([film(1)])
        schedule.step()
    (job,) = site.jobs()
    assert (job.state, job.dispatched_at) == (JobState.QUEUED, None)
    assert schedule_of(site, shared_redis.socket_url).dispatch() == 1


def test_a_job_abandoned_by_its_worker_gets_a_new_message_and_finishes(site: Site, shared_redis: RedisServer) -> None:
    from whyray.catalog import jobs

    site.receive([film(1)])
    schedule = schedule_of(site, shared_redis.socket_url)
    schedule.step()
    job_id = site.jobs()[0].id
    with site.catalog.begin() as session:
        jobs.claim(session, job_id, "dead worker", site.clock())
    assert schedule.dispatch() == 0
    site.clock.tick(jobs.LEASE.total_seconds() + 1)
    assert schedule.dispatch() == 1
    assert schedule.dispatch() == 0
    assert run_job(job_id, "worker-2", site.job_context()) is JobState.DONE


def test_what_was_kept_long_enough_goes_with_its_bytes_and_what_failed_stays(
    site: Site, shared_redis: RedisServer
) -> None:
    from sqlalchemy import func, select

    from whyray.catalog import Delivery, DeliveryState, Instance, Study

    schedule = schedule_of(site, shared_redis.socket_url)
    site.receive([film(1)])
    schedule.router.step()
    run_job(site.jobs()[0].id, "worker-1", site.job_context())
    bad = film(2, study="bad", series="bad")
    del bad.PixelData
    site.receive([bad])
    schedule.router.step()
    run_job(site.jobs()[1].id, "worker-1", site.job_context())
    with site.catalog.begin() as session:
        for delivery in session.scalars(select(Delivery)):
            delivery.state = DeliveryState.SENT
        keys = list(session.scalars(select(Instance.key).order_by(Instance.id)))
    site.clock.tick(40 * 24 * 3600)
    assert schedule.retention.step() == 1
    with site.catalog.read() as session:
        assert session.scalar(select(func.count(Study.id))) == 1
    assert [site.storage.exists(key) for key in keys] == [False, True]


def test_a_server_that_takes_what_is_written_hinders_nothing(redis_server: Callable[[], RedisServer]) -> None:
    assert queue_hindrance(redis_server().url) is None


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), "the queue is out of memory (OutOfMemoryError)"),
        (("REPLICAOF", "127.0.0.1", "1"), "the queue is a read-only replica (ReadOnlyError)"),
        (("CONFIG", "SET", "requirepass", "another"), "the queue refuses WhyRay's name or password"),
        (("CONFIG", "SET", "min-replicas-to-write", "1"), "the queue takes no messages (NOREPLICAS)"),
    ],
)
def test_a_server_that_answers_and_refuses_is_told_with_what_to_do_and_the_jobs_message_is_sent_later(
    site: Site, redis_server: Callable[[], RedisServer], setting: tuple[str, ...], words: str
) -> None:
    server = redis_server()
    with redis.from_url(server.url) as client:
        client.execute_command(*setting)
    hindrance = queue_hindrance(server.url)
    assert hindrance is not None
    assert words in hindrance.message
    assert hindrance.advice.endswith("; meanwhile workers take jobs from the catalog.")
    site.receive([film(1)])
    schedule_of(site, server.url).step()
    (job,) = site.jobs()
    assert (job.state, job.dispatched_at) == (JobState.QUEUED, None), "no worker waits for its message"
    server.kill()
    server.start()
    assert schedule_of(site, server.url).dispatch() == 1
    assert backlog(server.url) == 1


def test_a_server_that_reads_its_data_from_disk_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_loading, args=[listener], daemon=True).start()
        hindrance = queue_hindrance(f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
    assert hindrance is not None
    assert hindrance.message == "the queue reads its data from disk (BusyLoadingError)"


def _loading(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            while connection.recv(1 << 12):
                connection.sendall(b"-LOADING Redis is loading the dataset in memory\r\n" * 3)
