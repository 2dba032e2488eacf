"""A pipeline whose jobs go at the pace that a test sets, in processes as `paced.py` describes them."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select

from peers import until
from site_under_test import ROUTE, Site, film
from whyray.catalog import Job, JobState
from whyray.jobs.attempt import Work, attempt
from whyray.jobs.job_process import JobProcess
from whyray.jobs.pipeline import AHEAD_AFTER, Pipeline

PACED = Path(__file__).with_name("paced.py")
MEMORY = 400 << 20


def for_no_film() -> list[dict[str, object]]:
    """Routes that jobs were made by, and that take no radiographs any more."""
    return [ROUTE | {"name": f"route {number}", "when": {"Modality": {"in": ["CT"]}}} for number in (1, 2)]


@dataclass
class Worker:
    """A pipeline on a site, whose jobs go at the pace that a test sets."""

    site: Site
    folder: Path
    memory: int = MEMORY
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        url = self.site.catalog.url.render_as_string()
        processes = [
            JobProcess([sys.executable, str(PACED), str(self.folder), url], memory=self.memory) for _ in range(2)
        ]
        self.pipeline = Pipeline(self.site.catalog, processes, self._attempted, self.memory)
        self._thread: threading.Thread | None = None
        self._number = 0

    def _attempted(self, job_id: str, work: Work) -> JobState | None:
        return attempt(job_id, "worker-1", self.site.catalog, lambda: self.site.config, random.Random(0), work)

    def queued(self, priority: str = "routine", *, waits: bool = True) -> str:
        """A new job, which waits long enough to be read ahead."""
        self._number += 1
        self.site.configure(routes=[ROUTE | {"priority": priority}, *for_no_film()])
        self.site.receive([film(self._number, study=f"study {self._number}", series=f"series {self._number}")])
        before = {job.id for job in self.site.jobs()}
        self.site.router().step()
        (made,) = {job.id for job in self.site.jobs()} - before
        if waits:
            self.site.clock.tick(AHEAD_AFTER.total_seconds())
        return made

    def queued_of_a_study(self) -> list[str]:
        """Three jobs of a new study, by as many routes."""
        self._number += 1
        self.site.configure(routes=[ROUTE, *(ROUTE | {"name": route["name"]} for route in for_no_film())])
        before = {job.id for job in self.site.jobs()}
        self.site.receive([film(self._number, study=f"study {self._number}", series=f"series {self._number}")])
        self.site.router().step()
        self.site.clock.tick(AHEAD_AFTER.total_seconds())
        with self.site.catalog.read() as session:
            made = list(session.scalars(select(Job).order_by(Job.created_at, Job.id)))
        return [job.id for job in made if job.id not in before]

    def process_of(self, job_id: str) -> str:
        """The number of the process that worked on a job last."""
        lines = [line.split() for line in (self.folder / "who").read_text().splitlines()]
        return [pid for named, pid in lines if named == job_id][-1]

    def hold(self, job_id: str, stage: str = "computes") -> None:
        (self.folder / f"hold {job_id} {stage}").touch()

    def let_go(self, job_id: str, stage: str = "computes") -> None:
        (self.folder / f"hold {job_id} {stage}").unlink()

    def freeze(self, job_id: str, stage: str) -> None:
        (self.folder / f"freeze {job_id} {stage}").touch()

    def starts(self) -> list[str]:
        """What processes have been started, in all."""
        return (self.folder / "starts").read_text().splitlines()

    def waits_for_the_device(self, job_id: str) -> None:
        until(lambda: "waits for the device" in (self.job(job_id).progress_text or ""), what="its words")

    def handed_back(self, job_id: str) -> None:
        until(lambda: self.job(job_id).state is JobState.QUEUED, what=f"{job_id} handed back")
        assert self.job(job_id).attempt == 0, "what was handed back is not counted"

    def computed(self) -> list[str]:
        """The jobs, in the order in which they had the device."""
        return [line.split()[0] for line in self.done() if line.endswith(" computes")]

    def begins(self, job_id: str) -> None:
        """Runs until nothing is in hand, meanwhile the test goes on."""

        def run() -> None:
            with self.pipeline.turn:
                self.pipeline.run(job_id, self.stop.is_set)

        self.runs(run)

    def runs(self, run: Callable[[], None]) -> None:
        self._thread = threading.Thread(target=run)
        self._thread.start()

    def ends(self) -> None:
        if self._thread is not None:
            self._thread.join(30)
            assert not self._thread.is_alive()

    def done(self) -> list[str]:
        file = self.folder / "done"
        return file.read_text().splitlines() if file.exists() else []

    def reached(self, *lines: str) -> None:
        until(lambda: set(lines) <= set(self.done()), what=f"{lines}")

    def job(self, job_id: str) -> Job:
        (row,) = [job for job in self.site.jobs() if job.id == job_id]
        return row


@pytest.fixture
def worker(site: Site, tmp_path: Path) -> Iterator[Worker]:
    folder = tmp_path / "pace"
    folder.mkdir()
    made = Worker(site, folder)
    yield made
    made.stop.set()
    for left in [*folder.glob("hold *"), *folder.glob("freeze *")]:
        left.unlink()
    made.ends()
    made.pipeline.close()
