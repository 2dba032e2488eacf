"""While one job computes the next is read and the last is stored, and each of them remains a job of its own."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from jobs.paced_worker import MEMORY, Worker, worker
from peers import until
from site_under_test import Site
from whyray.base.errors import TimeLimit
from whyray.catalog import JobState, jobs
from whyray.jobs import job_heartbeat, job_process, memory_limit
from whyray.jobs import pipeline as pipelines
from whyray.jobs.device_turn import AT_THE_DEVICE, DeviceTurn
from whyray.jobs.job_heartbeat import Heartbeat
from whyray.jobs.job_process import JobProcess
from whyray.jobs.pipeline import AHEAD_AFTER

__all__ = ["worker"]


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


def test_a_process_is_kept_for_all_jobs_and_none_loses_an_attempt_by_what_served_the_one_before(
    worker: Worker,
) -> None:
    made = [worker.queued() for _ in range(6)]
    worker.hold(made[0])
    worker.hold(made[-1])
    worker.begins(made[0])
    worker.reached(f"{made[1]} reads")
    pids = [process.pid for process in worker.pipeline.processes]
    worker.let_go(made[0])
    worker.reached(f"{made[-1]} computes")
    assert [process.pid for process in worker.pipeline.processes] == pids
    assert len(worker.starts()) == 2
    worker.let_go(made[-1])
    worker.ends()
    assert [(job.state, job.attempt) for job in worker.site.jobs()] == [(JobState.DONE, 1)] * 6
    assert worker.pipeline.processes[1].is_ready, "it is there for the next job"


def test_what_is_read_faster_does_not_overtake_a_more_urgent_job_that_is_being_read(worker: Worker) -> None:
    first = worker.queued()
    worker.hold(first)
    worker.begins(first)
    worker.reached(f"{first} computes")
    stat = worker.queued("stat", waits=False)
    worker.hold(stat, "reads")
    worker.site.clock.tick(AHEAD_AFTER.total_seconds())
    worker.reached(f"{stat} reads")
    routine = worker.queued()
    worker.let_go(first)
    worker.waits_for_the_device(routine)
    worker.let_go(stat, "reads")
    worker.ends()
    assert worker.computed() == [first, stat, routine]
    assert [job.attempt for job in worker.site.jobs()] == [1, 1, 1]


def test_what_is_being_read_gives_its_place_to_a_more_urgent_job_while_the_last_one_is_stored(worker: Worker) -> None:
    first, second = worker.queued(), worker.queued()
    worker.hold(first, "leaves the device")
    worker.hold(second, "reads")
    worker.begins(first)
    worker.reached(f"{first} leaves the device", f"{second} reads")
    stat = worker.queued("stat")
    worker.reached(f"{stat} computes")
    worker.let_go(second, "reads")
    worker.let_go(first, "leaves the device")
    worker.ends()
    assert worker.computed() == [first, stat, second]
    assert [job.attempt for job in worker.site.jobs()] == [1, 1, 1]


def test_where_memory_is_short_what_was_only_read_ends_at_once_though_it_tells_no_progress(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_process, "GRACE", 600.0)
    first, second, third = worker.queued(), worker.queued(), worker.queued()
    worker.freeze(second, "reads")
    worker.hold(first)
    worker.hold(third)
    worker.begins(first)
    worker.reached(f"{first} computes", f"{second} reads")
    worker.let_go(first)
    worker.reached(f"{third} computes")  # which came later, and is read no more
    monkeypatch.setattr(pipelines, "resident_memory", lambda _: 3 * MEMORY // 4)
    worker.handed_back(second)
    assert worker.job(third).state is JobState.RUNNING


def test_what_is_only_read_is_the_first_to_go_where_the_machine_runs_out_of_memory(worker: Worker) -> None:
    def score(process: JobProcess) -> int:
        return int(Path(f"/proc/{process.pid}/oom_score_adj").read_text())

    first, second = worker.queued(), worker.queued()
    worker.hold(first)
    worker.hold(second)
    worker.begins(first)
    worker.reached(f"{first} computes", f"{second} reads")
    computing, reading = worker.pipeline.processes
    until(lambda: score(reading) > score(computing), what="its score")
    worker.let_go(first)
    worker.reached(f"{second} computes")
    assert score(reading) == memory_limit.FIRST_TO_GO


def test_a_job_that_was_only_read_is_not_blamed_where_the_kernel_ends_its_process_beside_another(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = [0]
    monkeypatch.setattr(job_process, "kills_for_memory", lambda: kills[0])
    first, second = worker.queued(), worker.queued()
    worker.hold(first)
    worker.begins(first)
    worker.reached(f"{second} reads")
    worker.waits_for_the_device(second)
    kills[0] = 1
    pid = worker.pipeline.processes[1].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    worker.handed_back(second)
    worker.let_go(first)
    worker.ends()
    assert [(job.state, job.attempt) for job in worker.site.jobs()] == [(JobState.DONE, 1)] * 2


def test_a_process_that_only_keeps_a_study_ends_where_another_has_no_memory_to_read_one(worker: Worker) -> None:
    """It is kept in case that it is asked for again, which is worth no attempt at another job."""
    idle = with_both_processes_idle(worker)
    third = worker.queued()
    (worker.folder / f"short {third}").write_text(idle)
    worker.begins(third)
    worker.ends()
    assert (worker.job(third).state, worker.job(third).attempt) == (JobState.DONE, 1)
    assert worker.done().count(f"{third} reads") == 2
    assert not Path(f"/proc/{idle}").exists()


def test_a_job_that_has_no_memory_where_nothing_is_kept_elsewhere_is_tried_again_later(worker: Worker) -> None:
    idle = with_both_processes_idle(worker)
    third = worker.queued()
    (worker.folder / f"short {third}").write_text(f"{idle} 1")
    worker.begins(third)
    worker.ends()
    assert (worker.job(third).state, worker.job(third).error_code) == (JobState.WAITING, "ResourceExhausted")
    assert worker.done().count(f"{third} reads") == 2, "once more, and not for ever"


def test_a_job_that_has_no_memory_beside_another_leaves_that_one_alone(worker: Worker) -> None:
    first, second = worker.queued(), worker.queued()
    worker.hold(first)
    (worker.folder / f"short {second}").write_text("1")
    worker.begins(first)
    worker.reached(f"{first} computes")
    until(lambda: worker.job(second).state is JobState.WAITING, what="its end")
    worker.let_go(first)
    worker.ends()
    assert (worker.job(first).state, worker.done().count(f"{second} reads")) == (JobState.DONE, 1)


def with_both_processes_idle(worker: Worker) -> str:
    """Have a job done by each; gives the id of the process that takes no job of a study which it has not read."""
    first, second = worker.queued(), worker.queued()
    worker.hold(first)
    worker.begins(first)
    worker.reached(f"{first} computes", f"{second} reads")
    worker.let_go(first)
    worker.ends()
    return str(worker.pipeline.processes[1].pid)


def test_memory_is_watched_while_a_worker_stops(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = worker.queued(), worker.queued()
    worker.hold(first, "leaves the device")
    worker.hold(second)
    worker.begins(first)
    worker.reached(f"{first} leaves the device", f"{second} computes")
    worker.stop.set()
    monkeypatch.setattr(pipelines, "resident_memory", lambda _: 3 * MEMORY // 4)
    worker.handed_back(second)
    worker.let_go(first, "leaves the device")
    worker.ends()
    assert worker.job(first).state is JobState.DONE


def test_a_worker_that_stops_waits_for_no_process_that_is_still_starting(worker: Worker) -> None:
    first, second = worker.queued(), worker.queued()
    worker.hold(first)
    worker.begins(first)
    worker.reached(f"{first} computes")
    (worker.folder / "hold start").touch()
    until(lambda: len(worker.starts()) == 2, what="a second process")
    worker.stop.set()
    worker.let_go(first)
    worker.ends()
    assert (worker.job(second).state, worker.job(second).attempt) == (JobState.QUEUED, 0)


def test_a_job_whose_process_is_still_starting_goes_to_one_that_is_ready(worker: Worker) -> None:
    first, second, third = worker.queued(), worker.queued(), worker.queued()
    worker.hold(first)
    worker.begins(first)
    worker.reached(f"{first} computes")
    (worker.folder / "hold start").touch()
    until(lambda: len(worker.starts()) == 2, what="a second process")
    worker.let_go(first)
    until(lambda: worker.computed() == [first, second, third], what="all jobs, in the process that is ready")
    worker.ends()
    assert [job.attempt for job in worker.site.jobs()] == [1, 1, 1]


def test_jobs_in_hand_are_queued_again_where_the_worker_ends_by_an_error(worker: Worker) -> None:
    first, second = worker.queued(), worker.queued()
    worker.hold(first)
    worker.hold(second, "reads")

    def stopping() -> bool:
        if worker.stop.is_set():
            raise KeyboardInterrupt
        return False

    def run() -> None:
        with pytest.raises(KeyboardInterrupt), worker.pipeline.turn:
            worker.pipeline.run(first, stopping)
        worker.pipeline.close()

    worker.runs(run)
    worker.reached(f"{first} computes", f"{second} reads")
    worker.stop.set()
    worker.ends()
    assert [(job.state, job.attempt) for job in worker.site.jobs()] == [(JobState.QUEUED, 0)] * 2


def test_jobs_of_one_study_go_to_the_process_that_has_read_it_while_others_wait(worker: Worker) -> None:
    """Those of another study are as urgent, and came later."""
    one, other = worker.queued_of_a_study(), worker.queued_of_a_study()
    worker.hold(one[0])
    worker.hold(other[0])
    worker.hold(one[1], "reads")
    worker.begins(one[0])
    worker.reached(f"{one[0]} computes", f"{other[0]} reads")
    worker.let_go(one[0])
    worker.reached(f"{one[1]} reads")
    worker.let_go(other[0])
    worker.reached(f"{other[1]} reads")
    assert worker.process_of(one[1]) == worker.process_of(one[0])
    assert worker.process_of(other[1]) == worker.process_of(other[0]) != worker.process_of(one[0])
    worker.let_go(one[1], "reads")
    worker.ends()
    assert [job.state for job in worker.site.jobs()] == [JobState.DONE] * 6


def test_jobs_of_one_study_share_both_processes_where_nothing_else_waits(worker: Worker) -> None:
    first, second, _ = worker.queued_of_a_study()
    worker.hold(first)
    worker.begins(first)
    worker.reached(f"{first} computes", f"{second} reads")
    worker.let_go(first)


def test_a_more_urgent_job_goes_before_others_of_the_study_that_was_read(worker: Worker) -> None:
    one = worker.queued_of_a_study()
    worker.hold(one[0])
    worker.begins(one[0])
    worker.reached(f"{one[0]} computes")
    stat = worker.queued("stat")
    worker.reached(f"{stat} reads")
    worker.let_go(one[0])
    worker.ends()
    assert worker.computed()[:2] == [one[0], stat]


def test_a_catalog_that_hangs_holds_nobody_up_who_leaves_the_device() -> None:
    asked, goes_on = threading.Event(), threading.Event()

    def hangs(_: str) -> None:
        asked.set()
        goes_on.wait(30)

    turn, took = DeviceTurn(may_take=hangs), []
    taker = threading.Thread(target=lambda: took.append(turn.take("1", 30.0)))
    taker.start()
    assert asked.wait(30)
    leaver = threading.Thread(target=turn.leave, args=["2"])
    leaver.start()
    leaver.join(30)
    assert not leaver.is_alive()
    goes_on.set()
    taker.join(30)
    assert (took, turn.holder) == ([True], "1")


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
