"""A job that can't be begun may be the catalog's fault: others are left alone for a while, and it is told once."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import OperationalError

from jobs.paced_worker import Worker, worker
from peers import until
from whyray.catalog import JobState, jobs
from whyray.jobs.attempt import Work

__all__ = ["worker"]


def test_a_catalog_that_takes_no_writes_is_asked_for_one_job_and_not_for_each_again_and_again(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits can be read from it: jobs were begun forty times a second, each with a line in the log."""
    asked: list[str] = []

    def refused(job_id: str, _: Work) -> None:
        asked.append(job_id)
        raise OperationalError("", None, Exception("a standby"))

    _with_a_process_that_is_ready(worker)
    first, _ = worker.queued(), worker.queued()
    attempted, worker.pipeline.attempt = worker.pipeline.attempt, refused
    worker.begins(first)
    worker.ends()
    assert asked == [first]
    for _ in range(5):
        worker.begins(first)
        worker.ends()
    told = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 1, "of an outage, and not of each attempt in it"
    assert told[0].startswith(f"beginning jobs, job {first}: PeerUnreachable")
    worker.pipeline.attempt = attempted
    worker.begins(first)
    worker.ends()
    assert worker.job(first).state is JobState.DONE
    assert any("beginning jobs: well again, after 6 failures" in record.message for record in caplog.records)


def _with_a_process_that_is_ready(worker: Worker) -> None:
    """So that a job is refused before another is begun beside it, in the second process."""
    worker.begins(worker.queued())
    worker.ends()


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if "beginning jobs" in record.message]


def test_a_message_for_a_job_that_is_gone_is_no_outage_and_holds_up_no_other(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """Each such message was an error in the log, and paused reading ahead for longer."""
    first, second = worker.queued(), worker.queued()
    with worker.pipeline.turn:
        assert [worker.pipeline.run("gone") for _ in range(3)] == [True] * 3
    worker.begins(first)
    worker.ends()
    assert [worker.job(job_id).state for job_id in (first, second)] == [JobState.DONE] * 2
    assert not _told(caplog)


def test_an_outage_of_beginning_jobs_is_over_once_another_worker_is_seen_to_have_one(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """The catalog was asked for a claim, and answered; only the work on a job of our own ended it."""

    def refused(*_: object) -> None:
        raise OperationalError("", None, Exception("a standby"))

    first, second, third = worker.queued(), worker.queued(), worker.queued()
    attempted, worker.pipeline.attempt = worker.pipeline.attempt, refused
    with worker.pipeline.turn:
        assert worker.pipeline.run(first) is False
        with worker.site.catalog.begin() as session:
            assert jobs.claim(session, first, "another worker", worker.site.clock()) is not None
        worker.pipeline.attempt = attempted
        assert worker.pipeline.run(first) is True
    (end,) = _told(caplog)[1:]
    assert end.startswith("beginning jobs: well again, after ")
    worker.begins(second)
    worker.ends()
    assert worker.job(third).state is JobState.DONE, "it is read ahead at once"


def test_a_job_whose_end_could_not_be_entered_does_not_end_an_outage(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """It was begun before the catalog went, and `attempt` returns all the same."""
    first, second = worker.queued(), worker.queued()
    attempted = worker.pipeline.attempt

    def refused_while_another_computes(job_id: str, work: Work) -> object:
        if job_id == second:
            raise OperationalError("", None, Exception("a standby"))
        attempted(job_id, work)
        return None

    worker.pipeline.attempt = refused_while_another_computes
    worker.hold(first)
    worker.begins(first)
    until(lambda: _told(caplog), what="the failure to begin the second")
    worker.let_go(first)
    worker.ends()
    assert len(_told(caplog)) == 1
