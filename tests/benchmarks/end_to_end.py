"""A radiograph in, overlays in the archive: WhyRay beside an Orthanc with a plain script, in turns of one run.

    PYTHONPATH=tests python tests/benchmarks/end_to_end.py [--count 10] [--out docs/performance.md]

Both get the same radiographs of 1955 × 1841 by C-STORE, each a study of its own, run the same package
(`cxr-findings@1.0.0`) with Grad-CAM, and send what they make to a dcmtk storescp of their own. Timed from the end of
the association to the last object in the archive. What WhyRay does besides: it keeps and checks the study, evaluates
each map, makes pages with words, a Segmentation and a report, and puts every map into its place.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.latency import film
from peers import OrthancServer, StoreScp, free_port, until
from running import Running
from whyray.config import DicomDestination
from whyray.delivery import Caller, send_files
from whyray_docs.marks import with_part

PACKAGE = Path(__file__).parents[2] / "service" / "whyray" / "bundled" / "cxr-findings" / "1.0.0"
MARKS = ("<!-- end to end: made by tests/benchmarks/end_to_end.py -->", "<!-- end of end to end -->")


@dataclass
class Way:
    """One of the two: where studies go, and where its results come out."""

    name: str
    peer: DicomDestination
    archive: StoreScp

    def count(self) -> int:
        """Objects in the archive."""
        return sum(1 for _ in self.archive.folder.iterdir())

    def seconds(self, path: Path, results: int) -> float:
        """From the association's end to this many objects more in the archive."""
        before = self.count()
        if not all(outcome.stored for outcome in send_files([path], self.peer, caller=Caller("CR1"))):
            sys.exit(f"{self.name} did not take {path.name}")
        begun = time.monotonic()
        while self.count() < before + results:
            if time.monotonic() - begun > 120:
                sys.exit(f"{self.name} sent {self.count() - before} results of {results}")
            time.sleep(0.01)
        return time.monotonic() - begun


@contextmanager
def whyray(folder: Path, archive: StoreScp) -> Iterator[Way]:
    """A whole `whyray serve`."""
    route = {
        "name": "chest",
        "when": {"Modality": {"in": ["CR", "DX"]}},
        "complete": {"on_release": True, "quiet_for": "20s", "at_most": "5m"},
        "run": "cxr-findings@1.0.0",
        "explain": {"grad-cam": {}},
        "send": {"to": ["archive"]},
    }
    destination = {"ae_title": archive.ae_title, "host": archive.host, "port": archive.port}
    running = Running(folder / "whyray", {"destinations": {"archive": destination}, "routes": [route]})
    running.start()
    try:
        yield Way("WhyRay", DicomDestination(ae_title="WHYRAY", host="127.0.0.1", port=running.port), archive)
    finally:
        running.stop()


@contextmanager
def script(folder: Path, archive: StoreScp) -> Iterator[Way]:
    """An Orthanc, and the script that follows it."""
    (folder / "orthanc").mkdir()
    orthanc = OrthancServer(folder / "orthanc", ae_title="ORTHANC", dicom_port=free_port(), http_port=free_port())
    orthanc.start()
    program = [sys.executable, str(Path(__file__).with_name("plain_script.py"))]
    running = subprocess.Popen(
        [*program, orthanc.url, str(PACKAGE), archive.ae_title, str(archive.port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout is not None
        if running.stdout.readline() != "ready\n":
            sys.exit("the script did not start")
        peer = DicomDestination(ae_title="ORTHANC", host="127.0.0.1", port=orthanc.dicom_port)
        yield Way("Orthanc and a plain script", peer, archive)
    finally:
        running.kill()
        orthanc.kill()


def settled(count: Callable[[], int]) -> int:
    """How many results one study has: what has come when nothing has for some seconds."""
    until(lambda: count() > 0, what="a first result", deadline=120)
    last, since = count(), time.monotonic()
    while time.monotonic() - since < 5:
        time.sleep(0.1)
        if count() != last:
            last, since = count(), time.monotonic()
    return last


def measured(count: int) -> dict[str, tuple[int, list[float]]]:
    """Of each way, the results of a study and the seconds of each."""
    with tempfile.TemporaryDirectory(prefix="whyray-end-to-end-") as scratch:
        folder = Path(scratch)
        with (
            StoreScp(folder / "archive-1", free_port(), "ARCHIVE") as first,
            StoreScp(folder / "archive-2", free_port(), "ARCHIVE") as second,
            whyray(folder, first) as ours,
            script(folder, second) as theirs,
        ):
            results = {}
            for number, way in enumerate((theirs, ours)):
                way.seconds(film(folder, number), 1)
                results[way.name] = settled(way.count)
            taken: dict[str, list[float]] = {ours.name: [], theirs.name: []}
            for turn in range(count):
                for number, way in enumerate((ours, theirs)):
                    path = film(folder, 2 + 2 * turn + number)
                    taken[way.name].append(way.seconds(path, results[way.name]))
            return {name: (results[name], seconds) for name, seconds in taken.items()}


def table(taken: dict[str, tuple[int, list[float]]]) -> str:
    """Medians and spreads."""
    lines = ["| | results of a study | median, s | least to most, s |", "| --- | ---: | ---: | ---: |"]
    for name, (results, seconds) in taken.items():
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        lines.append(f"| {name} | {results} | {statistics.median(seconds):.2f} | {spread} |")
    ours, theirs = (seconds for _, seconds in taken.values())
    ratio = statistics.median(own / other for own, other in zip(ours, theirs, strict=True))
    return "\n".join([*lines, "", f"{len(ours)} radiographs each, in turns; median of the ratios {ratio:.2f}."])


def main() -> None:
    """Measure, and print the table or write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10, help="radiographs that each gets")
    parser.add_argument("--out", type=Path, help="a page with the marks of this table; standard output where left out")
    wanted = parser.parse_args()
    made = table(measured(wanted.count))
    if wanted.out is None:
        sys.stdout.write(made + "\n")
        return
    wanted.out.write_text(with_part(wanted.out.read_text("utf-8"), *MARKS, made), "utf-8")


if __name__ == "__main__":
    main()
