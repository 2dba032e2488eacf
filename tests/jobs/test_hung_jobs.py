"""Work that does not come back: the job ends at its time, for good and in words, and so does its worker."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from site_under_test import Site, film
from whyray.app.supervisor import how_ended
from whyray.catalog import Event, JobState, jobs
from whyray.jobs import job_heartbeat
from whyray.jobs.job_heartbeat import Heartbeat

HOLDS_PYTHONS_LOCK = """
import ctypes, sys
from whyray.catalog import Catalog
from whyray.jobs import job_heartbeat
job_heartbeat._KERNEL_GRACE = 0.5
with job_heartbeat.Heartbeat(Catalog(sys.argv[1]), sys.argv[2], "worker-1", limit=0.5):
    ctypes.PyDLL(None).sleep(600)
"""


def running(site: Site) -> str:
    """A job that worker-1 has claimed; its id."""
    site.receive([film()])
    site.router().step()
    (job,) = site.jobs()
    with site.catalog.begin() as session:
        jobs.claim(session, job.id, "worker-1", site.clock())
    return job.id


def hung(site: Site, job_id: str, limit: float) -> None:
    """Work that makes no progress until its process is ended."""
    ended = threading.Event()
    with Heartbeat(site.catalog, job_id, "worker-1", limit=limit, every=0.01, on_stall=ended.set) as heartbeat:
        heartbeat.progress(0.3, "explaining Effusion by rise")
        if limit > 1:
            with site.catalog.begin() as session:
                jobs.cancel(session, job_id, site.clock(), actor="ada")
        assert ended.wait(60)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_heartbeat, "GRACE", 0.05)


def test_a_job_that_hangs_is_closed_at_its_time_and_says_at_what_it_was(site: Site) -> None:
    job_id = running(site)
    hung(site, job_id, 0.05)
    (job,) = site.jobs()
    assert (job.state, job.error_code, job.attempt) == (JobState.FAILED, "TimeLimit", 1)
    assert "did not come back from: explaining Effusion by rise" in (job.error_message or "")
    assert "budget.job_time" in (job.error_advice or "")
    with site.catalog.read() as session:
        assert session.query(Event).filter_by(kind="job.failed").count() == 1
    site.clock.tick(timedelta(days=1).total_seconds())
    with site.catalog.begin() as session:
        assert jobs.claim(session, job_id, "worker-2", site.clock()) is None


def test_a_cancelled_job_that_hangs_is_ended_too(site: Site) -> None:
    job_id = running(site)
    hung(site, job_id, 600.0)
    assert site.jobs()[0].state is JobState.CANCELLED


def test_native_code_that_lets_no_thread_run_is_ended_by_the_kernel(site: Site) -> None:
    url = site.catalog.url.render_as_string()
    worker = subprocess.run(
        [sys.executable, "-c", HOLDS_PYTHONS_LOCK, url, running(site)], timeout=120, check=False, capture_output=True
    )
    assert worker.returncode == -signal.SIGALRM, worker.stderr.decode()
    assert "the kernel's timer" in how_ended(worker.returncode)
