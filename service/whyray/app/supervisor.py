"""`whyray serve`: all roles of one machine, each its own process, started, watched and restarted."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from whyray.app.checked_source import CHECKED_BY_SUPERVISOR, fingerprint
from whyray.app.embedded_redis import EmbeddedRedis
from whyray.app.ended_role import ROLE_OF_SUPERVISOR, enter_end
from whyray.app.kept_config import STATE_OF_SUPERVISOR
from whyray.app.state_lock import StateLock
from whyray.base.child_process import end_with_parent, how_ended
from whyray.base.errors import RoleLost, WhyRayError
from whyray.config import Config

_log = logging.getLogger("whyray.app.supervisor")
_LONGEST_WAIT = 30.0
_TOLD_BY_ITSELF = (0, 2)
"""Exit codes of a role that ended in good order, or has entered its own error."""
_STEADY_AFTER = 60.0


@dataclass
class Starts:
    """When to start again what ended: at once the first time, then after 1, 2, 4 … 30 seconds.

    A minute of steady running forgives. Times are those of a monotonic clock, in seconds.
    """

    started: float = 0.0
    due: float = 0.0
    _ends: int = 0

    def ended(self, now: float) -> float:
        """It has ended, or could not be started; gives the seconds to wait, and sets `due`."""
        self._ends = 1 if now - self.started > _STEADY_AFTER else self._ends + 1
        wait = 0.0 if self._ends == 1 else min(2.0 ** (self._ends - 2), _LONGEST_WAIT)
        self.due = now + wait
        return wait


@dataclass
class Role:
    """One process to keep alive: its name and the arguments of `whyray` that start it."""

    name: str
    arguments: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None
    starts: Starts = field(default_factory=Starts)


class Supervisor:
    """Keeps roles and the embedded Redis running until told to stop; what can't be started now is tried again.

    Work in hand is safe: acknowledged means in the catalog, and leases run out.
    """

    command: Sequence[str] = (sys.executable, "-m", "whyray")

    def __init__(
        self,
        config: Path,
        roles: Sequence[Role],
        *,
        redis: EmbeddedRedis | None,
        log: Path | None = None,
        in_force: Config | None = None,
    ) -> None:
        self.config = config
        self.roles = list(roles)
        self.redis = redis
        self.log = log
        self.in_force = in_force
        self._redis_starts = Starts()
        self._lock = None if in_force is None else StateLock(in_force.state)

    def start(self) -> None:
        """Start Redis, where it is ours, and all roles.

        Raises
        ------
        ConfigError
            If another supervisor runs on this state folder.
        ResourceExhausted
            If Redis does not answer.
        OSError
            If a process can't be started.
        """
        if self._lock is not None:
            self._lock.take()
        if self.redis is not None:
            self._redis_starts.started = time.monotonic()
            self.redis.start()
        for role in self.roles:
            self._start(role)

    def watch(self, stop: threading.Event, *, tick: float = 0.2) -> None:
        """Restart what ends, until `stop` is set; then stop everything."""
        try:
            while not stop.wait(tick):
                self.check()
        finally:
            self.stop()

    def check(self, clock: Callable[[], float] = time.monotonic) -> None:
        """One look at Redis and all roles. Never raises: who started this one process counts on it to stay."""
        if self.redis is not None and not self.redis.alive:
            self._restart_redis(self.redis, clock())
        for role in self.roles:
            now = clock()
            if role.process is not None:
                code = role.process.poll()
                if code is None:
                    continue
                pid, role.process = role.process.pid, None
                wait = role.starts.ended(now)
                self._tell(role, code, pid)
                _log.error("%s ended with code %s; starting it again in %.0f s", role.name, code, wait)
            if now >= role.starts.due:
                self._restart(role, now)

    def _tell(self, role: Role, code: int, pid: int) -> None:
        """Let the catalog know of an end that the role itself could not tell: by a signal, or with an odd code."""
        if code in _TOLD_BY_ITSELF or self.in_force is None:
            return
        words = how_ended(code)
        _log.error("%s %s", role.name, words)
        error = RoleLost(f"{role.name} {words}")
        # a catalog that does not answer must not keep the supervisor from starting roles
        threading.Thread(
            target=enter_end,
            args=(self.in_force.catalog_url, role.arguments[0], f"{role.name}@{platform.node()}", error, pid),
            name=f"tell-{role.name}",
            daemon=True,
        ).start()

    def _restart_redis(self, server: EmbeddedRedis, now: float) -> None:
        if now < self._redis_starts.due:
            return
        _log.warning("the embedded Redis ended; starting it again")
        try:
            server.start()
            self._redis_starts.started = now
        except (WhyRayError, OSError) as error:  # killed in its first moments, or no memory to fork
            wait = self._redis_starts.ended(now)
            _log.error("the embedded Redis did not start (%s); trying again in %.0f s", type(error).__name__, wait)

    def _restart(self, role: Role, now: float) -> None:
        try:
            self._start(role)
        except OSError as error:
            wait = role.starts.ended(now)
            _log.error("%s could not be started (%s); trying again in %.0f s", role.name, error.strerror, wait)

    def _start(self, role: Role) -> None:
        role.starts.started = time.monotonic()
        with ExitStack() as stack:
            log = stack.enter_context(self.log.open("ab")) if self.log else None
            role.process = subprocess.Popen(  # nosec B603  # WhyRay itself, without a shell
                [*self.command, *role.arguments, "--config", str(self.config)],
                preexec_fn=end_with_parent,
                env=os.environ | self._environment(role),
                stdout=log,
                stderr=log,
            )
        _log.info("%s started, process %d", role.name, role.process.pid)

    def _environment(self, role: Role) -> dict[str, str]:
        told = {"PYTHONUNBUFFERED": "1", ROLE_OF_SUPERVISOR: role.name}
        if self.in_force is None:
            return told
        checked = fingerprint(self.in_force, self.config.absolute().parent)
        return told | {STATE_OF_SUPERVISOR: str(self.in_force.state), CHECKED_BY_SUPERVISOR: checked}

    def stop(self, *, timeout: float = 15.0) -> None:
        """Ask all roles to end, wait, and end what is left by force."""
        running = [role.process for role in self.roles if role.process is not None]
        for process in running:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + timeout
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for role in self.roles:
            role.process = None
        if self.redis is not None:
            self.redis.stop()
        if self._lock is not None:
            self._lock.release()


def supervisor_of(config_path: Path, config: Config, *, log: Path | None = None) -> Supervisor:
    """All roles that one machine needs, by its configuration; they write to `log`, or to where this process writes.

    `config` is what is in force: what the file at `config_path` says, or said when it could last be obeyed.
    """
    roles = [Role(name, (name,)) for name in ("intake", "delivery", "admin")]
    roles += [Role(f"worker {number + 1}", ("worker",)) for number in range(config.workers.count)]
    redis = None if config.redis_url else EmbeddedRedis(config.state)
    return Supervisor(config_path.absolute(), roles, redis=redis, log=log, in_force=config)
