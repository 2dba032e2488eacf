"""New results are told of over the broker, and who listens outlives the broker's absence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.broker_urls import WAYS, url_of
from peers import RedisServer, until
from whyray.jobs import result_notices
from whyray.jobs.result_notices import listen_for_results, tell_of_results


@pytest.mark.parametrize("way", WAYS)
def test_a_notice_is_heard_and_so_is_the_broker_that_comes_back(
    way: str, redis_server: Callable[[], RedisServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_notices, "_PAUSE", 0.05)
    server, stop, heard = redis_server(), threading.Event(), threading.Semaphore(0)
    url = url_of(server, way, tmp_path)
    listening = threading.Thread(target=listen_for_results, args=[url, heard.release, stop], daemon=True)
    listening.start()
    assert heard.acquire(timeout=10), "not connected"
    tell_of_results(url)
    assert heard.acquire(timeout=10), "not told"
    server.kill()
    tell_of_results(url)  # nobody to tell it to: no error
    server.start()
    assert heard.acquire(timeout=10), "not told that the broker is back"
    stop.set()
    tell_of_results(url)
    until(lambda: not listening.is_alive(), what="the listener's end")
