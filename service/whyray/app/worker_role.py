"""The worker: takes jobs from the queue, or from the catalog while the queue is away, and has them worked on."""

from __future__ import annotations

import logging
import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import celery.worker.state
from celery import Celery, bootsteps

from whyray.app.context import Context, ProcessHeartbeat
from whyray.app.job_programs import job_process
from whyray.base.errors import WhyRayError
from whyray.base.sources import random_id
from whyray.catalog import JobState
from whyray.jobs.attempt import Work, attempt
from whyray.jobs.job_process import JobProcess
from whyray.jobs.memory_limit import memory_of_a_job
from whyray.jobs.pipeline import Pipeline
from whyray.jobs.queue import RUN_JOB, celery_app, queue_hindrance
from whyray.jobs.result_notices import tell_of_results
from whyray.jobs.standby import Standby

_log = logging.getLogger("whyray.roles")
_PAUSE = 1.0
"""Seconds before a broker that takes no messages is asked again."""


@dataclass
class Worker:
    """One worker: its Celery app, its sign of life, and what runs its jobs."""

    context: Context
    app: Celery
    heartbeat: ProcessHeartbeat
    pipeline: Pipeline
    listening: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def process(self) -> JobProcess:
        """The process that runs its jobs; the only one while no job waits beside one that runs."""
        return self.pipeline.processes[0]

    @property
    def failure(self) -> WhyRayError | None:
        """Why its jobs can't be worked on any more."""
        return self.pipeline.failure

    def run_job(self, job_id: str) -> bool:
        """Make one attempt at a job, and at those that wait meanwhile; the caller holds the pipeline's turn.

        A job is claimed only where something can work on it: a worker that has lost its GPU must not fail them all.
        Says whether jobs can be begun.
        """
        begins = self.pipeline.run(job_id, self._stops)
        if self.failure is not None:
            celery.worker.state.should_stop = 2
        return begins

    def _stops(self) -> bool:
        # Celery sets one of them as soon as SIGTERM or SIGQUIT comes, to the exit code, which may be 0, and acts on it
        # when the task in hand is done
        state = celery.worker.state
        if any(code is not None and code is not False for code in (state.should_stop, state.should_terminate)):
            self.stop.set()  # for who stands by, too: what was handed back is not to be taken again
        return self.stop.is_set()

    def wait_for_queue(self) -> None:
        """Wait until the queue takes messages, or the worker stops.

        One that answers and refuses, as it is out of memory, would be asked anew without a pause.
        """
        while not self._stops() and queue_hindrance(self.context.redis_url) is not None:
            self.stop.wait(_PAUSE)

    @contextmanager
    def standing_by(self) -> Iterator[None]:
        """Take jobs from the catalog, too, while no message can bring them."""
        url, turn = self.context.redis_url, self.pipeline.turn
        standby = Standby(self.context.catalog, self.listening.is_set, lambda: queue_hindrance(url), self.run_job, turn)
        thread = threading.Thread(target=standby.run_until, args=[self.stop], name="standby")
        thread.start()
        try:
            yield
        finally:
            self.stop.set()
            thread.join()

    def close(self) -> None:
        """End the processes of the jobs, and close the catalog."""
        self.pipeline.close()
        self.context.close()


def open_worker(path: Path, first: JobProcess | None = None) -> Worker:
    """A worker that has not started yet; `first` is the process of its jobs, where that has.

    Raises
    ------
    ConfigError
        If the configuration can't be obeyed, and none that was in force before is kept.
    """
    context = Context.open(path, check_apart=True)
    heartbeat = ProcessHeartbeat(context, "worker", hindrance=lambda: queue_hindrance(context.redis_url))
    workers, rng = context.config().workers, random.Random()
    memory = memory_of_a_job(workers)

    def attempted(job_id: str, work: Work) -> JobState | None:
        # each attempt under a name of its own: two containers may be called alike and give their workers one number
        owner = f"{heartbeat.name}:{random_id()[:8]}"
        state = attempt(job_id, owner, context.catalog, context.config, rng, work)
        if state is JobState.DONE:
            tell_of_results(context.redis_url)
        return state

    processes = [first or job_process(path), *([job_process(path)] if workers.reads_ahead else [])]
    for process in processes:
        process.memory = memory
    pipeline = Pipeline(context.catalog, processes, attempted, memory)
    worker = Worker(context, celery_app(context.redis_url), heartbeat, pipeline)

    class Listening(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
        """Knows whether the worker takes messages."""

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, parent: Any) -> None:  # noqa: ARG002
            """The worker is connected."""
            worker.listening.set()

        def stop(self, parent: Any) -> None:  # noqa: ARG002
            """The connection is lost, the broker refuses, or the worker stops."""
            worker.listening.clear()
            worker.wait_for_queue()

    worker.app.steps["consumer"].add(Listening)

    @worker.app.task(name=RUN_JOB, shared=False)  # type: ignore[untyped-decorator]  # celery has no types
    def run(job_id: str) -> None:
        with worker.pipeline.turn:
            worker.run_job(job_id)

    return worker


def run_worker(path: Path, first: JobProcess | None = None) -> None:
    """Take jobs until told to stop: one computes at a time, and the next is read meanwhile.

    `first` is the process of its jobs, where the caller has started it.

    The pool is `solo`: what could need another process is in one of its own anyway. The Celery worker handles SIGTERM
    itself: it lets the job in hand come to its end, hands back what was only read, and stops.
    """
    # Celery warns root of pickled messages, which run what they hold; ours are JSON and name a job
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
    worker = open_worker(path, first)
    try:
        worker.pipeline.start()
        detail = worker.process.ready()
        _log.info("ONNX Runtime %s with %s", detail["onnxruntime"], detail["providers"])
        with worker.heartbeat, worker.standing_by():
            worker.heartbeat.note(providers=detail["providers"], device=worker.context.config().workers.device)
            options = ("--pool=solo", "--without-gossip", "--without-mingle", "--without-heartbeat")
            name = f"--hostname={worker.heartbeat.name}"
            worker.app.worker_main(["--quiet", "worker", *options, name, "--loglevel=INFO"])
        if worker.failure is not None:
            raise worker.failure
    finally:
        worker.close()
