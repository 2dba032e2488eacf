"""Instances that retention removes: which they were is remembered, so that a rest is not taken for a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.orm import Session

from whyray.catalog import studies
from whyray.catalog.states import JOBS_AT_WORK
from whyray.catalog.tables import Instance, Job, RemovedSeries, ResultRow, Series

_MARK = 4
"""Bytes by which an instance is known again: that another one is taken for it takes 2 ** 32 of them."""


def remove_instances(session: Session, study_id: int) -> None:
    """Remove what was received of a study, and remember what it was."""
    for uid, group in studies.routable(session, study_id).items():
        row = session.get(RemovedSeries, (study_id, uid))
        if row is None:
            row = RemovedSeries(study_id=study_id, series_instance_uid=uid, instances=b"")
            session.add(row)
        row.instances = b"".join(sorted(_marks_in(row.instances) | _marks_of(group)))
    session.execute(delete(Series).where(Series.study_id == study_id))


def missing(session: Session, study_id: int, here: Mapping[str, Sequence[Instance]]) -> dict[str, int]:
    """By Series Instance UID, how many instances were removed of a study and have not come again."""
    rows = session.scalars(select(RemovedSeries).where(RemovedSeries.study_id == study_id))
    gone = {
        row.series_instance_uid: len(_marks_in(row.instances) - _marks_of(here.get(row.series_instance_uid, ())))
        for row in rows
    }
    return {uid: count for uid, count in gone.items() if count}


def forget(session: Session, before: datetime) -> None:
    """Forget what was removed of studies that have no results, and no job that is at work or ended since `before`.

    There is nothing left that a job on the rest could replace, and its sender may have deleted the others for good.
    """
    of_study = exists().where(Job.study_id == RemovedSeries.study_id)
    at_work_or_since = of_study.where(or_(Job.state.in_(JOBS_AT_WORK), Job.finished_at >= before))
    with_results = of_study.where(ResultRow.job_id == Job.id)
    session.execute(
        delete(RemovedSeries).where(~at_work_or_since, ~with_results).execution_options(synchronize_session=False)
    )


def _marks_of(instances: Collection[Instance]) -> set[bytes]:
    return {hashlib.sha256(instance.sop_instance_uid.encode()).digest()[:_MARK] for instance in instances}


def _marks_in(kept: bytes) -> set[bytes]:
    return {kept[place : place + _MARK] for place in range(0, len(kept), _MARK)}
