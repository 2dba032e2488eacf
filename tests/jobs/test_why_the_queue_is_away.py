"""The worker's log says why the queue is of no use, for Celery's own words of it are not shown."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest
import redis

from peers import RedisServer, free_port
from site_under_test import Site
from whyray.base.errors import PeerUnreachable
from whyray.jobs.queue import queue_hindrance
from whyray.jobs.standby import Standby

IN_SHORT = "meanwhile workers take jobs from the catalog."


def frozen(server: RedisServer) -> str:
    assert server._process is not None
    os.kill(server._process.pid, signal.SIGSTOP)
    return server.url


def of_another_password(server: RedisServer) -> str:
    with redis.from_url(server.url) as client:
        client.config_set("requirepass", "right")
    return server.url.replace("redis://", "redis://:wrong@")


def out_of_memory(server: RedisServer) -> str:
    with redis.from_url(server.url) as client:
        client.set("another's", bytes(1 << 20))
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
    return server.url


def replica_of_a_dead_primary(server: RedisServer) -> str:
    restarted(server, "--replicaof", "127.0.0.1", str(free_port()))
    return server.url


def restarted(server: RedisServer, *options: str) -> None:
    server.stop()
    server.options = options
    server.start()


def gone_on(server: RedisServer) -> None:
    assert server._process is not None
    os.kill(server._process.pid, signal.SIGCONT)


def of_the_right_password(server: RedisServer) -> None:
    with redis.from_url(server.url, password="right") as client:
        client.config_set("requirepass", "wrong")


@pytest.mark.parametrize(
    ("hindered", "mended", "words"),
    [
        (
            of_another_password,
            of_the_right_password,
            "the queue refuses WhyRay's name or password (AuthenticationError). Correct them in `queue.url`, and",
        ),
        (out_of_memory, restarted, "the queue is out of memory (OutOfMemoryError). Raise Redis's `maxmemory`, or"),
        (
            replica_of_a_dead_primary,
            restarted,
            "the queue is a read-only replica (ReadOnlyError). Name the primary in `queue.url`, or make",
        ),
        (frozen, gone_on, "the queue does not answer (TimeoutError). Check that Redis runs, and `queue.url`;"),
        (RedisServer.kill, RedisServer.start, "the queue does not answer (ConnectionError). Check that Redis runs"),
    ],
    ids=["password", "memory", "replica", "frozen", "killed"],
)
def test_why_the_queue_is_away_is_told_once_with_what_to_do_and_when_it_is_back(
    site: Site,
    redis_server: Callable[[], RedisServer],
    caplog: pytest.LogCaptureFixture,
    hindered: Callable[[RedisServer], str | None],
    mended: Callable[[RedisServer], None],
    words: str,
) -> None:
    server = redis_server()
    url = hindered(server) or server.url
    standby = standby_of(site, lambda: queue_hindrance(url))
    try:
        for _ in range(2):
            standby.step(threading.Event())
        (told,) = caplog.messages
        assert told.startswith(words)
        assert told.endswith(IN_SHORT)
    finally:
        mended(server)
    for _ in range(2):
        standby.step(threading.Event())
    assert caplog.messages[1:] == ["the queue is back"]


def standby_of(
    site: Site,
    hindrance: Callable[[], PeerUnreachable | None] = lambda: None,
    listening: Callable[[], bool] = lambda: True,
) -> Standby:
    return Standby(site.catalog, listening, hindrance, lambda _: True, threading.Lock())


def test_each_reason_is_told_once_in_an_outage_and_anew_in_the_next(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    memory, silence = (PeerUnreachable(f"the queue {what}", advice="Do it.") for what in ("is full", "is silent"))
    seen: list[PeerUnreachable | None] = [memory, silence, memory, silence, None, None, memory]
    standby = standby_of(site, lambda: seen.pop(0))
    while seen:
        standby.step(threading.Event())
    assert caplog.messages == [
        "the queue is full. Do it.",
        "the queue is silent. Do it.",
        "the queue is back",
        "the queue is full. Do it.",
    ]


def test_a_queue_that_answers_while_the_worker_is_not_connected_is_told_as_that(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    listening = False
    standby = standby_of(site, listening=lambda: listening)
    standby.step(threading.Event())
    assert not caplog.messages, "it may be about to be, as at its start"
    for _ in range(2):
        standby.step(threading.Event())
    listening = True
    standby.step(threading.Event())
    assert caplog.messages == [
        "this worker is not connected to the queue: jobs are taken from the catalog",
        "the queue is back",
    ]


def test_a_worker_that_is_about_to_be_connected_again_tells_no_further_reason(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Celery connects a second or more after the queue takes messages again."""
    full = PeerUnreachable("the queue is full", advice="Do it.")
    seen: list[tuple[PeerUnreachable | None, bool]] = [(full, False), (None, False), (None, False), (None, True)]
    standby = standby_of(site, lambda: seen[0][0], lambda: seen[0][1])
    while seen:
        standby.step(threading.Event())
        del seen[0]
    assert caplog.messages == ["the queue is full. Do it.", "the queue is back"]
