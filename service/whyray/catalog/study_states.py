"""Where studies stand, from their instances and jobs, and how many stand where."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Literal

from sqlalchemy import ColumnElement, Select, case, distinct, exists, func, select
from sqlalchemy.orm import Session, aliased

from whyray.catalog import tallies
from whyray.catalog.states import JOBS_AT_WORK, JobState
from whyray.catalog.tables import Job, Study

StudyState = Literal["receiving", "failed", "working", "done", "stopped", "unrouted"]


def _job_in(*states: JobState) -> ColumnElement[bool]:
    return exists().where(Job.study_id == Study.id, Job.state.in_(states)).correlate(Study)


STUDY_STATE: ColumnElement[str] = case(
    (Study.received_sequence > Study.routed_sequence, "receiving"),
    (_job_in(JobState.FAILED), "failed"),
    (_job_in(*JOBS_AT_WORK), "working"),
    (_job_in(JobState.DONE), "done"),
    (_job_in(*JobState), "stopped"),
    else_="unrouted",
)
"""Where a study stands, from its instances and jobs: one of `StudyState`."""
RARE: dict[StudyState, tuple[JobState, ...]] = {
    "failed": (JobState.FAILED,),
    "working": JOBS_AT_WORK,
    # a job is superseded by a newer one, unless its images were corrected and no route takes them: then it is the last
    "stopped": (JobState.CANCELLED, JobState.SUPERSEDED),
}
"""States of studies that few are in, each with the states of jobs of which such a study has one."""
_STRONGER: dict[StudyState, tuple[JobState, ...]] = {
    "failed": (),
    "working": (JobState.FAILED,),
    "stopped": (JobState.FAILED, *JOBS_AT_WORK, JobState.DONE),
}
"""States of jobs of which a study in a rare state has none: they would put it in another one."""


def tally(session: Session) -> dict[StudyState, int]:
    """How many studies are in each state of `StudyState`."""
    counts: Counter[StudyState] = Counter()
    with_jobs = 0
    for row in tallies.counted(session, "studies"):
        has_jobs, receiving = (bool(facet) for facet in row.facets)
        if receiving or not has_jobs:
            counts["receiving" if receiving else "unrouted"] += row.number
        else:
            with_jobs += row.number
    for state in RARE:
        counts[state] = number_of_rare(session, state)
    counts["done"] = with_jobs - sum(counts[state] for state in RARE)
    return {state: number for state, number in counts.items() if number}


def number_of_rare(session: Session, state: StudyState) -> int:
    """How many studies are in one of the `RARE` states: counted among jobs, so that no study is read."""
    return session.scalar(_count_of_rare(state)) or 0


@cache
def _count_of_rare(state: StudyState) -> Select[int]:
    receiving = select(Study.id).where(Study.received_sequence > Study.routed_sequence)
    return select(func.count(distinct(Job.study_id))).where(*_of_rare(state), Job.study_id.not_in(receiving))


def _of_rare(state: StudyState) -> tuple[ColumnElement[bool], ...]:
    """Jobs whose study is in one of the `RARE` states, unless it is receiving."""
    conditions: list[ColumnElement[bool]] = [Job.state.in_(RARE[state])]
    if _STRONGER[state]:
        other = aliased(Job)
        conditions.append(~exists().where(other.study_id == Job.study_id, other.state.in_(_STRONGER[state])))
    return tuple(conditions)


def is_in(state: StudyState) -> ColumnElement[bool]:
    """Whether a study is in this state; the same as `STUDY_STATE` says, and asks as few jobs as can be."""
    settled = Study.received_sequence <= Study.routed_sequence
    conditions: dict[StudyState, ColumnElement[bool]] = {
        "receiving": Study.received_sequence > Study.routed_sequence,
        "failed": settled & _job_in(JobState.FAILED),
        "working": settled & _job_in(*JOBS_AT_WORK) & ~_job_in(JobState.FAILED),
        "done": settled & _job_in(JobState.DONE) & ~_job_in(JobState.FAILED, *JOBS_AT_WORK),
        "stopped": settled & _job_in(*JobState) & ~_job_in(JobState.FAILED, *JOBS_AT_WORK, JobState.DONE),
        "unrouted": settled & ~_job_in(*JobState),
    }
    return conditions[state]


def is_in_rare(state: StudyState) -> ColumnElement[bool]:
    """The same as `is_in` for one of the `RARE` states: looked up among jobs, so that no other study is read."""
    settled = Study.received_sequence <= Study.routed_sequence
    return settled & Study.id.in_(select(Job.study_id).where(*_of_rare(state)))
