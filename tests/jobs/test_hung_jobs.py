"""Work that crashes, hangs or eats memory: one attempt at one job is lost and named, and the next one runs."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from peers import until
from site_under_test import ROUTE, Site, film
from whyray.base.errors import PackageError, ProcessKilled
from whyray.catalog import Event, JobState, jobs
from whyray.jobs import job_process
from whyray.jobs.attempt import attempt
from whyray.jobs.explanation_request import Progress
from whyray.jobs.job_process import JobProcess

MISBEHAVING = Path(__file__).with_name("misbehaving.py")
MEMORY = 400 << 20

Start = Callable[[str], JobProcess]


@pytest.fixture
def start(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a process for jobs that misbehaves in the way named."""
    monkeypatch.setattr(job_process, "GRACE", 0.3)
    with ExitStack() as stack:

        def started(how: str) -> JobProcess:
            url = site.catalog.url.render_as_string()
            process = JobProcess([sys.executable, str(MISBEHAVING), how, url], memory=MEMORY)
            stack.callback(process.stop)
            process.start()
            return process

        yield started


def queued(site: Site, number: int = 1, limit: str = "1m") -> str:
    site.configure(routes=[ROUTE | {"budget": {"job_time": limit}}])
    site.receive([film(number, study=f"study {number}", series=f"series {number}")])
    before = {job.id for job in site.jobs()}
    site.router().step()
    (made,) = {job.id for job in site.jobs()} - before
    return made


def attempted(site: Site, job_id: str, process: JobProcess) -> JobState | None:
    return attempt(job_id, "worker-1", site.catalog, lambda: site.config, random.Random(0), process.work)


@pytest.mark.parametrize(
    ("how", "state", "code", "words"),
    [
        ("segfault", JobState.FAILED, "NativeCrash", "was ended by SIGSEGV in job"),
        ("ends", JobState.FAILED, "NativeCrash", "ended with code 3"),
        ("is killed", JobState.WAITING, "ProcessKilled", "was ended by SIGKILL"),
        ("eats", JobState.WAITING, "ResourceExhausted", "MiB of memory, 400 are allowed"),
        ("refuses", JobState.FAILED, "PackageError", "planted@1.0.0: broken"),
    ],
)
def test_work_that_ends_its_process_costs_one_attempt_and_is_named(
    site: Site, start: Start, how: str, state: JobState, code: str, words: str
) -> None:
    job_id, process = queued(site), start(how)
    assert attempted(site, job_id, process) is state
    (job,) = site.jobs()
    assert (job.error_code, job.attempt) == (code, 1)
    assert words in (job.error_message or "")
    assert "at: explaining Effusion by rise" in (job.error_message or "") or how == "refuses"
    assert ("memory" in f"{job.error_message} {job.error_advice}") is (how == "eats")
    if state is JobState.FAILED:
        with site.catalog.read() as session:
            assert session.query(Event).filter_by(kind="job.failed", job_id=job_id).count() == 1


def test_after_a_crash_the_next_job_runs_in_a_new_process(site: Site, start: Start) -> None:
    first, process = queued(site), start("segfault")
    assert attempted(site, first, process) is JobState.FAILED
    process._command[2] = "well"
    assert attempted(site, queued(site, 2), process) is JobState.DONE


@pytest.mark.parametrize("how", ["loops", "holds the lock"])
def test_a_job_that_hangs_is_ended_at_its_time_and_says_at_what_it_was(site: Site, start: Start, how: str) -> None:
    job_id, process = queued(site, limit="1s"), start(how)
    process.ready()
    hung = process.pid
    assert attempted(site, job_id, process) is JobState.FAILED
    (job,) = site.jobs()
    assert (job.error_code, job.attempt) == ("TimeLimit", 1), "its class says that it is not tried again"
    assert "it was at: explaining Effusion by rise; it did not come back from there" in (job.error_message or "")
    assert "memory" not in f"{job.error_message} {job.error_advice}"
    assert "budget.job_time" in (job.error_advice or "")
    until(lambda: not Path(f"/proc/{hung}").exists(), what="its end")
    assert process.ready()["pid"] != str(hung)


def test_work_that_comes_to_the_end_of_a_batch_keeps_its_process_and_what_that_has_loaded(
    site: Site, start: Start
) -> None:
    job_id, process = queued(site, limit="1s"), start("runs long")
    assert attempted(site, job_id, process) is JobState.FAILED
    assert site.jobs()[0].error_code == "TimeLimit"
    warm = process.pid
    assert warm is not None
    assert process.ready()["pid"] == str(warm)


def test_a_cancelled_job_that_hangs_is_ended_too(site: Site, start: Start) -> None:
    job_id, process = queued(site), start("holds the lock")

    def work(job: str, owner: str, progress: Progress) -> None:
        def cancelling(done: float, words: str) -> None:
            if done and site.jobs()[0].state is JobState.RUNNING:
                with site.catalog.begin() as session:
                    jobs.cancel(session, job_id, site.clock(), actor="ada")
            progress(done, words)

        process.work(job, owner, cancelling)

    assert attempt(job_id, "worker-1", site.catalog, lambda: site.config, random.Random(0), work) is JobState.CANCELLED
    assert process.pid is None


def test_what_is_done_stays_done_though_the_process_ends_before_it_says_so(site: Site, start: Start) -> None:
    job_id, process = queued(site), start("well")

    def work(job: str, owner: str, progress: Progress) -> None:
        process.work(job, owner, progress)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        raise process._death("after its end")

    process.ready()
    attempt(job_id, "worker-1", site.catalog, lambda: site.config, random.Random(0), work)
    assert site.jobs()[0].state is JobState.DONE


def test_a_process_that_ends_before_it_is_ready_is_named_and_another_one_starts(site: Site, start: Start) -> None:
    process = start("well")
    assert process.pid is not None
    begun = process.pid
    with pytest.raises(ProcessKilled, match="was ended by SIGKILL before it was ready"):
        # while it is waited for: one that is gone already is simply started anew
        process.ready(lambda: os.kill(begun, signal.SIGKILL))
    assert process.ready()["pid"] == str(process.pid)


def test_a_process_that_can_not_work_tells_why_and_no_job_is_claimed_for_it(site: Site, start: Start) -> None:
    process = start("does not start")
    with pytest.raises(PackageError, match="no GPU") as caught:
        process.ready()
    assert caught.value.advice == "Buy one."
