from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from peers import until
from whyray.app.embedded_redis import EmbeddedRedis
from whyray.app.job_program import refuse_two_runtimes
from whyray.app.supervisor import Role, Supervisor
from whyray.base.errors import ConfigError


class Sleeper(Supervisor):
    """A supervisor whose roles are Python programs instead of `whyray` commands."""

    command = (sys.executable, "-c", "import time; time.sleep(600)")


def test_a_role_that_is_killed_runs_again_at_once_and_then_less_and_less_eagerly(tmp_path: Path) -> None:
    role = Role("sleeper", ())
    supervisor = Sleeper(tmp_path / "whyray.yaml", [role], redis=None)
    supervisor.start()
    try:
        assert role.process is not None
        first = role.process.pid
        role.process.send_signal(signal.SIGKILL)
        role.process.wait()
        supervisor.check(lambda: 100.0)
        assert role.process is not None
        assert role.process.pid != first
        role.starts.started = 100.0
        role.process.kill()
        role.process.wait()
        supervisor.check(lambda: 101.0)
        assert role.process is None
        assert role.starts.due == 102.0
        supervisor.check(lambda: 102.0)
        assert role.process is not None
    finally:
        supervisor.stop()
    assert role.process is None


def _program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_redis_that_dies_in_its_first_moments_takes_nothing_else_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = Role("sleeper", ())
    server = EmbeddedRedis(tmp_path / "state")
    supervisor = Sleeper(tmp_path / "whyray.yaml", [role], redis=server)
    supervisor.start()
    try:
        server.stop()
        with monkeypatch.context() as patched:
            _program(tmp_path / "bin" / "redis-server", "exit 1")
            patched.setenv("PATH", str(tmp_path / "bin"))
            supervisor.check(lambda: 100.0)
            supervisor.check(lambda: 100.0)
        assert not server.alive
        assert role.process is not None
        assert role.process.poll() is None
        supervisor.check(lambda: 100.5)
        assert not server.alive, "the second attempt waits a second"
        supervisor.check(lambda: 101.0)
        assert server.answers()
    finally:
        supervisor.stop()


def test_a_role_that_cannot_be_started_now_is_tried_again(tmp_path: Path) -> None:
    role = Role("sleeper", ())
    supervisor = Sleeper(tmp_path / "whyray.yaml", [role], redis=None)
    supervisor.start()
    try:
        assert role.process is not None
        role.process.kill()
        role.process.wait()
        supervisor.command = (str(tmp_path / "not yet there"),)
        supervisor.check(lambda: 100.0)
        assert role.process is None
        supervisor.command = Sleeper.command
        supervisor.check(lambda: 101.0)
        assert role.process is not None
    finally:
        supervisor.stop()


def test_roles_end_with_the_supervisor_though_it_is_killed(tmp_path: Path) -> None:
    import subprocess
    import textwrap

    program = textwrap.dedent(f"""
        import sys, time
        sys.path[:0] = {sys.path!r}
        from app.test_roles import Sleeper
        from whyray.app.supervisor import Role
        from pathlib import Path
        role = Role("sleeper", ())
        Sleeper(Path({str(tmp_path / "x.yaml")!r}), [role], redis=None).start()
        print(role.process.pid, flush=True)
        time.sleep(600)
    """)
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.wait()

    def gone() -> bool:
        status = Path(f"/proc/{child}/status")
        return not status.exists() or "State:\tZ" in status.read_text()

    until(gone, what="the orphan's end")


def test_two_onnx_runtimes_side_by_side_are_refused_with_what_to_do(tmp_path: Path) -> None:
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{name}-1.22.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.22.0\n")
    with pytest.raises(ConfigError) as caught:
        refuse_two_runtimes(path=[str(tmp_path)])
    assert "pip uninstall" in caught.value.advice
    (tmp_path / "onnxruntime-1.22.0.dist-info" / "METADATA").unlink()
    (tmp_path / "onnxruntime-1.22.0.dist-info").rmdir()
    refuse_two_runtimes(path=[str(tmp_path)])
