"""What has to happen by itself: routing, waking jobs that wait, sending messages anew, forgetting what is old.

Every step reads the catalog and may be repeated; several schedules beside each other do no harm.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from whyray.app.retention import NO_SWEEP_FOR, Retention
from whyray.app.route_studies import StudyRouter
from whyray.base.errors import StorageUnavailable
from whyray.base.failures import typed_error
from whyray.base.outage_log import OutageLog
from whyray.base.sources import this_boot
from whyray.catalog import Catalog, attempts, clock_readings, clock_steps, job_queue, jobs, tallies

_log = logging.getLogger("whyray.schedule")
SEND_AGAIN_AFTER = timedelta(seconds=90)
"""Once the broker is empty, a queued job whose message is older than this gets another: the first was lost."""

SET_BACK = timedelta(seconds=20)
"""By how much the clock must fall behind between two steps to be taken as set back; less than that is waited out."""

SET_FORWARD = timedelta(seconds=20)
"""By how much it must run ahead to be taken as set forward: what was stored before is younger than it looks."""


@dataclass
class Schedule:
    """The clockwork of one process.

    `send` puts one job's message into the queue (job id, priority); `backlog` counts the messages that wait there.
    """

    catalog: Catalog
    router: StudyRouter
    retention: Retention
    send: Callable[[str, int], None]
    backlog: Callable[[], int]
    compare: Callable[[], int] = lambda: 0
    """Looks at contents that came under known UIDs."""
    check_storage: Callable[[], None] = lambda: None
    """Raises StorageUnavailable while no job could be begun, for storage is away or has no room."""
    check_storage_every: float = 10.0
    """Seconds."""
    housekeeping_every: timedelta = timedelta(minutes=5)
    fold_every: timedelta = timedelta(seconds=10)
    read_clock_every: float = 10.0
    """Seconds after which the catalog is told what the clock says."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds that nobody sets."""
    boot: str = field(default_factory=this_boot)
    """Within what `monotonic` goes on."""
    _last_step: tuple[datetime, float] | None = field(default=None)
    _clock_kept_at: float | None = field(default=None)
    _sweep_after: float | None = field(default=None)
    _kept_house_at: datetime | None = field(default=None)
    _folded_at: datetime | None = field(default=None)
    _storage_was_well: bool = field(default=False)
    _checked_storage_at: float | None = field(default=None)
    _stirred: threading.Event = field(default_factory=threading.Event)
    _sending: OutageLog = field(default_factory=lambda: OutageLog(_log, "sending jobs to the queue"))
    _comparing: OutageLog = field(default_factory=lambda: OutageLog(_log, "comparing contents that came again"))

    def step(self) -> None:
        """Route, wake jobs, send their messages, compare what came again and, every few minutes, forget what is old."""
        heeded_at = self._heed_the_clock()
        self.router.step()
        now = self.catalog.clock()
        self._heed_storage(now)
        with self.catalog.read() as session:
            jobs_are_open = job_queue.any_open(session)
        if jobs_are_open:
            with self.catalog.begin() as session:
                jobs.wake(session, now)
            self.dispatch()
        self._compare()
        if self._folded_at is None or now - self._folded_at >= self.fold_every:
            self._folded_at = now
            self._fold()
        if self._kept_house_at is None or now - self._kept_house_at >= self.housekeeping_every:
            self._kept_house_at = now
            # by the clock as it was heeded: it may have been set forward since
            may_sweep = self._sweep_after is None or self.monotonic() >= self._sweep_after
            self.retention.step(heeded_at, may_sweep=may_sweep)

    def _heed_the_clock(self) -> datetime:
        """Where the clock was set back since the last step, move what waits for a time by as much; says what it says.

        At the first step: since any schedule of this installation has told the catalog what its clock says.
        """
        now, seconds = self.catalog.clock(), self.monotonic()
        if self._last_step is None:
            with self.catalog.read() as session:
                back = clock_readings.set_back(session, self.boot, now, seconds)
                forward = clock_readings.set_forward(session, self.boot, now, seconds)
                self._sweep_after = clock_readings.sweep_after(session, self.boot)
        else:
            then, seconds_then = self._last_step
            back = timedelta(seconds=seconds - seconds_then) - (now - then)
            forward = -back
        was_set_forward = forward >= SET_FORWARD
        if was_set_forward:
            _log.warning("the clock was set forward by %.0f s, or the machine slept", forward.total_seconds())
            self._sweep_after = seconds + NO_SWEEP_FOR.total_seconds()
        was_set_back = back >= SET_BACK
        is_due = self._clock_kept_at is None or seconds - self._clock_kept_at >= self.read_clock_every
        if was_set_back or was_set_forward or is_due:
            with self.catalog.begin() as session:
                if was_set_back:
                    _log.warning("the clock was set back by %.0f s", back.total_seconds())
                    clock_steps.moved(session, back, now)
                # what was set forward is told before anything is swept: who is started next can't see it any more
                clock_readings.keep(
                    session, self.boot, now, seconds, was_set_back=was_set_back, sweep_after=self._sweep_after
                )
            self._clock_kept_at = seconds
            if was_set_back:
                self._kept_house_at = self._folded_at = None
        self._last_step = now, seconds
        return now

    def _heed_storage(self, now: datetime) -> None:
        """Once storage is well again, or may be so since the start, what waits for it does so no longer.

        Where it is another machine whose storage is away, nothing is seen here: what waits goes on by its back-off.
        """
        seconds = self.monotonic()
        if self._checked_storage_at is not None and seconds - self._checked_storage_at < self.check_storage_every:
            return
        self._checked_storage_at = seconds
        try:
            self.check_storage()
        except StorageUnavailable:
            self._storage_was_well = False
            return
        if not self._storage_was_well:
            with self.catalog.begin() as session:
                ended = attempts.end_waits_for_storage(session, now)
            if ended:
                _log.warning("storage is well again: %d jobs and deliveries that waited for it go on", ended)
        self._storage_was_well = True

    def _compare(self) -> None:
        """After the studies that wait for a job: reading contents may take its time, or fail, and holds up none."""
        try:
            self.compare()
            self._comparing.well()
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and typed_error(error).retriable:
                raise  # the catalog is away, for all
            self._comparing.failed(error)

    def _fold(self) -> None:
        with self.catalog.read() as session:
            changes = tallies.has_changes(session)
        if changes:
            with self.catalog.begin() as session:
                tallies.fold(session)

    def dispatch(self) -> int:
        """Send a message for each job that needs one; says how many went out."""
        now = self.catalog.clock()
        again_after = None if self._messages_wait() else SEND_AGAIN_AFTER
        with self.catalog.begin() as session:
            waiting = [(job.id, job.priority) for job in job_queue.to_dispatch(session, now, again_after=again_after)]
        sent = 0
        for job_id, priority in waiting:
            try:
                self.send(job_id, priority)
                sent += 1
                self._sending.well()
            except _refusal_of_messages() as error:
                self._sending.failed(error)
                with self.catalog.begin() as session:
                    job_queue.undispatch(session, [unsent_id for unsent_id, _ in waiting[sent:]])
                break
        return sent

    def _messages_wait(self) -> bool:
        try:
            return self.backlog() > 0
        except _silence_of_the_broker():
            return True

    def stir(self) -> None:
        """Step now rather than at the next tick: something has happened that routing may wait for."""
        self._stirred.set()

    def run(self, stop: threading.Event, *, tick: float = 0.5) -> None:
        """Step until told to stop; an outage of catalog or queue is waited out."""
        threading.Thread(target=self._stir_at, args=[stop], name="whyray-schedule-end", daemon=True).start()
        outage = OutageLog(_log, "the schedule")
        while not stop.is_set():
            self._stirred.clear()
            try:
                self.step()
                outage.well()
            except Exception as error:  # one study that trips the schedule must not stop the hospital's others
                outage.failed(error)
            self._stirred.wait(tick)

    def _stir_at(self, stop: threading.Event) -> None:
        stop.wait()
        self.stir()


def _refusal_of_messages() -> tuple[type[Exception], ...]:
    """What `send` raises; its library is imported by then, and not before a first message is sent."""
    from kombu.exceptions import OperationalError

    return OperationalError, _silence_of_the_broker()


def _silence_of_the_broker() -> type[Exception]:
    """What `backlog` raises; likewise."""
    from redis.exceptions import RedisError

    return RedisError
