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
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from queue import SimpleQueue

from sqlalchemy.exc import SQLAlchemyError

from whyray.base.errors import NotFound, ResourceExhausted, WhyRayError
from whyray.base.outage_log import OutageLog
from whyray.catalog import Catalog, Job, job_queue, jobs
from whyray.jobs.attempt import Work
from whyray.jobs.device_turn import DeviceTurn, HandedBack
from whyray.jobs.explanation_request import Progress
from whyray.jobs.job_process import JobProcess
from whyray.jobs.lane import Lane
from whyray.jobs.memory_limit import BEFORE_ALL, FIRST_TO_GO, go_first, resident_memory

AHEAD_AFTER = timedelta(seconds=1)
"""A job is read ahead once it has waited so long: until then a worker with nothing to do may take it."""
IDLE = 60.0
"""Seconds without work after which the second process ends."""
_LOOK = 0.2
_LOOK_IN_CATALOG = 0.5
"""Seconds between looks for a job to read ahead."""
_AFTER_FAILURE, _AFTER_FAILURES = 5.0, 30.0
"""Seconds without another job after one that could not be begun: a catalog that takes no writes would refuse it too.
Twice as many after each that follows, up to the second."""
_WANT_OF_MEMORY = "want of memory for two jobs"
_log = logging.getLogger("whyray.worker")


