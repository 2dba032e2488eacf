"""How much of its time a worker's device computes on a queue of mixed studies.

    PYTHONPATH=tests python tests/benchmarks/worker_queue.py [--count 50] [--forward 0.05] [--one-by-one]

The device is one that waits (`slow_device.py`): a forward pass takes so many seconds and no core. The rest is what a
worker really does, on SQLite and a folder: studies are read, explained by Grad-CAM with its card, drawn, encoded,
stored and entered. Of five studies one is a CT of 60 slices of 512 × 512, one a radiograph of 3000 × 2400, three have
1955 × 1841. Time counts from the first pass to the last; `--one-by-one` is a worker that reads nothing ahead.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from planted import planted_package
from site_under_test import ROUTE, Site, configured
from synthetic import radiograph
from whyray.catalog import Catalog, JobState, job_queue, sqlite_url
from whyray.demo.phantom import Scan, write_phantom
from whyray.demo.studies import CHEST, sample
from whyray.jobs.attempt import Work, attempt
from whyray.jobs.job_process import JobProcess
from whyray.jobs.pipeline import Pipeline
from whyray.storage import FolderStorage

MEMORY = 8 << 30
LARGE = (3000, 2400)
SLOW_DEVICE = Path(__file__).with_name("slow_device.py")
ROUTES = [
    ROUTE,
    ROUTE | {"name": "heads", "when": {"Modality": {"in": ["CT"]}}, "run": "planted-ct@1"},
]


def studies(count: int) -> Iterator[list[Dataset]]:
    """The instances of each study."""
    with tempfile.TemporaryDirectory() as folder:
        scan = replace(Scan(), slices=60, distance=2.5, size=512, spacing=(0.45, 0.45))
        head = [dcmread(path) for path in write_phantom(Path(folder), scan)]
        film = dcmread(sample(CHEST))
        rows, columns = (
            np.arange(large) * small // large for large, small in zip(LARGE, film.pixel_array.shape, strict=True)
        )
        large = radiograph(film.pixel_array[np.ix_(rows, columns)].astype(np.uint16))
        kinds = [[film], [large], [film], head, [film]]
        for number in range(count):
            yield as_study(kinds[number % len(kinds)], number)


def as_study(instances: list[Dataset], number: int) -> list[Dataset]:
    """The same as another study."""
    made = deepcopy(instances)
    for place, instance in enumerate(made):
        instance.StudyInstanceUID = generate_uid(entropy_srcs=["study", str(number)])
        instance.SeriesInstanceUID = generate_uid(entropy_srcs=["series", str(number)])
        instance.SOPInstanceUID = generate_uid(entropy_srcs=["instance", f"{number}.{place}"])
        instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    return made


def site_of(folder: Path) -> Site:
    """A site with the two packages, on the clock of the machine."""
    planted_package(folder / "packages", shape=(448, 448), modalities=("CR", "DX"))
    planted_package(folder / "packages", kind="volume", shape=(48, 128, 128), modalities=("CT",), name="planted-ct")
    catalog = Catalog(sqlite_url(folder / "state" / "catalog.sqlite"))
    storage = FolderStorage(folder / "state" / "instances")
    return Site(folder, lambda: datetime.now(UTC), catalog, storage, configured(folder, routes=ROUTES))


def measured(site: Site, forward: float, *, ahead: bool) -> tuple[float, float, int]:
    """Seconds that the device computed, and that passed from its first pass to its last; and how many jobs are done."""
    log = site.folder / "passes"
    program = [sys.executable, str(SLOW_DEVICE), str(forward), str(log), str(site.folder / "whyray.yaml")]
    processes = [JobProcess(program, memory=MEMORY) for _ in range(2 if ahead else 1)]
    owner, rng = "worker-1", random.Random(0)

    def attempted(job_id: str, work: Work) -> JobState | None:
        return attempt(job_id, owner, site.catalog, lambda: site.config, rng, work)

    pipeline = Pipeline(site.catalog, processes, attempted, MEMORY)
    try:
        while (job_id := claimable(site)) is not None:
            with pipeline.turn:
                pipeline.run(job_id)
            if pipeline.failure is not None:
                raise pipeline.failure
    finally:
        pipeline.close()
    passes = sorted(tuple(map(float, line.split())) for line in log.read_text().splitlines())
    busy, until = 0.0, passes[0][0]
    for start, end in passes:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    for job in site.jobs():
        if job.state is not JobState.DONE:
            sys.stderr.write(f"{job.package}: {job.state}: {job.error_code}: {job.error_message}\n")
    done = sum(job.state is JobState.DONE for job in site.jobs())
    return busy, until - passes[0][0], done


def claimable(site: Site) -> str | None:
    """The next job, as a message would name it."""
    with site.catalog.read() as session:
        return job_queue.next_claimable(session, site.catalog.clock())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--forward", type=float, default=0.05, help="seconds")
    parser.add_argument("--one-by-one", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = site_of(Path(folder))
        for instances in studies(asked.count):
            site.receive(instances)
        while len(site.jobs()) < asked.count:
            site.router().step()
        busy, whole, done = measured(site, asked.forward, ahead=not asked.one_by_one)
        site.catalog.close()
    sys.stdout.write(
        f"{done} of {asked.count} studies, {'one by one' if asked.one_by_one else 'the next one read ahead'}: "
        f"the device computed {busy:.1f} s of {whole:.1f}: {busy / whole:.0%}\n"
    )


if __name__ == "__main__":
    main()
