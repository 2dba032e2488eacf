"""One worker's jobs in hand: while one computes, the next is read, and the results of the last are made and stored.

Each of the two runs in a process of its own, as an attempt of its own, with its own lease: what one does to its process
the other does not notice. They take turns at the device, from the first pass of a job to its last. The second process
starts when a job waits beside one that runs, and ends when it has had nothing to do for a while.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from whyray.base.errors import WhyRayError
from whyray.base.failures import logged
from whyray.catalog import Catalog, jobs
from whyray.jobs.attempt import Work
from whyray.jobs.device_turn import DeviceTurn, HandedBack
from whyray.jobs.explanation_request import Progress
from whyray.jobs.job_process import JobProcess
from whyray.jobs.memory_limit import resident_memory

AHEAD_AFTER = timedelta(seconds=1)
"""A job is read ahead once it has waited so long: until then a worker with nothing to do may take it."""
IDLE = 60.0
"""Seconds without work after which the second process ends."""
_LOOK = 0.2
_LOOK_IN_CATALOG = 0.5
"""Seconds between looks for a job to read ahead."""
_log = logging.getLogger("whyray.worker")


@dataclass(eq=False)
class _Lane:
    """A process, and the job that it has."""

    process: JobProcess
    job_id: str | None = None
    priority: int = 0
    since: float = 0.0
    """When it took the job, or gave it up."""
    at_the_device: bool = False
    """Whether its job has, or had, its turn."""
    handed_back: str | None = None
    """Why its job is to be handed back."""
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="job"))
    """Starts the process, and has it work: the one thread of the lane. It lasts, for Linux ends a process that is to
    end with its parent when the thread ends that has started it."""

    @property
    def is_ahead(self) -> bool:
        """Whether its job is read ahead, and nothing has been computed of it."""
        return self.job_id is not None and not self.at_the_device and self.handed_back is None


@dataclass
class Pipeline:
    """What runs the jobs of one worker.

    Parameters
    ----------
    processes
        One, or two where the next job is to be read while one computes.
    attempt
        Makes one attempt at a job, with what does its work; never raises for what went wrong with the job.
    memory
        Bytes that the processes may hold together; each by itself is held to them by `JobProcess`.
    """

    catalog: Catalog
    processes: Sequence[JobProcess]
    attempt: Callable[[str, Work], object]
    memory: int
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Held while jobs are in hand."""
    failure: WhyRayError | None = None
    """Why no job can be worked on any more."""

    def __post_init__(self) -> None:
        self._lanes = [_Lane(process) for process in self.processes]
        self._device = DeviceTurn(self._give_way)
        self._changed = threading.Event()
        self._looked = 0.0
        self._alone = False
        self._retiring: threading.Timer | None = None

    def run(self, job_id: str, stopping: Callable[[], bool] = lambda: False) -> None:
        """Work on a job, and on those that have waited meanwhile, until none is in hand; the caller holds `turn`.

        Once it is `stopping`, what computes or is stored comes to its end, and what was only read is handed back.
        """
        if stopping():
            return
        if self._retiring is not None:
            self._retiring.cancel()
        self.failure, self._alone = None, False
        self._begin(self._lanes[0], job_id)
        while self.failure is None:
            self._changed.wait(_LOOK)
            self._changed.clear()
            if stopping():
                self._hand_back("the worker stops")
            else:
                self._keep_to_memory()
                self._look_for_more()
            if not self._in_hand():
                break
        for lane in self._in_hand():  # only where the first process has failed
            lane.thread.submit(lambda: None).result()
        if self.failure is None:
            self.start()  # where it died: it loads its libraries while nothing is to be done
        self._retire_later()

    def _in_hand(self) -> list[_Lane]:
        return [lane for lane in self._lanes if lane.job_id is not None]

    def start(self) -> None:
        """Start the first process, where it does not run."""
        first = self._lanes[0]
        first.thread.submit(first.process.start).result()

    def close(self) -> None:
        """End the processes."""
        if self._retiring is not None:
            self._retiring.cancel()
        for lane in self._lanes:
            lane.process.stop()
            lane.thread.shutdown()

    # --- a job --------------------------------------------------------------------------------------------------------
    def _begin(self, lane: _Lane, job_id: str) -> None:
        lane.job_id, lane.since, lane.priority = job_id, time.monotonic(), 0
        lane.at_the_device, lane.handed_back = False, None
        lane.thread.submit(self._do, lane, job_id)

    def _do(self, lane: _Lane, job_id: str) -> None:
        def work(claimed: str, owner: str, progress: Progress) -> None:
            def told(done: float, words: str) -> None:
                if lane.handed_back is not None:
                    raise HandedBack(lane.handed_back)
                progress(done, words)

            lane.process.work(claimed, owner, told, self._device)

        try:
            if self._is_ready(lane) and lane.handed_back is None:
                lane.priority = self._priority_of(job_id)
                self.attempt(job_id, work)
        except (WhyRayError, SQLAlchemyError) as error:
            _log.error("job %s was not begun: %s", job_id, type(error).__name__)
        except Exception as error:  # one job that trips it must not end the worker
            logged(_log, error, f"job {job_id}")
        finally:
            lane.job_id, lane.since, self._looked = None, time.monotonic(), 0.0
            self._changed.set()

    def _is_ready(self, lane: _Lane) -> bool:
        """Whether its process can work. Where the first can't, the worker can't; without the second, it reads nothing
        ahead for now."""
        try:
            lane.process.ready()
        except WhyRayError as error:
            if lane is self._lanes[0]:
                self.failure = error
            else:
                self._alone = True
                _log.error("no job is read ahead: %s: %s", error.code, error.message)
            return False
        return True

    def _priority_of(self, job_id: str) -> int:
        with self.catalog.read() as session:
            return jobs.get(session, job_id).priority

    # --- which job is next --------------------------------------------------------------------------------------------
    def _look_for_more(self) -> None:
        """Hand back what is read ahead where something more urgent waits, and read ahead what waits."""
        if not self._in_hand():
            self._alone = False
        elif self._alone or time.monotonic() - self._looked < _LOOK_IN_CATALOG:
            return
        self._looked = time.monotonic()
        try:
            for lane in self._lanes:
                if lane.is_ahead and self._device.holder not in (None, lane.job_id):
                    self._hand_back_for_more_urgent(lane)
            free = next((lane for lane in self._lanes if lane.job_id is None), None)
            found = None if free is None else self._next()
        except SQLAlchemyError as error:
            _log.error("the catalog can't be reached: %s", type(error).__name__)
            return
        if free is not None and found is not None:
            self._begin(free, found)

    def _next(self) -> str | None:
        """The job to be begun beside those in hand: at once where nothing of theirs is left to be computed, else when
        nobody else took it."""
        computed = all(lane.at_the_device for lane in self._in_hand())
        with self.catalog.read() as session:
            waiting_for = None if computed and self._device.holder is None else AHEAD_AFTER
            found = jobs.next_claimable(session, self.catalog.clock(), waiting_for=waiting_for)
        return None if found in [lane.job_id for lane in self._lanes] else found

    def _hand_back_for_more_urgent(self, lane: _Lane) -> None:
        with self.catalog.read() as session:
            before = jobs.next_claimable(session, self.catalog.clock(), before=lane.priority)
        if before is not None and before not in [other.job_id for other in self._lanes]:
            lane.handed_back = f"the more urgent job {before}"

    def _give_way(self, job_id: str) -> None:
        """Before a job takes the device: it was read ahead, and something more urgent may have come.

        Raises
        ------
        HandedBack
            If so: who waits for the most urgent job waits for one other at most.
        """
        (lane,) = [lane for lane in self._lanes if lane.job_id == job_id]
        if len(self._lanes) > 1:
            try:
                self._hand_back_for_more_urgent(lane)
            except SQLAlchemyError as error:
                _log.error("the catalog can't be reached: %s", type(error).__name__)
        if lane.handed_back is not None:
            self._looked = 0.0
            raise HandedBack(lane.handed_back)
        lane.at_the_device = True

    def _hand_back(self, why: str) -> None:
        for lane in self._lanes:
            if lane.is_ahead:
                lane.handed_back = why

    # --- memory -------------------------------------------------------------------------------------------------------
    def _keep_to_memory(self) -> None:
        """Together the processes hold no more than one may: of two jobs the one that came later is handed back, and an
        idle process ends."""
        pids = [lane.process.pid for lane in self._lanes]
        if sum(resident_memory(pid) for pid in pids if pid is not None) <= self.memory:
            return
        busy = self._in_hand()
        if len(busy) < len(self._lanes):
            for lane in self._lanes:
                if lane.job_id is None:
                    lane.process.stop()
            return
        if not self._alone and len(busy) > 1:
            self._alone = True
            later = max(busy, key=lambda lane: lane.since)
            later.handed_back = "want of memory for two jobs"
            _log.warning("the two jobs in hand hold more than %d MiB: the later one waits", self.memory >> 20)

    def _retire_later(self) -> None:
        if any(lane.process.pid is not None for lane in self._lanes[1:]):
            self._retiring = threading.Timer(IDLE, self._retire)
            self._retiring.daemon = True
            self._retiring.start()

    def _retire(self) -> None:
        if self.turn.acquire(blocking=False):
            try:
                for lane in self._lanes[1:]:
                    lane.process.stop()
            finally:
                self.turn.release()
