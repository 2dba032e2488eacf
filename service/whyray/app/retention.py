"""Forgetting: what was kept long enough is removed, rows first, then bytes, and never what still has work to do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import delete, exists, select, union_all
from sqlalchemy.orm import Session

from whyray.catalog import (
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
    drift,
    keys,
    workitems,
)
from whyray.config import Config
from whyray.storage import Storage, sweep_orphans

_log = logging.getLogger("whyray.retention")
_JOBS_AT_WORK = (JobState.QUEUED, JobState.RUNNING, JobState.WAITING, JobState.CANCELLING, JobState.FAILED)
_DELIVERIES_AT_WORK = (DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.WAITING, DeliveryState.FAILED)
_BATCH = 100


@dataclass
class Retention:
    """Applies `retention:` and `otherwise:` of the configuration.

    A study with a job or delivery that is queued, running, waiting or failed stays, whatever its age: a failed one
    waits for an administrator.
    """

    catalog: Catalog
    storage: Storage
    config: Callable[[], Config]
    sweep_every: timedelta = timedelta(hours=6)
    _swept_at: datetime | None = field(default=None)

    def step(self) -> int:
        """Remove what is due; says how many studies went."""
        now, rules = self.catalog.clock(), self.config().retention
        freed: list[str] = []
        with self.catalog.begin() as session:
            due = _due(session, now, now - max(rules.source, rules.results))
            for study in due:
                freed += _keys(session, study.id)
                _log.info("study %s: kept long enough, removed", study.study_instance_uid)
                session.delete(study)
            freed += workitems.forget(session, now - rules.results)
            session.execute(delete(Event).where(Event.at < now - rules.events))
        for key in freed:
            self.storage.delete(key)
        if self._swept_at is None or now - self._swept_at >= self.sweep_every:
            # bytes whose rows were never entered, or were removed just before a crash
            self._swept_at = now
            with self.catalog.begin() as session:
                drift.forget(session, now - rules.events)
            with self.catalog.read() as session:
                sweep_orphans(self.storage, lambda batch: keys.known(session, batch), now)
        return len(due)


def _due(session: Session, now: datetime, before: datetime) -> list[Study]:
    working = exists().where(Job.study_id == Study.id, Job.state.in_(_JOBS_AT_WORK))
    delivering = exists().where(
        Delivery.result_id == ResultRow.id,
        ResultRow.job_id == Job.id,
        Job.study_id == Study.id,
        Delivery.state.in_(_DELIVERIES_AT_WORK),
    )
    expired = (Study.expires_at <= now) | (Study.expires_at.is_(None) & (Study.last_received_at < before))
    query = (
        select(Study)
        .where(Study.received_sequence == Study.routed_sequence, expired, ~working, ~delivering)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    )
    return list(session.scalars(query))


def _keys(session: Session, study_id: int) -> list[str]:
    instances = select(Instance.key).join(Series).where(Series.study_id == study_id)
    results = select(ResultRow.key).join(Job).where(Job.study_id == study_id)
    pictures = select(ResultRow.picture_key).join(Job).where(Job.study_id == study_id)
    return [key for key in session.scalars(union_all(instances, results, pictures)) if key is not None]
