"""The worker with the process that it really has: a graph that never ends costs one job, in words."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from planted import planted_package
from site_under_test import ROUTE, Site, film, site
from whyray.app.worker_role import open_worker
from whyray.catalog import JobState

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
