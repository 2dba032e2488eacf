"""Forgetting: what was kept long enough is removed, rows first, then bytes, and never what still has work to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, delete, exists, or_, select, true
from sqlalchemy.orm import Session

from whyray.base.errors import NotFound, SealBroken
from whyray.base.patient_identity import patient_id_of
from whyray.base.sources import is_due
from whyray.catalog import (
    JOBS_AT_WORK,
    AuditEvent,
    AuditParticipant,
    AuditStudy,
    Catalog,
    Delivery,
    DeliveryState,
    Event,
    Instance,
    Job,
    JobState,
    ResultRow,
    Series,
    Study,
    audit,
    conflicts,
    drift,
    events,
    keys,
    processes,
    rejections,
    removal,
    studies,
    workitems,
)
from whyray.config import Config, DicomDestination
from whyray.storage import SAFE_AGE, Storage, sweep_orphans

_log = logging.getLogger("whyray.retention")
_JOBS_TO_SEE_TO = (*JOBS_AT_WORK, JobState.FAILED)
_DELIVERIES_AT_WORK = (DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.WAITING, DeliveryState.FAILED)
_BATCH = 100
NO_SWEEP_FOR = SAFE_AGE
"""After the clock was set forward: until then what was stored before looks older than it is."""
_SILENT = timedelta(days=7)
"""A role that gave no sign for so long is no longer shown as missing."""


@dataclass
class Retention:
    """Applies `retention:` and `otherwise:` of the configuration.

    Instances and results go by their own age, and the study's row once it has neither. A study with a job or delivery
    that is queued, running, waiting or failed stays whole, whatever its age, as do results that a destination has not
    committed to keep where it is asked to: a failed one waits for an administrator. So does a study that may be under
    the wrong patient, until somebody decides; where the disk runs short its instances go after those of all others.
    """

    catalog: Catalog
    storage: Storage
    config: Callable[[], Config]
    sweep_every: timedelta = timedelta(hours=6)
    _swept_at: datetime | None = field(default=None)

    def step(self, now: datetime | None = None, *, may_sweep: bool = True) -> int:
        """Remove what is due; says how many studies went whole.

        Parameters
        ----------
        may_sweep
            Whether the times of files can be compared with `now`: not after the clock was set forward.
        """
        config = self.config()
        now = self.catalog.clock() if now is None else now
        rules = config.retention
        asked = [
            name
            for name, destination in config.destinations.items()
            if isinstance(destination, DicomDestination) and destination.storage_commitment
        ]
        gone = self._studies(_expired(now), asked)
        self._results(now - rules.results, asked)
        self._instances(_untouched_since(now - rules.source), asked, f"kept for {_words(rules.source)}")
        with self.catalog.begin() as session:
            removal.forget(session, now - rules.results)
        gone += self._studies(_empty(now - max(rules.source, rules.results)), asked)
        self._make_room(asked)
        with self.catalog.begin() as session:
            freed = workitems.forget(session, now - rules.results)
            session.execute(delete(Event).where(Event.at < now - rules.events))
            processes.forget(session, now - _SILENT)
        self._delete(freed)
        if may_sweep and is_due(self._swept_at, self.sweep_every, now):
            # bytes whose rows were never entered, or were removed just before a crash
            self._swept_at = now
            with self.catalog.begin() as session:
                drift.forget(session, now - rules.events)
            with self.catalog.read() as session:
                sweep_orphans(self.storage, lambda batch: keys.known(session, batch), now)
        return gone

    def _studies(self, due: ColumnElement[bool], asked: Sequence[str]) -> int:
        """Remove studies with all that is theirs."""
        freed: list[str] = []
        with self.catalog.begin() as session:
            settled = list(session.scalars(_settled(due, asked)))
            for study in settled:
                freed += [*_instance_keys(session, study.id), *_result_keys(session, _of_study(study.id))]
                self._audit(session, study, "kept long enough")
                _log.info("study %s: kept long enough, removed", study.study_instance_uid)
                rejections.forget_expired(session, study.study_instance_uid)
                session.delete(study)
            self._tell(session, len(settled), "studies", len(freed))
        self._delete(freed)
        return len(settled)

    def _instances(self, due: ColumnElement[bool], asked: Sequence[str], why: str, *, undecided: bool = False) -> int:
        """Remove what was received of studies, and leave their results; says of how many studies."""
        freed: list[str] = []
        with self.catalog.begin() as session:
            settled = list(session.scalars(_settled(and_(due, _HAS_INSTANCES), asked, undecided=undecided)))
            for study in settled:
                if undecided:
                    self._tell_undecided(session, study)
                freed += _instance_keys(session, study.id)
                self._audit(session, study, f"its instances: {why}")
                removal.remove_instances(session, study.id)
                studies.describe(session, study.id, f"instances removed: {why}")
            self._tell(session, len(settled), "studies' instances", len(freed))
        self._delete(freed)
        return len(settled)

    def _results(self, before: datetime, asked: Sequence[str]) -> None:
        """Remove the results of jobs that ended, and were delivered, before this."""
        late = exists().where(
            ResultRow.job_id == Job.id, Delivery.result_id == ResultRow.id, Delivery.sent_at >= before
        )
        query = (
            select(Job.id)
            .where(Job.finished_at < before, Job.results.any(), Job.state.not_in(_JOBS_TO_SEE_TO), ~late)
            .where(~exists().where(ResultRow.job_id == Job.id, _undelivered(asked)))
            .limit(_BATCH)
        )
        with self.catalog.begin() as session:
            ended = list(session.scalars(query))
            freed = _result_keys(session, Job.id.in_(ended)) if ended else []
            session.execute(delete(ResultRow).where(ResultRow.job_id.in_(ended)))
            self._tell(session, len(ended), "jobs' results", len(freed))
        self._delete(freed)

    def _make_room(self, asked: Sequence[str]) -> None:
        """Below the free space that is wanted, remove instances of settled studies before their time, oldest first."""
        wanted = self.config().retention.purge_below
        why = "the disk ran short (retention.purge_below)"
        for undecided in (False, True):
            while self.storage.free_bytes() < wanted:
                if not self._instances(true(), asked, why, undecided=undecided):
                    break

    def _audit(self, session: Session, study: Study, why: str) -> None:
        """A study was removed from here. Whose it was is not known any more where its instances went before."""
        key = session.scalar(select(Instance.key).join(Series).where(Series.study_id == study.id).limit(1))
        patient = ""
        if key is not None:
            with suppress(NotFound, SealBroken), self.storage.open(key) as file:
                patient = patient_id_of(file)
        event = AuditEvent(
            at=self.catalog.clock(),
            kind="study.deleted",
            words=why,
            participants=(AuditParticipant(name="whyray retention", requestor=True),),
            studies=(AuditStudy(uid=study.study_instance_uid),),
            patient=patient,
        )
        audit.record(session, event)

    def _tell(self, session: Session, count: int, what: str, files: int) -> None:
        if count:
            words = f"{count} {what}, {files} files"
            events.record(session, self.catalog.clock(), "info", "retention.removed", words)

    def _tell_undecided(self, session: Session, study: Study) -> None:
        words = (
            "what came again with other content was removed with the study's other instances, for the disk ran short, "
            "before anybody decided: the study's results may be under the wrong patient"
        )
        uid = study.study_instance_uid
        events.record(session, self.catalog.clock(), "error", "content.removed", words, study=uid)

    def _delete(self, freed: Sequence[str]) -> None:
        for key in freed:
            self.storage.delete(key)


_HAS_INSTANCES = exists().where(Series.study_id == Study.id)


def _settled(due: ColumnElement[bool], asked: Sequence[str], *, undecided: bool = False) -> Select[Study]:
    """Studies that are due and have nothing to do, the longest untouched first; those that wait for somebody apart."""
    working = exists().where(Job.study_id == Study.id, Job.state.in_(_JOBS_TO_SEE_TO))
    undelivered = exists().where(ResultRow.job_id == Job.id, Job.study_id == Study.id, _undelivered(asked))
    return (
        select(Study)
        .where(Study.received_sequence == Study.routed_sequence, due, ~working, ~undelivered)
        .where(conflicts.IS_ASKED if undecided else ~conflicts.IS_ASKED)
        .order_by(Study.last_received_at)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    )


def _undelivered(asked: Sequence[str]) -> ColumnElement[bool]:
    """Of deliveries of a result: on their way, failed, or not yet committed to by who is asked to."""
    uncommitted = and_(Delivery.state == DeliveryState.SENT, Delivery.destination.in_(asked))
    return and_(Delivery.result_id == ResultRow.id, or_(Delivery.state.in_(_DELIVERIES_AT_WORK), uncommitted))


def _expired(now: datetime) -> ColumnElement[bool]:
    """What no route took, and `otherwise` keeps no longer."""
    return Study.expires_at <= now


def _untouched_since(before: datetime) -> ColumnElement[bool]:
    """Nothing came, and no job ended, since then."""
    ended_since = exists().where(Job.study_id == Study.id, Job.finished_at >= before)
    return and_(Study.expires_at.is_(None), Study.last_received_at < before, ~ended_since)


def _empty(before: datetime) -> ColumnElement[bool]:
    """Neither instances nor results are left, and both would be older."""
    has_results = exists().where(ResultRow.job_id == Job.id, Job.study_id == Study.id)
    return and_(_untouched_since(before), ~_HAS_INSTANCES, ~has_results)


def _of_study(study_id: int) -> ColumnElement[bool]:
    return Job.study_id == study_id


def _instance_keys(session: Session, study_id: int) -> list[str]:
    return list(session.scalars(select(Instance.key).join(Series).where(Series.study_id == study_id)))


def _result_keys(session: Session, jobs: ColumnElement[bool]) -> list[str]:
    rows = session.execute(select(ResultRow.key, ResultRow.picture_key, ResultRow.preview_key).join(Job).where(jobs))
    return [key for row in rows for key in row if key is not None]


def _words(duration: timedelta) -> str:
    """'7 days', '12 hours'."""
    hours = round(duration.total_seconds() / 3600)
    return f"{hours // 24} days" if hours % 24 == 0 and hours else f"{hours} hours"
