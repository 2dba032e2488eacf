"""How fast instances are taken in: WhyRay beside pynetdicom's storescp, dcmtk's storescp and Orthanc, in one run.

    python tests/benchmarks/ingest.py [--count 200] [--kilobytes 530] [--rounds 3] [--associations 1 4 16]

CT instances, sent by dcmtk's storescu over the loopback interface with TCP_NODELAY=1. Each server starts
afresh with an empty folder for each measurement; the rounds are interleaved, the table shows medians and the spread.
What a Success promises differs: WhyRay has synced bytes and catalog, Orthanc its index, the two storescps nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from whyray_docs.marks import with_part

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
CONFIGURATION = """
state: state
listener:
  address: 127.0.0.1
  port: {port}
  accept_unknown_peers: true
  processes: {processes}
  limits: {{max_associations: 64, max_per_address: 64, max_per_ae_title: 64, min_free_disk: 0B}}
"""
MOST_OF_PYNETDICOM = 10
"""Associations that its storescp takes at a time, whatever it is told."""


def whyray(folder: Path, port: int, processes: int = 1) -> list[str]:
    """WhyRay's role 'intake' with SQLite and a folder, and no routes."""
    (folder / "whyray.yaml").write_text(CONFIGURATION.format(port=port, processes=processes))
    return [sys.executable, "-m", "whyray", "--log-level", "error", "intake", "--config", str(folder / "whyray.yaml")]


def pynetdicom_storescp(folder: Path, port: int) -> list[str]:
    """pynetdicom's own application."""
    return [sys.executable, "-m", "pynetdicom", "storescp", str(port), "-od", str(folder), "-q"]


def dcmtk_storescp(folder: Path, port: int) -> list[str]:
    """dcmtk's storescp, a process for each association."""
    return ["/usr/bin/storescp", "--fork", "-od", str(folder), str(port)]


