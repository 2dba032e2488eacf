"""WhyRay as performer of workitems (PS3.4 CC.2, IHE AI Workflow for Imaging): claim, fetch, work, tell, close.

What is to be done next stands in the catalog (`Workitem.stage`) before it is done, and each stage may be done twice:
after a kill, another process goes on where this one stopped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from pydicom import Dataset

from whyray.base.errors import (
    ImageError,
    InputChanged,
    PeerUnreachable,
    WhyRayError,
    WorkitemConflict,
    WorkitemInvalid,
)
from whyray.base.outage_log import OutageLog
from whyray.base.sources import is_due
from whyray.catalog import Catalog, Workitem, WorkitemStage, WorkitemState, events, workitems
from whyray.config import Config, DicomWebDestination, Orders, Task
from whyray.storage import Storage
from whyray.worklist.datasets import discontinued, performed, progress
from whyray.worklist.fetch import Keep, fetch
from whyray.worklist.outcome import Standing, here, outputs_of, standing, stop_jobs
from whyray.worklist.workitem import Code, Input, Order, keep, kept, read_order

_LOOK_AGAIN = timedelta(seconds=2)
_LOOK_SELDOM = 10
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=10)
_MOST_ATTEMPTS = 60
"""Of one stage, before it is given up: more than nine hours."""
_log = logging.getLogger("whyray.worklist")
S = WorkitemStage


class Worklist(Protocol):
    """What a performer asks of a worklist; `OwnWorklist` and `RemoteWorklist` are such."""

    @property
    def name(self) -> str:
        """Its name in the configuration; empty for WhyRay's own."""

    def find(self, codes: Collection[Code]) -> list[Dataset]:
        """Workitems with one of these codes that are scheduled and whose input is ready."""

    def claim(self, uid: str, transaction_uid: str) -> None:
        """Make it IN PROGRESS under this Transaction UID."""

    def retrieve(self, uid: str) -> Dataset:
        """The workitem as it is now."""

    def update(self, uid: str, transaction_uid: str | None, changes: Dataset) -> None:
        """Change attributes."""

    def finish(self, uid: str, transaction_uid: str, state: WorkitemState) -> None:
        """Close it."""


@dataclass(frozen=True)
class Source:
    """A worklist, what is taken from it, and how often it is asked."""

    worklist: Worklist
    orders: Orders
    poll: timedelta


MakeJobs = Callable[[str, Order], list[str]]
"""Name of a route, and what is ordered → ids of the jobs that do it; asked again, it gives the same jobs."""


