"""Work goes on while the queue is away: results, deliveries and intake, each thing exactly once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import redis

from e2e.studies import REPORTS_OF_FILMS
from peers import RedisServer, StoreScp, StoreScpFactory, until
from planted import planted_package
from running import Running
from synthetic import radiograph, write
from whyray.catalog import DeliveryState, Event, JobState
from whyray.config import DicomDestination
from whyray.delivery import Caller, send_files


def site(folder: Path, server: RedisServer, archive: StoreScp) -> dict[str, Any]:
    planted_package(folder / "packages", shape=(64, 64), modalities=("CR", "DX"))
    retry = {"delay": "1s", "ceiling": "2s", "attempts": 100}
    return {
        "queue": {"url": server.url},
        "destinations": {
            "archive": {"ae_title": "ARCHIVE", "host": archive.host, "port": archive.port, "retry": retry}
        },
        "packages": {"folders": [str(folder / "packages")]},
        "routes": [REPORTS_OF_FILMS],
    }


def send(running: Running, folder: Path, name: str) -> None:
    pixels = np.full((64, 56), 300, np.uint16)
    pixels[20:30, 30:40] = 4000
    paths = write([radiograph(pixels, study=name, series=name)], folder / name)
    peer = DicomDestination(ae_title="WHYRAY", host="127.0.0.1", port=running.port)
    assert all(outcome.stored for outcome in send_files(paths, peer, caller=Caller("TESTS")))


def all_delivered(running: Running, archive: StoreScp, studies: int) -> None:
    running.wait_for(
        lambda: (
            len(running.jobs()) == studies
            and all(job.state is JobState.DONE for job in running.jobs())
            and all(delivery.state is DeliveryState.SENT for delivery in running.deliveries())
        ),
        what=f"{studies} studies answered and delivered",
    )
    assert [job.attempt for job in running.jobs()] == [1] * studies, "nothing was done twice"
    assert len(running.results()) == studies
    assert sorted(archive.files()) == sorted(result.sop_instance_uid for result in running.results())


def test_studies_that_come_while_redis_is_down_hangs_or_forgets_are_answered_and_delivered_once(
    serve: Callable[..., Running], storescp: StoreScpFactory, redis_server: Callable[[], RedisServer], tmp_path: Path
) -> None:
    """One service for all three, so that its start is paid for once."""
    archive, server = storescp(ae_title="ARCHIVE"), redis_server()
    running = serve(site(tmp_path, server, archive))
    send(running, tmp_path, "before")
    all_delivered(running, archive, 1)

    server.kill()
    send(running, tmp_path, "down")
    all_delivered(running, archive, 2)
    server.start()
    until(lambda: "the queue is back" in running.log.read_text(), what="the worker's return to the queue")

    assert server._process is not None
    os.kill(server._process.pid, signal.SIGSTOP)
    try:
        send(running, tmp_path, "hangs")
        all_delivered(running, archive, 3)
    finally:
        os.kill(server._process.pid, signal.SIGCONT)
    until(lambda: running.log.read_text().count("the queue is back") == 2, what="its return after a hang")

    os.kill(_worker(running), signal.SIGSTOP)  # so that the message is still there to be lost
    try:
        send(running, tmp_path, "forgets")
        with redis.from_url(server.url) as client:
            until(lambda: client.dbsize() and client.flushall(), what="a message to forget")
    finally:
        os.kill(_worker(running), signal.SIGCONT)
    all_delivered(running, archive, 4)
    assert not [event for event in running.rows(Event) if event.severity == "error"]


def _worker(running: Running) -> int:
    return next(pid for role, pid in running.roles() if role == "worker")


def test_studies_that_come_while_redis_answers_and_refuses_are_answered_and_the_page_says_why(
    serve: Callable[..., Running], storescp: StoreScpFactory, redis_server: Callable[[], RedisServer], tmp_path: Path
) -> None:
    """A PING tells nothing of it; the worker ended by it, over and over, and nobody was told."""
    archive, server, primary = storescp(ae_title="ARCHIVE"), redis_server(), redis_server()
    running = serve(site(tmp_path, server, archive))
    worker = _worker(running)
    with redis.from_url(server.url) as client:
        refusals: dict[str, tuple[Callable[[], object], Callable[[], object], str]] = {
            "memory": (
                lambda: client.config_set("maxmemory", 1),
                lambda: client.config_set("maxmemory", 0),
                "the queue is out of memory (OutOfMemoryError)",
            ),
            "replica": (
                lambda: client.execute_command("REPLICAOF", "127.0.0.1", primary.port),
                lambda: client.execute_command("REPLICAOF", "NO", "ONE"),
                "the queue is a read-only replica (ReadOnlyError)",
            ),
        }
        for number, (name, (begin, end, words)) in enumerate(refusals.items(), start=1):
            before = _returns(running)
            begin()
            try:
                send(running, tmp_path, name)
                all_delivered(running, archive, number)
                until(lambda words=words: words in _attention(running), what=words)
                assert f"WARNING whyray.worker: {words}. " in running.log.read_text()
            finally:
                end()
            until(lambda words=words: words not in _attention(running), what="the end of that")
            until(lambda before=before: _returns(running) > before, what="the worker's return to the queue")
    assert _worker(running) == worker, "it has not ended"
    assert "Traceback" not in running.log.read_text()


def _returns(running: Running) -> int:
    return running.log.read_text().count("the queue is back")


def _attention(running: Running) -> str:
    return str(running.get("/overview")["attention"])
