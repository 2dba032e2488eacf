"""The whole service as a hospital runs it: one configuration file, `whyray serve`, real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from peers import echoes, free_port, until
from whyray.catalog import Catalog, Delivery, Event, Job, JobState, ResultRow, processes, sqlite_url


@dataclass
class Running:
    """A running service in a folder of its own. `config` is what whyray.yaml says; ports are free ones."""

    folder: Path
    config: dict[str, Any]
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    ae_title: str = "WHYRAY"
    output: Path | None = None
    """Where its output goes; to `log` where left out."""
    _process: subprocess.Popen[bytes] | None = None
    _catalog: Catalog | None = None

    @property
    def path(self) -> Path:
        return self.folder / "whyray.yaml"

    @property
    def log(self) -> Path:
        return self.folder / "serve.log"

    @property
    def catalog(self) -> Catalog:
        """The service's catalog, read beside it."""
        if self._catalog is None:
            self._catalog = Catalog(sqlite_url(self.folder / "state" / "catalog.sqlite"))
        return self._catalog

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}/api/v1"

    def write(self, **sections: Any) -> None:
        """Write whyray.yaml, whole and at once."""
        self.config |= sections
        listener = {"ae_title": self.ae_title, "address": "127.0.0.1", "port": self.port, "accept_unknown_peers": True}
        content = {
            "state": str(self.folder / "state"),
            "listener": listener | self.config.get("listener", {}),
            "admin": {"address": "127.0.0.1", "port": self.admin_port, "local_access": True},
            **{key: value for key, value in self.config.items() if key != "listener"},
        }
        fresh = self.path.with_suffix(".new")
        fresh.write_text(yaml.safe_dump(content, sort_keys=False))
        fresh.replace(self.path)

    def start(self) -> None:
        """Start `whyray serve`, and wait until it answers C-ECHO and all roles are alive."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write()
        with (self.output or self.log).open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "whyray", "serve", "--config", str(self.path)],
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | self.environment,
            )
        until(self._ready, what=f"whyray serve ({self.log})", deadline=90)

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        if not (self.folder / "state" / "catalog.sqlite").exists() or not echoes(self.port, self.ae_title):
            return False
        return {"intake", "worker", "delivery", "admin"} <= {role for role, _ in self.roles()}

    def roles(self) -> list[tuple[str, int]]:
        """(role, process id) of what says that it is alive."""
        with self.catalog.read() as session:
            return [(process.role, int(process.detail.get("pid", 0))) for process in processes.all_processes(session)]

    def pids(self) -> list[int]:
        """Process ids of the supervisor's children that run now (Redis included)."""
        assert self._process is not None
        assert self._process.poll() is None, f"whyray serve itself ended ({self.log})"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self) -> None:
        """Stop and wait for the end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
            self._process = None
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None

    def rows(self, table: type) -> list[Any]:
        with self.catalog.read() as session:
            return list(session.scalars(select(table)))

    def jobs(self) -> list[Job]:
        with self.catalog.read() as session:
            return list(session.scalars(select(Job).options(joinedload(Job.study))))

    def results(self) -> list[ResultRow]:
        return self.rows(ResultRow)

    def deliveries(self) -> list[Delivery]:
        return self.rows(Delivery)

    def events(self, kind: str) -> list[Event]:
        return [event for event in self.rows(Event) if event.kind == kind]

    def wait_for(self, condition: Callable[[], Any], *, what: str, deadline: float = 120) -> Any:
        """Wait for a condition; a job that failed fails the test at once, with its reason."""

        def checked() -> Any:
            for job in self.jobs():
                assert job.state is not JobState.FAILED, f"{job.error_code}: {job.error_message}"
            return condition()

        return until(checked, what=f"{what} ({self.log})", deadline=deadline)

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.api}{path}", timeout=30).raise_for_status().json()
