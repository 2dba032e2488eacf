"""The worker with the process that it really has: a graph that never ends costs one job, in words."""

from __future__ import annotations

import sys
from pathlib import Path

import celery.worker.state
import onnx
import pytest
from onnx import TensorProto, helper

from planted import planted_package
from site_under_test import ROUTE, Site, film, site
from whyray.app.job_program import runtime_options
from whyray.app.job_programs import job_process
from whyray.app.worker_role import open_worker
from whyray.catalog import JobState
from whyray.jobs import cores
from whyray.jobs.attempt import Work
from whyray.jobs.job_process import JobProcess
from whyray.jobs.memory_limit import memory_of_a_job
from whyray.jobs.pipeline import Pipeline
from whyray.jobs.queue import RUN_JOB, celery_app

__all__ = ["site"]


def hung_package(folder: Path) -> None:
    """The planted package with 2^40 steps between its features and its answer."""
    path = planted_package(folder, shape=(48, 48), modalities=("CR", "DX"), name="hung") / "model.onnx"
    model = onnx.load(path)
    last = model.graph.node[-1]
    last.output[0] = "answer"
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    flag = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("on", "go on")]
    count = helper.make_tensor_value_info("step", TensorProto.INT64, [])
    steps = [helper.make_node("Sin", ["x"], ["y"]), helper.make_node("Identity", ["on"], ["go on"])]
    body = helper.make_graph(steps, "step", [count, flag[0], value[0]], [flag[1], value[1]])
    model.graph.initializer.append(helper.make_tensor("steps", TensorProto.INT64, [], [2**40]))
    model.graph.initializer.append(helper.make_tensor("true", TensorProto.BOOL, [], [True]))
    model.graph.node.append(helper.make_node("Loop", ["steps", "true", "answer"], ["logits"], body=body))
    onnx.save(model, path)


def test_a_graph_that_never_ends_is_ended_at_its_time_and_the_worker_is_there_for_the_next_job(site: Site) -> None:
    hung_package(site.folder / "packages")
    site.configure(routes=[ROUTE | {"run": "hung@1", "explain": [], "budget": {"job_time": "2s"}}])
    site.receive([film()])
    site.router().step()
    worker = open_worker(site.folder / "whyray.yaml")
    try:
        assert "CPUExecutionProvider" in worker.process.ready()["providers"]
        worker.run_job(site.jobs()[0].id)
        (job,) = site.jobs()
        assert (job.state, job.error_code, job.attempt) == (JobState.FAILED, "TimeLimit", 1)
        assert "it was at: running hung; it did not come back from there" in (job.error_message or "")
        assert worker.failure is None
        assert worker.process.pid is not None, "another one is there already"
    finally:
        worker.close()


@pytest.mark.parametrize(("told", "code"), [("should_stop", 0), ("should_terminate", 1)], ids=["SIGTERM", "SIGQUIT"])
def test_a_worker_that_is_told_to_stop_ends_the_job_in_hand_and_leaves_the_others(
    site: Site, monkeypatch: pytest.MonkeyPatch, told: str, code: int
) -> None:
    for number in (1, 2):
        site.receive([film(number, study=f"study {number}", series=f"series {number}")])
    site.router().step()
    first, second = (job.id for job in site.jobs())
    worker = open_worker(site.folder / "whyray.yaml")
    paced = Path(__file__).parents[1] / "jobs" / "paced.py"
    program = [sys.executable, str(paced), str(site.folder), site.catalog.url.render_as_string()]
    process = JobProcess(program, memory=400 << 20)
    attempt = worker.pipeline.attempt

    def attempted(job_id: str, work: Work) -> None:
        attempt(job_id, work)
        monkeypatch.setattr(celery.worker.state, told, code)

    worker.pipeline = Pipeline(worker.context.catalog, [process], attempted, 400 << 20)
    try:
        worker.run_job(first)
        states = {job.id: (job.state, job.attempt) for job in site.jobs()}
        assert states == {first: (JobState.DONE, 1), second: (JobState.QUEUED, 0)}
    finally:
        worker.close()


@pytest.mark.parametrize(
    ("workers", "count"),
    [({}, 2), ({"device": "cuda"}, 1), ({"device": "cuda", "read_ahead": True}, 2), ({"read_ahead": False}, 1)],
)
def test_a_worker_reads_ahead_unless_told_otherwise_and_on_a_gpu_only_where_told(
    site: Site, workers: dict[str, object], count: int
) -> None:
    site.configure(workers=workers)
    worker = open_worker(site.folder / "whyray.yaml")
    try:
        assert len(worker.pipeline.processes) == count
    finally:
        worker.close()


def test_a_process_that_was_started_before_may_hold_what_the_configuration_says(site: Site) -> None:
    site.configure(workers={"memory": "3 GB", "read_ahead": False})
    first = job_process(site.folder / "whyray.yaml")
    worker = open_worker(site.folder / "whyray.yaml", first)
    try:
        assert worker.pipeline.processes == [first]
        assert first.memory == memory_of_a_job(worker.context.config().workers) == 3 * 10**9
    finally:
        worker.close()


@pytest.mark.parametrize(("workers", "threads"), [({}, None), ({"count": 2}, 3), ({"count": 2, "threads": 5}, 5)])
def test_workers_of_one_machine_divide_its_cores(
    site: Site, workers: dict[str, int], threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 6)
    monkeypatch.setattr(cores, "cpu_quota", lambda: None)
    site.configure(workers=workers)
    options = runtime_options(site.config)
    assert (options.intra_op_threads, options.sharing) == (threads, workers.get("count", 1))


def test_what_a_worker_does_with_a_message_is_its_own_and_no_other_apps(site: Site) -> None:
    """Celery gives a task to all apps of a process unless told not to: another worker would do the first one's jobs."""
    worker = open_worker(site.folder / "whyray.yaml")
    try:
        other = celery_app(worker.context.redis_url)
        other.finalize()
        worker.app.finalize()
        assert RUN_JOB in worker.app.tasks
        assert RUN_JOB not in other.tasks
    finally:
        worker.close()
