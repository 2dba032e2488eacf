"""What lists show of findings, without reading the findings of each job at each look: they are tens of kilobytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.admin.describe import JobSummary, ResultSummary, summary_of_job, summary_of_result
from whyray.base.finding_record import finding_records
from whyray.catalog import Job, ResultRow, is_one_of

Value = TypeVar("Value")

_MOST = 4096
"""Summaries that are kept, of jobs and of results each: some kilobytes a piece."""


class _Kept(Generic[Value]):
    """The values that were last asked for. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable) -> Value | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: Value) -> None:
        with self._lock:
            self._values[key] = value
            while len(self._values) > _MOST:
                self._values.popitem(last=False)


class FindingSummaries:
    """Summaries of jobs and of results, each made once: findings are written as a job ends, and then stay."""

    def __init__(self) -> None:
        self._jobs: _Kept[JobSummary] = _Kept()
        self._results: _Kept[ResultSummary] = _Kept()

    def of_jobs(self, session: Session, jobs: Sequence[Job]) -> dict[str, JobSummary]:
        """By job id."""
        known = {job.id: kept for job in jobs if (kept := self._jobs.get(_version(job, job.id))) is not None}
        missing = {job.id: job for job in jobs if job.id not in known}
        for job_id, findings, no_statement in _findings(session, missing):
            # what is absent is in no list: most of it, and half of the work
            present = finding_records(
                (record for record in findings if record.get("present") is not False), of=f"job {job_id}"
            )
            known[job_id] = summary_of_job(present, no_statement)
            self._jobs.put(_version(missing[job_id], job_id), known[job_id])
        return known

    def of_results(self, session: Session, rows: Sequence[ResultRow]) -> dict[int, ResultSummary]:
        """By the result's id; needs the job of each."""
        known = {row.id: kept for row in rows if (kept := self._results.get(_version(row.job, row.id))) is not None}
        missing = [row for row in rows if row.id not in known]
        names: dict[str, set[str | None]] = {}
        for row in missing:
            names.setdefault(row.job_id, set()).add(row.finding)
        records = {
            job_id: finding_records(
                (record for record in findings if record.get("finding") in names[job_id]), of=f"job {job_id}"
            )
            for job_id, findings, _ in _findings(session, names)
        }
        for row in missing:
            known[row.id] = summary_of_result(row, records.get(row.job_id, ()))
            self._results.put(_version(row.job, row.id), known[row.id])
        return known


def _version(job: Job, name: Hashable) -> Hashable:
    # one that is to run again keeps the findings of its last run until it ends: then it has no end, but the start of
    # that run and no attempt; and while it runs, another start
    return name, job.finished_at, job.started_at, job.attempt


def _findings(session: Session, job_ids: Iterable[str]) -> list[tuple[str, list[dict[str, Any]], int]]:
    """(job id, findings as they were written, number of images of which nothing is said)."""
    wanted = list(job_ids)
    if not wanted:
        return []
    query = select(Job.id, Job.findings, Job.no_statement).where(is_one_of(session, Job.id, wanted))
    return [
        (job_id, findings or [], len(no_statement or ())) for job_id, findings, no_statement in session.execute(query)
    ]
