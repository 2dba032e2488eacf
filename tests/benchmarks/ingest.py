"""How fast instances are taken in: WhyRay beside pynetdicom's storescp, dcmtk's storescp and Orthanc, in one run.

    python tests/benchmarks/ingest.py [--count 200] [--rounds 3] [--associations 1 4]

CT instances of 530 KB, sent by dcmtk's storescu over the loopback interface with TCP_NODELAY=1. Each server starts
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
WHYRAY = """
import sys, threading
from pathlib import Path
from whyray.catalog import Catalog, sqlite_url
from whyray.config.network import Listener
from whyray.intake import start_listener
from whyray.storage import FolderStorage
folder = Path(sys.argv[1])
listener = Listener(address="127.0.0.1", port=int(sys.argv[2]), accept_unknown_peers=True)
start_listener(listener, Catalog(sqlite_url(folder / "catalog.sqlite")), FolderStorage(folder / "instances"))
threading.Event().wait()
"""


def whyray(folder: Path, port: int) -> list[str]:
    """WhyRay's listener with SQLite and a folder."""
    return [sys.executable, "-c", WHYRAY, str(folder), str(port)]


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


SERVERS = {
    "WhyRay": whyray,
    "Orthanc": orthanc,
    "dcmtk storescp --fork": dcmtk_storescp,
    "pynetdicom storescp": pynetdicom_storescp,
}


def free_port() -> int:
    """A free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_instances(folder: Path, count: int, parts: int) -> int:
    """Write CT instances of 512 × 512, in `parts` folders, by the way they are sent; the bytes in all."""
    data = dcmread(str(get_testdata_file("CT_small.dcm")))
    pixels = np.random.default_rng(0).integers(-1000, 1000, (512, 512), dtype=np.int16)
    data.Rows = data.Columns = 512
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
def running(name: str) -> Iterator[tuple[int, int]]:
    """A server that listens: (port, process id)."""
    folder, port = Path(tempfile.mkdtemp(prefix="whyray-ingest-")), free_port()
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
        yield port, server.pid
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def cpu_seconds(process: int) -> float:
    """User and system time of a process and its ended children."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, folders: list[Path]) -> tuple[float, float]:
    """Seconds to send each folder over an association of its own, all at once; and the server's CPU seconds."""
    with running(name) as (port, process):
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
        return time.perf_counter() - began, cpu_seconds(process) - before


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--associations", type=int, nargs="+", default=[1, 4])
    wanted = parser.parse_args()
    present = [name for name in SERVERS if name != "Orthanc" or shutil.which("Orthanc")]
    sys.stdout.write(
        "| server | associations | instances/s (spread) | MB/s | CPU s |\n| --- | --- | --- | --- | --- |\n"
    )
    with tempfile.TemporaryDirectory(prefix="whyray-ct-") as scratch:
        for associations in wanted.associations:
            source = Path(scratch) / str(associations)
            size = make_instances(source, wanted.count, associations)
            folders = sorted(source.iterdir())
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in present}
            for _ in range(wanted.rounds):
                for name in present:
                    taken[name].append(measure(name, folders))
            for name, times in taken.items():
                rates = sorted(wanted.count / seconds for seconds, _ in times)
                rate, cpu = statistics.median(rates), statistics.median(cpu for _, cpu in times)
                spread = f"{rates[0]:.0f}–{rates[-1]:.0f}"
                megabytes = rate * size / wanted.count / 1e6
                sys.stdout.write(f"| {name} | {associations} | {rate:.0f} ({spread}) | {megabytes:.0f} | {cpu:.2f} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
