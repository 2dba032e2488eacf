"""While one job computes the next is read and the last is stored, and each of them remains a job of its own."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from peers import until
from site_under_test import ROUTE, Site, film
from whyray.base.errors import TimeLimit
from whyray.catalog import Job, JobState, jobs
from whyray.jobs import job_heartbeat
from whyray.jobs import pipeline as pipelines
from whyray.jobs.attempt import Work, attempt
from whyray.jobs.device_turn import AT_THE_DEVICE
from whyray.jobs.job_heartbeat import Heartbeat
from whyray.jobs.job_process import JobProcess
from whyray.jobs.pipeline import AHEAD_AFTER, Pipeline

PACED = Path(__file__).with_name("paced.py")
MEMORY = 400 << 20


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
        self.site.configure(routes=[ROUTE | {"priority": priority}])
        self.site.receive([film(self._number, study=f"study {self._number}", series=f"series {self._number}")])
        before = {job.id for job in self.site.jobs()}
        self.site.router().step()
        (made,) = {job.id for job in self.site.jobs()} - before
        if waits:
            self.site.clock.tick(AHEAD_AFTER.total_seconds())
        return made

    def hold(self, job_id: str, stage: str = "computes") -> None:
        (self.folder / f"hold {job_id} {stage}").touch()

    def let_go(self, job_id: str, stage: str = "computes") -> None:
        (self.folder / f"hold {job_id} {stage}").unlink()

    def begins(self, job_id: str) -> None:
        """Runs until nothing is in hand, meanwhile the test goes on."""

        def run() -> None:
            with self.pipeline.turn:
                self.pipeline.run(job_id, self.stop.is_set)

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def ends(self) -> None:
        assert self._thread is not None
        self._thread.join(30)
        assert not self._thread.is_alive()

    def done(self) -> list[str]:
        file = self.folder / "done"
        return file.read_text().splitlines() if file.exists() else []

    def reached(self, *lines: str) -> None:
        until(lambda: set(lines) <= set(self.done()), what=f"{lines}")

    def job(self, job_id: str) -> Job:
        (found,) = [job for job in self.site.jobs() if job.id == job_id]
        return found


@pytest.fixture
def worker(site: Site, tmp_path: Path) -> Iterator[Worker]:
    folder = tmp_path / "pace"
    folder.mkdir()
    made = Worker(site, folder)
    yield made
    made.stop.set()
    for left in folder.glob("hold *"):
        left.unlink()
    made.ends()
    made.pipeline.close()


def test_the_next_job_is_read_while_one_computes_and_computes_while_that_one_is_stored(worker: Worker) -> None:
    first, second = worker.queued(), worker.queued()
    worker.hold(first)
    worker.hold(first, "leaves the device")
    worker.begins(first)
    worker.reached(f"{first} computes", f"{second} reads")
    until(lambda: "waits for the device" in (worker.job(second).progress_text or ""), what="its words")
    assert worker.done() == [f"{first} reads", f"{first} computes", f"{second} reads"]
    worker.let_go(first)
    worker.reached(f"{second} computes")
    assert worker.job(first).state is JobState.RUNNING, "it is done when its results are stored"
    worker.let_go(first, "leaves the device")
    worker.ends()
    assert [job.state for job in worker.site.jobs()] == [JobState.DONE, JobState.DONE]
    assert [job.attempt for job in worker.site.jobs()] == [1, 1]


def test_both_processes_outlive_their_jobs_and_work_on_the_next_ones(worker: Worker) -> None:
    first, second = worker.queued(), worker.queued()
    worker.hold(first)
    worker.begins(first)
    worker.reached(f"{first} computes", f"{second} reads")
    began = [process.pid for process in worker.pipeline.processes]
    worker.let_go(first)
    worker.ends()
    threading.Event().wait(0.3)
    assert all(pid is not None and alive(pid) for pid in began)
    third = worker.queued()
    worker.begins(third)
    worker.ends()
    assert worker.job(third).state is JobState.DONE
    assert [process.pid for process in worker.pipeline.processes] == began


def alive(pid: int) -> bool:
    """Whether it runs, and is not only still to be reaped."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_worker_that_stops_ends_what_computes_and_hands_back_what_it_only_read(worker: Worker) -> None:
    first, second = worker.queued(), worker.queued()
    worker.hold(first)
    worker.hold(second, "reads")
    worker.begins(first)
    worker.reached(f"{first} computes", f"{second} reads")
    worker.stop.set()
    until(lambda: worker.job(second).state is JobState.QUEUED, what="the job that was read")
    read_ahead = worker.job(second)
    assert (read_ahead.attempt, read_ahead.lease_owner, read_ahead.dispatched_at) == (0, None, None)
    worker.let_go(first)
    worker.ends()
    assert worker.job(first).state is JobState.DONE


