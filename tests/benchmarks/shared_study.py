"""What three packages of one study cost in one process, each by itself, and with what they share kept between them.

    PYTHONPATH=tests python tests/benchmarks/shared_study.py [--runs 3] [--study film|head]

A radiograph of 1955 × 1841 is explained by Grad-CAM with its card and by shares of anatomy, by three bundled packages
(`cxr-findings`, `cxr-abnormal`, `cxr-prototypes`), or a head CT of 140 slices by `head-ct-tissue` under three routes;
jobs as a worker does them, with models loaded, on SQLite and a folder. Seconds are of the CPU, all threads together, in
turns.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydicom import dcmread

from benchmarks.worker_stages import film, head
from site_under_test import ROUTE, Site, configured
from whyray.catalog import Catalog, JobState, jobs, sqlite_url
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.inference.network_session import NetworkSession
from whyray.jobs.kept_study import KeptStudy
from whyray.jobs.worker import JobContext, run_job
from whyray.results import load_templates
from whyray.storage import FolderStorage

FILM = {"packages": ("cxr-findings@1.0.0", "cxr-abnormal", "cxr-prototypes"), "explain": ["grad-cam", "region-shares"]}
HEAD = {"packages": ("head-ct-tissue",) * 3, "explain": ["seg-grad-cam"]}


def site_of(folder: Path, packages: tuple[str, ...], explain: list[str]) -> Site:
    """A site on the clock of the machine, whose routes run these packages on everything."""
    route = ROUTE | {"when": {"Modality": {"in": ["CR", "DX", "CT"]}}}
    routes = [
        route | {"name": f"{number} {package}", "run": package, "explain": explain}
        for number, package in enumerate(packages)
    ]
    catalog = Catalog(sqlite_url(folder / "state" / "catalog.sqlite"))
    storage = FolderStorage(folder / "state" / "instances")
    return Site(folder, lambda: datetime.now(UTC), catalog, storage, configured(folder, routes=routes))


class CountedPasses:
    """How many passes of single images were made."""

    def __init__(self) -> None:
        self.made = 0
        plain = NetworkSession._forward

        def counted(session: NetworkSession, *arguments: object, **options: object) -> object:
            self.made += 1
            return plain(session, *arguments, **options)  # type: ignore[arg-type]

        NetworkSession._forward = counted  # type: ignore[assignment, method-assign]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--study", choices=("film", "head"), default="film")
    asked = parser.parse_args()
    chosen = FILM if asked.study == "film" else HEAD
    loaded: dict[str, Model] = {}

    def model(reference: str) -> Model:
        if reference not in loaded:
            loaded[reference] = load_package(reference, options=RuntimeOptions(device="cpu"), load=model)
        return loaded[reference]

    passes = CountedPasses()
    took: dict[bool, list[tuple[float, int, int]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = site_of(folder, chosen["packages"], chosen["explain"])  # type: ignore[arg-type]
        study = film(folder) if asked.study == "film" else head(folder / "head")
        site.receive([dcmread(path) for path in study])
        while len(site.jobs()) < len(chosen["packages"]):
            site.router().step()
        templates = load_templates()
        for turn in range(2 * asked.runs + 1):
            keeps = turn % 2 == 0
            studies = KeptStudy(site.storage)
            job_context: JobContext = replace(
                site.job_context(),
                model=lambda reference: model(reference.split("@")[0] + "@1.0.0"),
                templates=lambda: templates,
                rng=random.Random(0),
                studies=studies if keeps else None,
            )
            before, start = passes.made, time.process_time()
            for job in site.jobs():
                if job.state is JobState.DONE:
                    with site.catalog.begin() as session:
                        jobs.retry(session, job.id, site.clock(), actor="benchmark")
                if run_job(job.id, "worker-1", job_context) is not JobState.DONE:
                    (failed,) = [candidate for candidate in site.jobs() if candidate.id == job.id]
                    sys.exit(f"{job.package}: {failed.error_code}: {failed.error_message}")
            if turn:  # the first loads the models
                took[keeps].append(
                    (time.process_time() - start, passes.made - before, studies.reads or len(site.jobs()))
                )
            studies.drop()
        site.catalog.close()
    for keeps, words in ((False, "each by itself"), (True, "kept between them")):
        seconds = [taken[0] for taken in took[keeps]]
        _, made, reads = took[keeps][0]
        sys.stdout.write(
            f"{words}: {statistics.median(seconds):.2f} CPU s ({min(seconds):.2f} to {max(seconds):.2f}), "
            f"{made} calls of a network, {reads} times read\n"
        )


if __name__ == "__main__":
    main()
