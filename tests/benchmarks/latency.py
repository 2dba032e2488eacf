"""How long a radiograph's results take, from the end of the association that brought it until the archive has them all.

    PYTHONPATH=tests python tests/benchmarks/latency.py [--count 30] [--package cxr-findings@1.0.0]
        [--methods NAME …] [--out PAGE]

A whole `whyray serve` (SQLite, embedded Redis, one worker) is sent one radiograph of 1955 × 1841 after another, each a
study of its own, with a route that begins at the association's end; dcmtk's storescp is the archive. Times are those
that the catalog keeps. The model's own passes are taken off, by the stages that the worker tells of each job.
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import generate_uid
from sqlalchemy import select

from peers import StoreScp, free_port, until
from running import Running
from whyray.catalog import Delivery, DeliveryState, Event, Job, JobState, ResultRow, Study
from whyray.config import DicomDestination
from whyray.delivery import Caller, send_files
from whyray.demo.studies import CHEST, sample
from whyray_docs.marks import with_part

MARKS = ("<!-- latency: made by tests/benchmarks/latency.py -->", "<!-- end of latency -->")
WAITS = {
    "until the job is made": ("released", "created"),
    "until a worker takes it": ("created", "started"),
    "the job": ("started", "finished"),
    "until the archive has all results": ("finished", "sent"),
}
_PAGES = "until the archive has all pages"
_PASSES = "of it the model's passes"


def config(archive: StoreScp, package: str, methods: Sequence[str]) -> dict[str, Any]:
    """One route for chest radiographs, to one archive."""
    return {
        "destinations": {"archive": {"ae_title": archive.ae_title, "host": archive.host, "port": archive.port}},
        "routes": [
            {
                "name": "chest",
                "when": {"Modality": {"in": ["CR", "DX"]}},
                "complete": {"on_release": True, "quiet_for": "20s", "at_most": "5m"},
                "run": package,
                "explain": {method: {} for method in methods},
                "send": {"to": ["archive"]},
            }
        ],
    }


def film(folder: Path, number: int) -> Path:
    """The radiograph as another study's, with one other pixel."""
    data = dcmread(sample(CHEST))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(data, keyword, generate_uid(entropy_srcs=[keyword, str(number)]))
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.PixelData = bytes([number % 256]) + data.PixelData[1:]
    path = folder / f"{number}.dcm"
    data.save_as(path)
    return path


def times_of(running: Running, uid: str) -> dict[str, float] | None:
    """Seconds of each wait and of the model's passes; None while results are on their way."""
    with running.catalog.read() as session:
        job = session.scalar(select(Job).join(Study).where(Study.study_instance_uid == uid))
        if job is not None and job.state is JobState.FAILED:
            sys.exit(f"{job.error_code}: {job.error_message}")
        if job is None or job.state is not JobState.DONE:
            return None
        rows = session.execute(
            select(Delivery.state, Delivery.sent_at, ResultRow.kind).join(ResultRow).where(ResultRow.job_id == job.id)
        ).all()
        if not rows or any(state is not DeliveryState.SENT for state, _, _ in rows):
            return None
        told = session.scalars(select(Event.message).where(Event.job_id == job.id, Event.kind == "job.done")).one()
        at = {
            "released": job.study.released_at,
            "created": job.created_at,
            "started": job.started_at,
            "finished": job.finished_at,
            "sent": max(sent_at for _, sent_at, _ in rows),
            "pages": max(sent_at for _, sent_at, kind in rows if kind == "sc"),
        }
    passes = re.search(r"forward passes ([\d.]+)", told)
    waits = {name: (at[end] - at[begin]).total_seconds() for name, (begin, end) in WAITS.items()}
    waits[_PAGES] = (at["pages"] - at["finished"]).total_seconds()
    return waits | {_PASSES: float(passes.group(1)) if passes else 0.0}


def measured(count: int, package: str, methods: Sequence[str]) -> list[dict[str, float]]:
    """The times of `count` studies, after one that warms the worker up."""
    with tempfile.TemporaryDirectory(prefix="whyray-latency-") as scratch:
        folder = Path(scratch)
        with StoreScp(folder / "archive", free_port(), "ARCHIVE") as archive:
            running = Running(folder / "whyray", config(archive, package, methods))
            running.start()
            try:
                peer = DicomDestination(ae_title="WHYRAY", host="127.0.0.1", port=running.port)
                taken = []
                for number in range(count + 1):
                    path = film(folder, number)
                    uid = str(dcmread(path, stop_before_pixels=True).StudyInstanceUID)
                    if not all(outcome.stored for outcome in send_files([path], peer, caller=Caller("CR1"))):
                        sys.exit(f"study {number} was not taken")
                    taken.append(until(lambda uid=uid: times_of(running, uid), what=uid, deadline=300))
                return taken[1:]
            finally:
                running.stop()


def table(taken: Sequence[dict[str, float]], package: str, methods: Sequence[str]) -> str:
    """Medians and the longest, in seconds."""
    columns = {name: [times[name] for times in taken] for name in (*list(WAITS)[:3], _PASSES, _PAGES, *list(WAITS)[3:])}
    whole = [sum(times[name] for name in WAITS) for times in taken]
    pages = [sum(times[name] for name in (*list(WAITS)[:3], _PAGES)) for times in taken]
    for what, seconds in (("page", pages), ("result", whole)):
        columns[f"**from the association's end to the last {what}**"] = seconds
        less = [duration - times[_PASSES] for duration, times in zip(seconds, taken, strict=True)]
        columns[f"**less the model's passes, to the last {what}**"] = less
    lines = [
        f"{len(taken)} radiographs, one after another, by {package} with {', '.join(methods)}:",
        "",
        "| | median, s | 90 % within, s | 99 % within, s | longest, s |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, values in columns.items():
        ordered = sorted(values)
        most, nearly_all = (ordered[math.ceil(part * len(ordered)) - 1] for part in (0.9, 0.99))
        lines.append(
            f"| {name} | {statistics.median(ordered):.2f} | {most:.2f} | {nearly_all:.2f} | {ordered[-1]:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table or write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=30, help="studies that are measured")
    parser.add_argument("--package", default="cxr-findings", help="what the route runs")
    parser.add_argument("--methods", nargs="+", default=["local-evidence"])
    parser.add_argument("--out", type=Path, help="a page with the marks of this table; standard output where left out")
    wanted = parser.parse_args()
    taken = measured(wanted.count, wanted.package, wanted.methods)
    made = table(taken, wanted.package, wanted.methods)
    if wanted.out is None:
        sys.stdout.write(made + "\n")
        return
    wanted.out.write_text(with_part(wanted.out.read_text("utf-8"), *MARKS, made), "utf-8")


if __name__ == "__main__":
    main()