def orthanc(folder: Path, port: int) -> list[str]:
    """Orthanc with its SQLite index and nothing else."""
    configuration = {
        "DicomPort": port,
        "HttpPort": free_port(),
        "StorageDirectory": str(folder),
        "DicomAlwaysAllowStore": True,
        "RemoteAccessAllowed": False,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    return ["Orthanc", str(folder / "orthanc.json")]


SERVERS: dict[str, Callable[[Path, int], list[str]]] = {
    "WhyRay": whyray,
    "WhyRay, 2 processes": partial(whyray, processes=2),
    "WhyRay, 4 processes": partial(whyray, processes=4),
    "Orthanc": orthanc,
    "dcmtk storescp --fork": dcmtk_storescp,
    "pynetdicom storescp": pynetdicom_storescp,
}


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_instances(folder: Path, count: int, parts: int, kilobytes: int = 530) -> int:
    """Write CT instances of this size, in `parts` folders, by the way they are sent; the bytes in all."""
    data = dcmread(str(get_testdata_file("CT_small.dcm")))
    columns = 512 if kilobytes >= 100 else 180
    rows = max(1, (kilobytes * 1000 - 6000) // (2 * columns))
    pixels = np.random.default_rng(0).integers(-1000, 1000, (rows, columns), dtype=np.int16)
    # of what is larger than a frame can be, all that intake looks at is whether it is whole
    data.Rows, data.Columns = min(rows, 65535), columns
    size = 0
    for number in range(count):
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
        pixels[0, 0] = number
        data.PixelData = pixels.tobytes()
        path = folder / str(number % parts) / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path)
        size += path.stat().st_size
    return size


@contextmanager
def running(name: str, scratch: Path) -> Iterator[tuple[int, int]]:
    """A server that listens: (port, process id).

    What it wrote stays in `scratch`, and is on disk at the end: a filesystem writes late what nobody synced, and ext4
    without a journal looks for each new file at all that were removed within the last minutes; both would be charged
    to the next server.
    """
    folder, port = Path(tempfile.mkdtemp(prefix="server-", dir=scratch)), free_port()
    command = SERVERS[name](folder, port)
    server = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(
            ["echoscu", "127.0.0.1", str(port), "-aec", "WHYRAY"], capture_output=True, check=False
        ).returncode:
            if time.monotonic() > deadline or server.poll() is not None:
                sys.exit(f"{name} does not answer")
            time.sleep(0.05)
        settle(server.pid)
        yield port, server.pid
    finally:
        for process in processes_of(server.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        server.wait()
        os.sync()


def processes_of(process: int) -> list[int]:
    """The process and all that it has started."""
    children = [
        int(number) for task in Path(f"/proc/{process}/task").glob("*/children") for number in _read(task).split()
    ]
    return [process, *(pid for child in children for pid in processes_of(child))]


def _read(path: Path) -> str:
    """What is in a file; nothing where the thread that it tells of has just ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return path.read_text()
    return ""


def settle(process: int) -> None:
    """Wait until it has started: no process of it works any more."""
    before = -1.0
    while (now := cpu_seconds(process)) != before:
        before = now
        time.sleep(1)


def cpu_seconds(process: int) -> float:
    """User and system time of a process, those that it has started, and their ended children."""
    seconds = 0
    for pid in processes_of(process):
        with suppress(FileNotFoundError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            seconds += sum(map(int, fields[11:15]))
    return seconds / os.sysconf("SC_CLK_TCK")


def peak_memory(process: int) -> float:
    """MiB: the most resident memory of the largest of its processes."""
    peaks = [0]
    for pid in processes_of(process):
        with suppress(FileNotFoundError):
            status = Path(f"/proc/{pid}/status").read_text()
            peaks += [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")]
    return max(peaks) / 1024


@dataclass(frozen=True)
class Taken:
    """What one measurement gave."""

    seconds: float
    cpu: float
    peak: float


def measure(name: str, folders: list[Path], scratch: Path) -> Taken:
    """Send each folder over an association of its own, all at once."""
    with running(name, scratch) as (port, process):
        before, began = cpu_seconds(process), time.perf_counter()
        senders = [
            subprocess.Popen(
                ["storescu", "+sd", "-aec", "WHYRAY", "127.0.0.1", str(port), str(folder)],
                env=ENVIRONMENT,
                stdout=subprocess.DEVNULL,
            )
            for folder in folders
        ]
        if any(sender.wait() for sender in senders):
            sys.exit(f"{name} did not take everything")
        return Taken(time.perf_counter() - began, cpu_seconds(process) - before, peak_memory(process))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="instances")
    parser.add_argument("--kilobytes", type=int, default=530, help="of each instance; 500000 for large ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--associations", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS), metavar="NAME")
    parser.add_argument("--out", type=Path, help="write the table between this page's markers of this name")
    parser.add_argument("--marker", default="ingest")
    wanted = parser.parse_args()
    present = [name for name in wanted.servers if name != "Orthanc" or shutil.which("Orthanc")]
    lines = [
        "| server | associations | instances/s (spread) | × Orthanc | MB/s | CPU s | peak MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory(prefix="whyray-ct-") as scratch:
        for associations in wanted.associations:
            source = Path(scratch) / str(associations)
            size = make_instances(source, wanted.count, associations, wanted.kilobytes)
            folders = sorted(source.iterdir())
            servers = Path(scratch) / "servers"
            servers.mkdir()
            lines += rows(present, folders, wanted.count, size, wanted.rounds, servers)
            shutil.rmtree(source)
            shutil.rmtree(servers)
    table = "\n".join(lines)
    sys.stdout.write(table + "\n")
    if wanted.out is not None:
        words = f"{wanted.count} instances of {wanted.kilobytes} KB, {wanted.rounds} turns, on {os.cpu_count()} cores"
        today = datetime.now(UTC).date().isoformat()
        write(wanted.out, wanted.marker, f"{words} that the senders used too ({today}):\n\n{table}\n")


def rows(names: list[str], folders: list[Path], count: int, size: int, rounds: int, scratch: Path) -> list[str]:
    """The table's lines for so many associations: medians, and of Orthanc the median of each turn's ratio."""
    names = [name for name in names if name != "pynetdicom storescp" or len(folders) <= MOST_OF_PYNETDICOM]
    taken: dict[str, list[Taken]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names if turn % 2 == 0 else reversed(names):
            taken[name].append(measure(name, folders, scratch))
    lines = []
    for name, all_taken in taken.items():
        rates = sorted(count / one.seconds for one in all_taken)
        rate, spread = statistics.median(rates), f"{rates[0]:.0f}–{rates[-1]:.0f}"
        cpu, peak = (statistics.median(getattr(one, what) for one in all_taken) for what in ("cpu", "peak"))
        ratio = "–"
        if "Orthanc" in taken:
            turns = zip(taken["Orthanc"], all_taken, strict=True)
            ratio = f"{statistics.median(orthanc.seconds / one.seconds for orthanc, one in turns):.2f}"
        figures = f"{rate:.0f} ({spread}) | {ratio} | {rate * size / count / 1e6:.0f} | {cpu:.2f} | {peak:.0f}"
        lines.append(f"| {name} | {len(folders)} | {figures} |")
        sys.stderr.write(lines[-1] + "\n")
    return lines


def write(page: Path, marker: str, table: str) -> None:
    """Put the table between the page's markers."""
    begin, end = f"<!-- {marker} -->", f"<!-- end of {marker} -->"
    page.write_text(with_part(page.read_text("utf-8"), begin, end, table), "utf-8")


if __name__ == "__main__":
    main()