@dataclass
class Performer:
    """The clockwork that performs workitems; any number of these may run beside each other.

    Parameters
    ----------
    sources
        The worklists in force now, by name.
    make_jobs
        Jobs for what is here; raises a WhyRayError if the route can't do it.
    uid_source
        Makes Transaction UIDs.
    """

    catalog: Catalog
    storage: Storage
    config: Callable[[], Config]
    sources: Callable[[], Mapping[str, Source]]
    keep: Keep
    make_jobs: MakeJobs
    owner: str
    uid_source: Callable[[], str]
    _asked_at: dict[str, datetime] = field(default_factory=dict)
    _asking: dict[str, OutageLog] = field(default_factory=dict)

    def run(self, stop: threading.Event, *, tick: float = 0.5) -> None:
        """Step until told to stop; an outage of catalog or worklist is waited out."""
        ended = threading.Event()
        alive = threading.Thread(target=self._stay_alive, args=[ended], name="whyray-performer-lease", daemon=True)
        alive.start()
        outage = OutageLog(_log, "performing workitems")
        while not stop.is_set():
            try:
                self.step()
                outage.well()
            except Exception as error:  # one workitem that trips the performer must not stop the others
                outage.failed(error)
            # without a worklist there is at most what an earlier configuration has left
            stop.wait(tick if self.sources() else _LOOK_SELDOM * tick)
        ended.set()
        alive.join()

    def _stay_alive(self, ended: threading.Event) -> None:
        """Renew the leases: fetching a study may take longer than one lasts."""
        outage = OutageLog(_log, "renewing the leases of workitems")
        while not ended.wait(workitems.LEASE.total_seconds() / 3):
            try:
                with self.catalog.begin() as session:
                    workitems.renew(session, self.owner, self.catalog.clock())
                outage.well()
            except Exception as error:  # no memory, as little as no catalog, must end it
                outage.failed(error)

    def step(self) -> None:
        """Ask the worklists whose time it is, and do what can be done now."""
        sources = self.sources()
        for name, source in sources.items():
            now = self.catalog.clock()
            if is_due(self._asked_at.get(name), source.poll, now):
                self._asked_at[name] = now
                self._look(source)
        while (row := self._lease()) is not None:
            self._advance(row, sources.get(row.worklist))

    def _lease(self) -> Workitem | None:
        with self.catalog.read() as session:
            if not workitems.due(session, self.catalog.clock()):
                return None
        with self.catalog.begin() as session:
            return workitems.lease(session, self.owner, self.catalog.clock())

    def _look(self, source: Source) -> None:
        """Note what there is to be claimed."""
        tasks = {str(Code(task.code, task.scheme)): task for task in source.orders.take}
        name = source.worklist.name
        asking = self._asking.setdefault(name, OutageLog(_log, f"asking the worklist {name or 'of our own'}"))
        try:
            waiting = source.worklist.find([Code(task.code, task.scheme) for task in tasks.values()])
        except WhyRayError as error:
            asking.failed(error)
            return
        asking.well()
        for workitem in waiting:
            try:
                order = read_order(workitem)
            except WorkitemInvalid as error:
                _log.warning("worklist %s: a workitem can't be read: %s", name or "of our own", error.message)
                continue
            # a worklist that does not know these search keys gives more than was asked for
            task = tasks.get(str(order.code))
            scheduled = workitem.get("ProcedureStepState", "SCHEDULED") == WorkitemState.SCHEDULED
            if task is not None and scheduled and order.ready:
                self._take(name, order, task)

    def _take(self, worklist: str, order: Order, task: Task) -> None:
        now = self.catalog.clock()
        with self.catalog.begin() as session:
            row = workitems.get(session, worklist, order.uid, lock=True)
            if row is None and worklist != workitems.OWN:
                row = Workitem(
                    worklist=worklist,
                    uid=order.uid,
                    state=WorkitemState.SCHEDULED,
                    code=str(order.code),
                    ready=True,
                    priority=order.priority,
                    created_at=now,
                )
                workitems.enter(session, row)
                session.flush()
            if row is not None and row.id is not None:
                workitems.take(session, row.id, self.uid_source(), task.route, now)

    def _advance(self, row: Workitem, source: Source | None) -> None:
        """Do the next stage, and note what comes after it; failures decide by their class."""
        try:
            if source is None:
                raise PeerUnreachable(f"the configuration has no worklist {row.worklist!r} at present")
            following = _STAGES[row.stage or S.CLOSED](self, row, source)
        except WhyRayError as error:
            self._failed(row, error)
            return
        with self.catalog.begin() as session:
            held = workitems.held(session, row.id, self.owner)
            if held is None:
                return
            waits = following is row.stage
            held.stage, held.attempt, held.outages = following, 0, 0
            held.progress, held.reason = row.progress, row.reason
            held.key = row.key if row.worklist != workitems.OWN else held.key
            held.study_instance_uid, held.job_ids = row.study_instance_uid, row.job_ids
            workitems.hand_back(held, not_before=self.catalog.clock() + _LOOK_AGAIN if waits else None)

    def _failed(self, row: Workitem, error: WhyRayError) -> None:
        """Try again later, or give the workitem back with the reason."""
        now = self.catalog.clock()
        with self.catalog.begin() as session:
            held = workitems.held(session, row.id, self.owner)
            if held is None:
                return
            workitems.count(held, error)
            held.reason = f"{error.code}: {error.message}"
            if error.retriable and held.attempt < _MOST_ATTEMPTS:
                wait = _FIRST_WAIT * 2 ** min(held.attempt + held.outages - 1, 10)
                wait = min(max(wait, error.not_within or timedelta(0)), _LONGEST_WAIT)
                workitems.hand_back(held, not_before=now + wait)
                return
            if held.stage is S.CLAIMING:
                workitems.release_claim(session, held)  # found again while it is scheduled
            elif held.stage in (S.COMPLETING, S.CANCELLING):
                # the worklist itself refuses: there is nobody left to tell
                held.stage, held.closed_at = S.CLOSED, now
            else:
                held.stage = S.CANCELLING
            workitems.hand_back(held, not_before=None)
            words = f"workitem {row.uid}: {error.code}: {error.message}"
            events.record(session, now, "error", "worklist.failed", words, study=row.study_instance_uid)

    def _claim(self, row: Workitem, source: Source) -> WorkitemStage:
        transaction = _claim_uid(row)
        try:
            source.worklist.claim(row.uid, transaction)
        except (WorkitemConflict, WorkitemInvalid):
            # somebody else has claimed it, or WhyRay did before it was killed: only the claimer may tell progress
            try:
                source.worklist.update(row.uid, transaction, progress(0.0, "claimed"))
            except (WorkitemConflict, WorkitemInvalid):
                self._let_go(row)
                return S.CLAIMING
        self._note_state(row, WorkitemState.IN_PROGRESS)
        workitem = source.worklist.retrieve(row.uid)
        if row.worklist != workitems.OWN:
            row.key = keep(self.storage, workitem)
        order = read_order(workitem)
        row.study_instance_uid = order.study_uid
        with self.catalog.begin() as session:
            words = f"workitem {row.uid} is taken for the route {row.route}"
            events.record(session, self.catalog.clock(), "info", "worklist.claimed", words, study=order.study_uid)
        return S.FETCHING

    def _let_go(self, row: Workitem) -> None:
        _log.info("workitem %s was claimed by somebody else", row.uid)
        with self.catalog.begin() as session:
            held = workitems.held(session, row.id, self.owner)
            if held is not None:
                workitems.release_claim(session, held)

    def _note_state(self, row: Workitem, state: WorkitemState, *, closed: bool = False) -> None:
        """What another worklist says of the state; our own has written it already."""
        if row.worklist == workitems.OWN and not closed:
            return
        with self.catalog.begin() as session:
            held = workitems.held(session, row.id, self.owner)
            if held is not None:
                held.state = state
                held.closed_at = self.catalog.clock() if closed else None

    def _fetch(self, row: Workitem, source: Source) -> WorkitemStage:
        order = read_order(self._workitem(row, source))
        if not order.inputs or order.study_uid is None:
            raise WorkitemInvalid(f"workitem {row.uid} names no images, or images of several studies")
        for wanted in order.inputs:
            self._have(wanted, source)
        row.job_ids = self.make_jobs(str(row.route), order)
        return S.WORKING

    def _have(self, wanted: Input, source: Source) -> None:
        """Fetch what is not here."""
        with self.catalog.read() as session:
            missing = not here(session, wanted)
        if not missing:
            return
        name = source.orders.images
        service = None if name is None else self.config().destinations.get(name)
        if not isinstance(service, DicomWebDestination) or name is None:
            raise InputChanged(
                f"images of series {wanted.series_uid} are not here, and the worklist names no service to fetch them",
                advice="Give the worklist `images`, or send the study before the workitem becomes READY.",
            )
        fetched = fetch(service, name, wanted, self.keep)
        lacking = set(wanted.instance_uids) - fetched
        if lacking or not fetched:
            raise ImageError(f"{name} lacks {len(lacking) or 'all'} instances of series {wanted.series_uid}")

    def _work(self, row: Workitem, source: Source) -> WorkitemStage:
        if row.cancel_requested or self._withdrawn(row, source):
            row.reason = None
            return S.CANCELLING
        with self.catalog.read() as session:
            now: Standing = standing(session, row.job_ids)
        row.job_ids = list(now.job_ids)
        if now.withdrawn:  # routing orders nothing: what was fetched for a workitem, or a route that runs by order
            anew = self.make_jobs(str(row.route), read_order(self._workitem(row, source)))
            if anew != row.job_ids:
                row.job_ids = anew
                return S.WORKING
        if now.failure is not None:
            row.reason = now.failure
            return S.CANCELLING
        if now.finished:
            return S.COMPLETING
        if now.share - row.progress >= 0.05 or (now.share > 0 and row.reason != now.words):
            source.worklist.update(row.uid, _claim_uid(row), progress(now.share, now.words))
            row.progress, row.reason = now.share, now.words
        return S.WORKING

    def _withdrawn(self, row: Workitem, source: Source) -> bool:
        """Whether somebody has closed it over WhyRay's head; asked of other worklists at times."""
        if row.worklist == workitems.OWN:
            return False
        what, now = f"state of {row.id}", self.catalog.clock()
        if not is_due(self._asked_at.get(what), source.poll, now):
            return False
        self._asked_at[what] = now
        return str(source.worklist.retrieve(row.uid).get("ProcedureStepState")) == WorkitemState.CANCELED

    def _complete(self, row: Workitem, source: Source) -> WorkitemStage:
        workitem = self._workitem(row, source)
        with self.catalog.read() as session:
            outputs = outputs_of(session, row.job_ids, self.config())
        now = self.catalog.clock()
        start = min(row.started_at or row.created_at, now)  # the clock may have been set back since
        done = performed(workitem, self.config().listener.ae_title, start, now, outputs)
        done.update(progress(1.0, "done"))
        return self._close(row, source, done, WorkitemState.COMPLETED)

    def _cancel(self, row: Workitem, source: Source) -> WorkitemStage:
        now = self.catalog.clock()
        with self.catalog.begin() as session:
            stop_jobs(session, row, now)
        if row.cancel_requested or row.reason is None:
            told = discontinued("cancelled on request", now)
        else:
            told = discontinued(row.reason, now, error=_error_named(row.reason))
        return self._close(row, source, told, WorkitemState.CANCELED)

    def _close(self, row: Workitem, source: Source, told: Dataset, state: WorkitemState) -> WorkitemStage:
        try:
            source.worklist.update(row.uid, _claim_uid(row), told)
            source.worklist.finish(row.uid, _claim_uid(row), state)
        except WorkitemConflict:
            # closed already: by WhyRay before it was killed, or by the worklist
            state = WorkitemState(str(source.worklist.retrieve(row.uid).get("ProcedureStepState")))
            if state not in (WorkitemState.COMPLETED, WorkitemState.CANCELED):
                raise
        self._note_state(row, state, closed=True)
        row.progress = 1.0 if state is WorkitemState.COMPLETED else row.progress
        with self.catalog.begin() as session:
            words = f"workitem {row.uid} is {state.value}"
            events.record(session, self.catalog.clock(), "info", "worklist.closed", words, study=row.study_instance_uid)
        return S.CLOSED

    def _workitem(self, row: Workitem, source: Source) -> Dataset:
        """The data set that was kept when it was claimed; our own worklist has the newest."""
        if row.worklist == workitems.OWN or row.key is None:
            return source.worklist.retrieve(row.uid)
        return kept(self.storage, row.key)


_STAGES: Mapping[WorkitemStage, Callable[[Performer, Workitem, Source], WorkitemStage]] = {
    S.CLAIMING: Performer._claim,
    S.FETCHING: Performer._fetch,
    S.WORKING: Performer._work,
    S.COMPLETING: Performer._complete,
    S.CANCELLING: Performer._cancel,
}


def _claim_uid(row: Workitem) -> str:
    assert row.claim_uid is not None  # written before anything else is done
    return row.claim_uid


def _error_named(reason: str) -> WhyRayError:
    """The error whose class a reason begins with, for the coded reason."""
    name, _, words = reason.partition(": ")
    known = {kind.__name__: kind for kind in (InputChanged, ImageError, WorkitemInvalid)}
    return known.get(name, WhyRayError)(words or reason)
