"""A whole WhyRay between senders and archives: real processes, on small disks, under a clock that can be set."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil

from catalog.conftest import Postgres, _programs
from chaos.archive import MoodyArchive
from chaos.bad_packages import GREEDY, HUNG, bad_packages
from chaos.clock import SimulatedClock, find_faketime
from chaos.disks import Disk, may_mount
from chaos.senders import Door
from peers import Modality, OrthancServer, echoes, free_port, until
from planted import planted_package
from running import Running
from whyray.app.embedded_redis import socket_path
from whyray.base.child_process import end_with_parent
from whyray.base.errors import PeerUnreachable
from whyray.catalog import Catalog, processes, sqlite_url
from whyray.demo.orthanc import find_orthanc

Database = Literal["sqlite", "postgresql"]
ROLES = ("intake", "worker", "delivery", "admin")
ATTEMPTS = 8
"""Of a job: more than the default, since a worker is killed here more often than in any hospital's year."""


@dataclass
class Serve(Running):
    """`whyray serve`, started anew when it ends, as systemd does."""

    catalog_url: str | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log" / "serve.log"

    @property
    def catalog(self) -> Catalog:
        if self._catalog is None:
            url = self.catalog_url or sqlite_url(self.folder / "state" / "catalog.sqlite")
            self._catalog = Catalog(url, migrate=False)
        return self._catalog

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def launch(self) -> None:
        """Start it without waiting."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "whyray", "serve", "--config", str(self.path)],
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | self.environment,
            )

    def children(self) -> dict[int, str]:
        """Process id → role of what serve has started and still runs; Redis is a role here."""
        roles = {}
        with suppress(psutil.Error):
            for child in psutil.Process(self.pid).children():
                with suppress(psutil.Error):
                    words = child.cmdline()
                    if any("redis-server" in word for word in words):
                        roles[child.pid] = "redis"
                    elif "whyray" in words and len(words) > words.index("whyray") + 1:
                        roles[child.pid] = words[words.index("whyray") + 1]
        return roles

    def of_role(self, role: str) -> list[int]:
        """Process ids of a role."""
        return [pid for pid, name in self.children().items() if name == role]

    def alive(self) -> bool:
        """Whether it answers C-ECHO, and each role has said within its last seconds that it is alive."""
        if self.ended or not echoes(self.port, self.ae_title):
            return False
        pids = set(self.children())
        try:
            with self.catalog.read() as session:
                told = {
                    process.role for process in processes.all_processes(session) if process.detail.get("pid") in pids
                }
        except Exception:  # the catalog is away: then it is not alive yet
            return False
        return set(ROLES) <= told


@dataclass
class Hospital:
    """All parts of one run. `big` gives room for the large studies."""

    folder: Path
    database: Database = "sqlite"
    big: bool = False
    with_orthanc: bool = True
    with_clock: bool = True
    stack: ExitStack = field(default_factory=ExitStack)
    lacking: list[str] = field(default_factory=list)
    """What is not installed or not allowed here, and so is not done."""

    def __post_init__(self) -> None:
        self.archive = MoodyArchive(free_port())
        self.orthanc: OrthancServer | None = None
        self.postgres: Postgres | None = None
        self.clock: SimulatedClock | None = None
        self.disks: dict[str, Disk] = {}
        self.serve: Serve
        self.web_port = free_port()

    # --- start and stop ------------------------------------------------------------------------------------------
    def __enter__(self) -> Hospital:
        try:
            self._start()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        site = self.folder / "whyray"
        self._mount(site)
        if self.database == "postgresql":
            self._start_postgres()
        planted_package(self.folder / "packages", shape=(40, 40))
        planted_package(
            self.folder / "packages",
            name="planted-volume",
            kind="volume",
            shape=(16, 32, 32),
            spacing=(60.0, 8.0, 8.0),
            window=(-350.0, 1300.0),
        )
        bad_packages(self.folder / "packages")
        port = free_port()
        self.archive.start()
        self.stack.callback(self.archive.stop)
        self._start_orthanc(port)
        environment = {}
        library = find_faketime() if self.with_clock else None
        if library is not None:
            self.clock = SimulatedClock(self.folder / "clock", library)
            environment = self.clock.environment
        elif self.with_clock:
            self.lacking.append("clock jumps: faketime is not installed (apt-get install faketime)")
        url = None if self.postgres is None else self.postgres.new_database("whyray").render_as_string(False)
        self.serve = Serve(site, self._config(url), port=port, environment=environment, catalog_url=url)
        self.stack.callback(self._stop_serve)
        self.serve.log.parent.mkdir(parents=True, exist_ok=True)
        self.serve.write()
        self.serve.launch()
        until(self.serve.alive, what=f"whyray serve ({self.serve.log})", deadline=600)

    def _mount(self, site: Path) -> None:
        if not may_mount(self.folder):
            self.lacking.append("small disks: not root, so a full disk is RLIMIT_FSIZE on all roles")
            return
        sizes = {"storage": 4 << 30 if self.big else 256 << 20, "state": 192 << 20, "log": 16 << 20}
        if self.database == "postgresql":
            sizes["postgres"] = 512 << 20
        for name, size in sizes.items():
            self.disks[name] = disk = Disk(site / name, size)
            disk.mount()
            self.stack.callback(disk.unmount)

    def _start_postgres(self) -> None:
        programs = _programs()
        if programs is None:
            raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
        folder = self.folder / "whyray" / "postgres"
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        folder.parent.chmod(0o755)
        self.postgres = Postgres(folder, programs)
        self.postgres.start()
        self.stack.callback(self._stop_postgres)

    def _stop_postgres(self) -> None:
        with suppress(AssertionError):
            assert self.postgres is not None
            self.postgres.stop()

    def _start_orthanc(self, port: int) -> None:
        if not self.with_orthanc:
            return
        if find_orthanc() is None:
            self.lacking.append("Orthanc is not installed (apt-get install orthanc)")
            return
        modalities = {"WHYRAY": Modality("WHYRAY", "127.0.0.1", port)}
        self.orthanc = OrthancServer(
            self.folder / "orthanc", dicom_port=free_port(), http_port=free_port(), modalities=modalities
        )
        self.stack.callback(self.orthanc.kill)
        self.orthanc.start()

    def _stop_serve(self) -> None:
        for pid in self.serve.children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        with suppress(subprocess.TimeoutExpired):
            self.serve.stop()

    def _config(self, url: str | None) -> dict[str, Any]:
        retry = {"delay": "1s", "ceiling": "5s", "attempts": 200}
        quick = {"connect": "3s", "acse": "5s", "dimse": "10s"}
        destinations: dict[str, Any] = {
            "archive": {
                "ae_title": self.archive.ae_title,
                "host": "127.0.0.1",
                "port": self.archive.port,
                "retry": retry,
                "timeouts": quick,
            }
        }
        if self.orthanc is not None:
            destinations["orthanc"] = {
                "ae_title": self.orthanc.ae_title,
                "host": "127.0.0.1",
                "port": self.orthanc.dicom_port,
                "storage_commitment": True,
                "commitment_within": "20s",
                "retry": retry,
                "timeouts": quick,
            }
        complete = {"on_release": True, "quiet_for": "2s", "at_most": "5m"}
        send = {"to": list(destinations), "as": ["sr"]}
        bad = {"in": [HUNG.upper(), GREEDY.upper()]}
        config: dict[str, Any] = {
            "listener": {
                "limits": {"min_free_disk": "0B"},
                "dicomweb": {"address": "127.0.0.1", "port": self.web_port},
            },
            "destinations": destinations,
            "packages": {"folders": [str(self.folder / "packages")]},
            "storage": {"folder": str(self.folder / "whyray" / "storage" / "instances")},
            "workers": {"retry": {"attempts": ATTEMPTS, "delay": "1s", "ceiling": "10s"}},
            "retention": {"source": "520w", "results": "520w", "events": "520w"},
            "routes": [
                {
                    "name": "films",
                    "when": {"Modality": {"in": ["CR", "US"]}, "not": {"BodyPartExamined": bad}},
                    "run": "planted",
                    "explain": "administrator",
                    "complete": complete,
                    "send": send,
                },
                {
                    "name": "volumes",
                    "when": {"Modality": "CT"},
                    "run": "planted-volume",
                    "explain": "administrator",
                    "complete": complete | {"quiet_for": "10s"},
                    "send": send,
                },
                *(
                    {
                        "name": name,
                        "when": {"BodyPartExamined": name.upper()},
                        "run": name,
                        "complete": complete,
                        "budget": {"job_time": "5s" if name == HUNG else "10m"},
                        "send": send,
                    }
                    for name in (HUNG, GREEDY)
                ),
            ],
        }
        if url is not None:
            config["catalog"] = {"url": url}
        return config

    # --- what is asked of it -------------------------------------------------------------------------------------
    @property
    def door(self) -> Door:
        """Where studies go."""
        return Door(self.serve.port, self.web_port)

    @property
    def redis_socket(self) -> Path:
        """The embedded Redis's socket."""
        return socket_path(self.serve.folder / "state")

    def retry_failed_deliveries(self) -> None:
        """What an administrator does once a destination is well that had refused for good."""
        body = {"of": "deliveries", "action": "retry", "state": "failed"}
        with suppress(httpx.HTTPError):
            httpx.post(f"{self.serve.api}/bulk", json=body, timeout=30)

    def make_well(self) -> None:
        """Everything that a fault may have left behind is put right: peers, disks, limits, clock."""
        self.archive.be("well")
        self.archive.start()
        for disk in self.disks.values():
            disk.free()
        for pid in self.serve.children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        if self.postgres is not None:
            self.mend_postgres()
        if self.orthanc is not None:
            with suppress(PeerUnreachable, httpx.HTTPError):
                self._mend_orthanc(self.orthanc)
        if self.serve.ended:
            self.serve.launch()
        if self.clock is not None and self.clock.offset < self.clock.furthest:
            # time passes until nothing waits for a moment that the clock had been set back from
            self.clock.jump(self.clock.furthest - self.clock.offset + timedelta(minutes=1))

    @staticmethod
    def _mend_orthanc(orthanc: OrthancServer) -> None:
        try:
            httpx.get(f"{orthanc.url}/system", timeout=10).raise_for_status()
        except httpx.HTTPError:
            orthanc.kill()
            orthanc.start()

    def mend_postgres(self) -> None:
        """Start PostgreSQL again if it is down."""
        assert self.postgres is not None
        import psycopg

        try:
            psycopg.connect(host="127.0.0.1", port=self.postgres.port, user="postgres", connect_timeout=3).close()
        except psycopg.OperationalError:
            with suppress(AssertionError):
                self.postgres.stop()
            until(self._postgres_starts, what="PostgreSQL", deadline=60)

    def _postgres_starts(self) -> bool:
        assert self.postgres is not None
        try:
            self.postgres.start()
        except AssertionError:
            return False
        return True


def remove(folder: Path) -> None:
    """Remove a run's folder."""
    shutil.rmtree(folder, ignore_errors=True)