def test_a_worker_that_is_to_stop_begins_no_job(worker: Worker) -> None:
    job_id = worker.queued()
    worker.stop.set()
    worker.begins(job_id)
    worker.ends()
    assert (worker.job(job_id).state, worker.job(job_id).attempt, worker.done()) == (JobState.QUEUED, 0, [])


def test_the_most_urgent_job_waits_for_one_that_runs_and_for_none_that_was_read_ahead(worker: Worker) -> None:
    first, second = worker.queued(), worker.queued()
    worker.hold(first)
    worker.begins(first)
    worker.reached(f"{first} computes", f"{second} reads")
    stat = worker.queued("stat", waits=False)
    worker.let_go(first)  # at this very moment, before anybody has looked for more urgent ones
    worker.ends()
    order = [line.split()[0] for line in worker.done() if line.endswith(" computes")]
    assert order == [first, stat, second]
    assert [job.state for job in worker.site.jobs()] == [JobState.DONE] * 3
    assert worker.job(second).attempt == 1, "what was handed back is not counted"


def test_a_job_that_just_came_is_left_to_workers_that_have_nothing_to_do(worker: Worker) -> None:
    first, second = worker.queued(), worker.queued(waits=False)
    worker.hold(first)
    worker.begins(first)
    worker.reached(f"{first} computes")
    threading.Event().wait(1.2)
    assert f"{second} reads" not in worker.done()
    worker.site.clock.tick(AHEAD_AFTER.total_seconds())
    worker.reached(f"{second} reads")


def test_a_job_that_is_cancelled_while_it_waits_for_the_device_ends_and_its_process_stays(worker: Worker) -> None:
    first, second = worker.queued(), worker.queued()
    worker.hold(first)
    worker.begins(first)
    worker.reached(f"{first} computes", f"{second} reads")
    until(lambda: "waits for the device" in (worker.job(second).progress_text or ""), what="its words")
    with worker.site.catalog.begin() as session:
        jobs.cancel(session, second, worker.site.clock(), actor="ada")
    until(lambda: worker.job(second).state is JobState.CANCELLED, what="the job's end")
    assert worker.pipeline.processes[1].pid is not None
    worker.let_go(first)
    worker.ends()
    assert worker.job(first).state is JobState.DONE


@pytest.mark.parametrize("stage", ["reads", "computes"])
def test_a_job_whose_process_dies_takes_none_beside_it_along(worker: Worker, stage: str) -> None:
    first, second = worker.queued(), worker.queued()
    failing, other = (second, first) if stage == "reads" else (first, second)
    (worker.folder / f"crash {failing} {stage}").touch()
    worker.hold(first)
    worker.begins(first)
    until(lambda: worker.job(failing).state is JobState.FAILED, what="the crash")
    worker.let_go(first)
    worker.ends()
    assert worker.job(failing).error_code == "NativeCrash"
    assert (worker.job(other).state, worker.job(other).attempt) == (JobState.DONE, 1)


def test_two_jobs_that_together_hold_too_much_run_one_after_the_other(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "resident_memory", lambda _: 3 * MEMORY // 4)
    first, second = worker.queued(), worker.queued()
    worker.hold(first)
    worker.begins(first)
    worker.reached(f"{first} computes")
    until(lambda: worker.pipeline.processes[1].pid is not None, what="a second process")
    until(lambda: worker.pipeline.processes[1].pid is None, what="its end")
    worker.let_go(first)
    worker.ends()
    assert [job.state for job in worker.site.jobs()] == [JobState.DONE, JobState.DONE]
    assert f"{second} reads" not in worker.done()[:2]
    assert worker.job(second).attempt == 1, "what was handed back is not counted"


def test_the_second_process_ends_when_it_has_had_nothing_to_do_for_a_while(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines, "IDLE", 0.1)
    first, second = worker.queued(), worker.queued()
    worker.hold(first)
    worker.begins(first)
    worker.reached(f"{second} reads")
    worker.let_go(first)
    worker.ends()
    until(lambda: worker.pipeline.processes[1].pid is None, what="its end")
    assert worker.pipeline.processes[0].pid is not None


def test_what_a_job_waits_for_the_device_is_none_of_its_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(job_heartbeat.time, "monotonic", lambda: now[0])
    heartbeat = Heartbeat(site.catalog, "1", "worker-1", limit=2.0)
    for seconds, words in ((1, "reading the images"), (1000, AT_THE_DEVICE), (1, "running cxr-findings")):
        now[0] += seconds
        heartbeat.progress(0.1, words)
    now[0] += 1
    with pytest.raises(TimeLimit, match="ran longer than 2 s"):
        heartbeat.progress(0.2, "explaining")