@dataclass
class _WantOfMemory:
    """A job could not be read: who has it waits until the processes without one are ended, which may keep a study."""

    served: threading.Event = field(default_factory=threading.Event)
    was_any_ended: bool = False


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
        self._lanes = [Lane(process) for process in self.processes]
        self._device = DeviceTurn(is_next=self._is_next, may_take=self._give_way, taken=self._taken)
        self._changed = threading.Event()
        self._wants: SimpleQueue[_WantOfMemory] = SimpleQueue()
        self._looked = self._begin_after = 0.0
        self._begin_wait = _AFTER_FAILURE
        self._beginning, self._looking = OutageLog(_log, "beginning jobs"), OutageLog(_log, "looking for jobs")
        self._alone = False
        self._retiring: threading.Timer | None = None

    def run(self, job_id: str, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Work on a job, and on those that have waited meanwhile, until none is in hand; the caller holds `turn`.

        Once it is `stopping`, what computes or is stored comes to its end, and what was only read is handed back.
        Says whether jobs can be begun: false where the last could not, which may have been the catalog's fault.
        """
        if stopping():
            return False
        self.failure, self._alone = None, False
        try:
            with self.catalog.read() as session:
                job = jobs.get(session, job_id)
        except NotFound:  # a message may come late: the job's study has been deleted
            _log.debug("job %s is gone", job_id)
            return not self._beginning.lasts
        except (WhyRayError, SQLAlchemyError) as error:
            self._not_begun(job_id, error)
            return False
        if self._retiring is not None:
            self._retiring.cancel()
        self._begin(self._lane_for(job), job)
        stops = False
        try:
            while self._in_hand():
                self._changed.wait(_LOOK)
                self._changed.clear()
                stops = self.failure is not None or stopping()
                self._end_idle_where_wanted()
                self._keep_to_memory()
                if stops:
                    self._hand_back("the worker stops")
                else:
                    self._look_for_more()
        finally:
            self._hand_back_all()  # only where it ends by an exception
        if not stops:
            self.start()  # where it died: it loads its libraries while nothing is to be done
        self._retire_later()
        return not self._beginning.lasts

    def _in_hand(self) -> list[Lane]:
        return [lane for lane in self._lanes if lane.job_id is not None]

    def start(self) -> None:
        """Start the first process, where it does not run; while nothing is in hand."""
        self._lanes[0].start()

    def close(self) -> None:
        """Hand back what is in hand, and end the processes."""
        if self._retiring is not None:
            self._retiring.cancel()
        self._hand_back_all()
        for lane in self._lanes:
            lane.end()

    # --- a job --------------------------------------------------------------------------------------------------------
    def _begin(self, lane: Lane, job: Job) -> None:
        lane.begin(job.id, job.priority, job.study_id, partial(self._do, lane, job.id))

    def _lane_for(self, job: Job) -> Lane:
        """While nothing is in hand: the process that has read the job's study and is ready, else the first."""
        return next(
            (lane for lane in self._lanes if lane.keeps == job.study_id and lane.process.is_ready), self._lanes[0]
        )

    def _do(self, lane: Lane, job_id: str) -> None:
        was_begun = False

        def work(claimed_id: str, owner: str, progress: Progress) -> None:
            nonlocal was_begun
            was_begun = True
            self._begun()
            self._work(lane, claimed_id, owner, progress)

        try:
            if self._is_ready(lane):
                lane.claim()
                self.attempt(job_id, work)
                if not was_begun:  # it is another's, or done; since one was begun the catalog may have gone
                    self._begun()
        except HandedBack as reason:
            _log.debug("job %s was not begun, for %s", job_id, reason)
        except Exception as error:  # whatever it is, one job that trips it must not end the worker
            self._not_begun(job_id, error)
        finally:
            lane.free()
            self._looked = 0.0
            self._changed.set()

    def _not_begun(self, job_id: str, error: Exception) -> None:
        self._beginning.failed(error, f"job {job_id}")
        self._begin_after = time.monotonic() + self._begin_wait
        self._begin_wait = min(2 * self._begin_wait, _AFTER_FAILURES)

    def _begun(self) -> None:
        self._beginning.well()
        self._begin_after, self._begin_wait = 0.0, _AFTER_FAILURE

    def _is_ready(self, lane: Lane) -> bool:
        """Whether its process can work. Where the first can't, the worker can't; without the second, it reads nothing
        ahead for now."""
        try:
            lane.process.ready(lane.check)
        except WhyRayError as error:
            if lane is self._lanes[0]:
                self.failure = error
            else:
                self._alone = True
                _log.error("no job is read ahead: %s: %s", error.code, error.message)
            return False
        return True

    def _work(self, lane: Lane, job_id: str, owner: str, progress: Progress) -> None:
        """Have the work done on a job that was claimed."""

        def told(done: float, words: str) -> None:
            lane.check()
            progress(done, words)

        lane.check()
        if len(self._lanes) > 1 and (pid := lane.process.pid) is not None:
            go_first(pid, BEFORE_ALL)
        try:
            try:
                lane.process.work(job_id, owner, told, self._device)
            except ResourceExhausted as error:
                # what was refused, not ended, before its turn: another process may only keep what it had read
                if not (lane.is_ahead and lane.process.is_ready and self._are_idle_ended(lane)):
                    raise
                _log.info("job %s is read once more: %s", job_id, error.message)
                lane.process.work(job_id, owner, told, self._device)
        except ResourceExhausted as error:
            if lane.is_ahead and lane.process.was_ended_for_memory and len(self._in_hand()) > 1:
                self._alone = True
                _log.warning("%s: no other is read beside the one in hand", error.message)
                raise HandedBack(_WANT_OF_MEMORY) from error
            raise

    # --- which job is next --------------------------------------------------------------------------------------------
    def _look_for_more(self) -> None:
        """Begin what waits where a process is free; where none is, hand back what is read ahead of something more
        urgent."""
        in_hand = self._in_hand()
        if time.monotonic() < self._begin_after:
            return
        if not in_hand:
            self._alone = False
        elif self._alone or time.monotonic() - self._looked < _LOOK_IN_CATALOG:
            return
        self._looked = time.monotonic()
        free = sorted((lane for lane in self._lanes if lane.job_id is None), key=lambda lane: not lane.process.is_ready)
        try:
            if not free:
                self._give_place()
            elif not (free[0].process.is_ready and self._hand_over()) and (job := self._next(free[0])) is not None:
                self._begin(free[0], job)
            self._looking.well()
        except (WhyRayError, SQLAlchemyError) as error:
            self._looking.failed(error)

    def _hand_over(self) -> bool:
        """Take back the job of a process that is still starting, for one that is ready; says whether there is one."""
        reason = HandedBack("a process that is ready")
        handed_over = [lane for lane in self._lanes if lane.hand_back(reason, is_claimed=False)]
        return bool(handed_over)

    def _next(self, lane: Lane) -> Job | None:
        """The job to be begun beside those in hand: at once where nothing of theirs is left to be computed, else when
        nobody else took it.

        A study that another process has read is left to that one, where another job that is as urgent waits.
        """
        computed = all(lane.at_the_device for lane in self._in_hand())
        waiting_for = None if computed and self._device.holder is None else AHEAD_AFTER
        with self.catalog.read() as session:
            job_id = job_queue.next_claimable(
                session, self.catalog.clock(), waiting_for=waiting_for, besides=self._jobs_in_hand()
            )
            if job_id is None:
                return None
            job = jobs.get(session, job_id)
            elsewhere = [other.keeps for other in self._lanes if other is not lane and other.keeps is not None]
            if job.study_id in elsewhere:
                another = job_queue.next_claimable(
                    session,
                    self.catalog.clock(),
                    waiting_for=waiting_for,
                    before=job.priority + 1,
                    besides=self._jobs_in_hand(),
                    besides_studies=elsewhere,
                )
                job = job if another is None else jobs.get(session, another)
            return job

    def _jobs_in_hand(self) -> list[str]:
        return [job_id for lane in self._lanes if (job_id := lane.job_id) is not None]

    def _give_place(self) -> None:
        """Hand back the least urgent of the jobs that are only read, where a more urgent one waits for a process."""
        ahead = [lane for lane in self._lanes if lane.is_ahead]
        if ahead and not any(lane.handed_back for lane in self._lanes):
            self._hand_back_for_more_urgent(max(ahead, key=lambda lane: (lane.priority, lane.since)))

    def _hand_back_for_more_urgent(self, lane: Lane) -> None:
        with self.catalog.read() as session:
            before = job_queue.next_claimable(
                session, self.catalog.clock(), before=lane.priority, besides=self._jobs_in_hand()
            )
        if before is not None:
            lane.hand_back(HandedBack(f"the more urgent job {before}"))

    def _lane_of(self, job_id: str) -> Lane:
        (lane,) = [lane for lane in self._lanes if lane.job_id == job_id]
        return lane

    def _is_next(self, job_id: str) -> bool:
        """Whether no more urgent job is being read: it has its turn first, though it is not ready for it yet."""
        lane = self._lane_of(job_id)
        return not any(other.is_ahead and other.priority < lane.priority for other in self._lanes)

    def _give_way(self, job_id: str) -> None:
        """Before a job takes the device: it was read ahead, and something more urgent may have come.

        Raises
        ------
        HandedBack
            If so: who waits for the most urgent job waits for one other at most.
        """
        lane = self._lane_of(job_id)
        if len(self._lanes) > 1:
            try:
                self._hand_back_for_more_urgent(lane)
            except SQLAlchemyError as error:
                self._looking.failed(error)
        lane.check()

    def _taken(self, job_id: str) -> None:
        lane = self._lane_of(job_id)
        lane.take_device()
        if len(self._lanes) > 1 and (pid := lane.process.pid) is not None:
            go_first(pid, FIRST_TO_GO)

    # --- what is handed back ------------------------------------------------------------------------------------------
    def _hand_back(self, why: str) -> None:
        for lane in self._lanes:
            lane.hand_back(HandedBack(why))

    def _hand_back_all(self) -> None:
        """Hand back whatever is in hand, also what computes, and wait until nothing is."""
        for lane in self._in_hand():
            lane.hand_back(HandedBack("the worker stops"), at_the_device=True)
        while self._in_hand():
            self._changed.wait(_LOOK)
            self._changed.clear()

    # --- memory -------------------------------------------------------------------------------------------------------
    def _keep_to_memory(self) -> None:
        """Together the processes hold no more than one may: of two jobs one that is only read is handed back, else the
        one that came later, and an idle process ends."""
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
            later = max([lane for lane in busy if lane.is_ahead] or busy, key=lambda lane: lane.since)
            later.hand_back(HandedBack(_WANT_OF_MEMORY, at_once=True), at_the_device=True)
            _log.warning("the two jobs in hand hold more than %d MiB: job %s waits", self.memory >> 20, later.job_id)

    def _are_idle_ended(self, lane: Lane) -> bool:
        """Have idle processes ended; says whether there was one. Raises HandedBack if the lane's job is to be.

        By the thread that begins jobs: to no other a process stays idle while it is ended.
        """
        want = _WantOfMemory()
        self._wants.put(want)
        self._changed.set()
        while not want.served.wait(_LOOK):
            lane.check()
        return want.was_any_ended

    def _end_idle_where_wanted(self) -> None:
        while not self._wants.empty():
            want = self._wants.get()
            for lane in self._lanes:
                if lane.job_id is None and lane.process.pid is not None:
                    lane.process.stop()
                    self._alone = want.was_any_ended = True  # else another is read there at once, and takes as much
            want.served.set()

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
