"""What roles cost when there is nothing to do: memory, and CPU seconds a minute.

    python tests/benchmarks/idle_roles.py [--seconds 60] [--role intake ...]

Each role starts by itself, as `whyray ROLE`, on a configuration with one route and one destination, with SQLite and a
Redis of this run's own; it settles, is measured while nothing happens, and ends. RSS counts libraries that processes
share with each other in full, PSS their share. The worker is two processes: the one that takes jobs, and the one in
which they run. Bytecode is kept in a folder of this run's own, which a first start that is not measured fills: so it is
after an installation by pip.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from whyray.app.embedded_redis import EmbeddedRedis
from whyray.catalog import Catalog, processes, sqlite_url

ROLES = ("intake", "delivery", "admin", "worker")
_CONFIGURATION = """\
state: {state}
listener: {{ae_title: WHYRAY, address: 127.0.0.1, port: {dicom}, accept_unknown_peers: true}}
admin: {{address: 127.0.0.1, port: {web}, local_access: true}}
destinations:
  pacs: {{ae_title: PACS, host: 127.0.0.1, port: 104}}
routes:
  - {{name: chest, when: {{Modality: {{in: [CR, DX]}}}}, run: cxr-findings@2, send: {{to: [pacs]}}}}
"""
_SETTLE = 10.0


@dataclass(frozen=True)
class Figures:
    """Of one process: memory in bytes, seconds of CPU a minute, threads, and the start in CPU seconds and seconds."""

    name: str
    rss: int
    pss: int
    cpu_a_minute: float
    threads: int
    start: float
    ready: float


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """CPU seconds of all threads of a process, by the scheduler's own count."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def memory(pid: int) -> tuple[int, int]:
    """RSS and PSS in bytes."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:] if ":" in line
    )
    rss, pss = (int(fields[name].split()[0]) << 10 for name in ("Rss", "Pss"))
    return rss, pss


@contextmanager
def running(
    role: str, configuration: Path, catalog: Catalog, environment: dict[str, str]
) -> Iterator[tuple[int, float]]:
    """The process id of a role that says of itself that it is alive, and after how many seconds it did."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "whyray", "--log-level", "warning", role, "--config", str(configuration)],
        env=environment,
    )
    try:
        deadline = time.monotonic() + 120
        while True:
            with catalog.read() as session:
                alive = {process.detail.get("pid") for process in processes.all_processes(session)}
            if process.pid in alive:
                break
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{role} did not start")
            time.sleep(0.05)
        yield process.pid, time.monotonic() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def measured(
    role: str, configuration: Path, catalog: Catalog, environment: dict[str, str], seconds: float
) -> list[Figures]:
    """The figures of a role's processes, its own first."""
    with running(role, configuration, catalog, environment):
        pass
    with running(role, configuration, catalog, environment) as (pid, ready):
        time.sleep(_SETTLE)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pids = [pid, *map(int, children)]
        before = {process_id: cpu_seconds(process_id) for process_id in pids}
        time.sleep(seconds)
        return [
            Figures(
                name=role if process_id == pid else f"{role}: process of its jobs",
                rss=memory(process_id)[0],
                pss=memory(process_id)[1],
                cpu_a_minute=(cpu_seconds(process_id) - before[process_id]) * 60 / seconds,
                threads=sum(1 for _ in Path(f"/proc/{process_id}/task").iterdir()),
                start=before[process_id],
                ready=ready,
            )
            for process_id in pids
        ]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--role", nargs="+", choices=ROLES, default=list(ROLES))
    wanted = parser.parse_args()
    sys.stdout.write(
        "| process | RSS, MiB | PSS, MiB | CPU s a minute | threads | CPU s to start | s to ready |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    )
    with tempfile.TemporaryDirectory(prefix="whyray-idle-") as scratch:
        state, configuration = Path(scratch) / "state", Path(scratch) / "whyray.yaml"
        configuration.write_text(_CONFIGURATION.format(state=state, dicom=free_port(), web=free_port()))
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = str(Path(scratch) / "bytecode")
        catalog = Catalog(sqlite_url(state / "catalog.sqlite"))
        redis = EmbeddedRedis(state)
        redis.start()
        try:
            for role in wanted.role:
                for figures in measured(role, configuration, catalog, environment, wanted.seconds):
                    cells = (
                        figures.name,
                        f"{figures.rss / 2**20:.0f}",
                        f"{figures.pss / 2**20:.0f}",
                        f"{figures.cpu_a_minute:.2f}",
                        figures.threads,
                        f"{figures.start:.1f}",
                        f"{figures.ready:.1f}",
                    )
                    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
                    sys.stdout.flush()
        finally:
            redis.stop()
            catalog.close()


if __name__ == "__main__":
    main()
