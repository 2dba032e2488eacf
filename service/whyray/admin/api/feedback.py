"""Radiologists' verdicts on results."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from whyray.admin import queries as reading
from whyray.admin import verdicts
from whyray.admin.backend import ActorDep, BackendDep, PagingDep
from whyray.admin.evaluation_schemas import FeedbackIn, FeedbackOut, ResultFeedback, VerdictOut
from whyray.admin.listing import paged, part_of
from whyray.admin.lists import verdict_list
from whyray.admin.schemas import Page
from whyray.catalog import REASONS, Feedback, feedback

router = APIRouter(tags=["feedback"])


@router.get("/results/{sop_instance_uid}/feedback", summary="What people say of a result")
def of_result(backend: BackendDep, actor: ActorDep, sop_instance_uid: str) -> ResultFeedback:
    """The verdict of whoever asks, and how many there are."""
    with backend.catalog.read() as session:
        reading.result(session, sop_instance_uid)
        return _of_result(session, sop_instance_uid, actor)


@router.post("/results/{sop_instance_uid}/feedback", summary="Accept or reject a result")
def give(backend: BackendDep, actor: ActorDep, sop_instance_uid: str, given: FeedbackIn) -> ResultFeedback:
    """Kept with package version, target, method and grade; a second verdict replaces the first."""
    with backend.catalog.begin() as session:
        feedback.give(
            session,
            sop_instance_uid,
            given.verdict,
            backend.catalog.clock(),
            actor=actor,
            reason=given.reason,
            comment=given.comment,
        )
        session.flush()
        return _of_result(session, sop_instance_uid, actor)


@router.delete("/results/{sop_instance_uid}/feedback", summary="Take a verdict back")
def take_back(backend: BackendDep, actor: ActorDep, sop_instance_uid: str) -> ResultFeedback:
    """The verdict of whoever asks."""
    with backend.catalog.begin() as session:
        feedback.take_back(session, sop_instance_uid, backend.catalog.clock(), actor=actor)
        return _of_result(session, sop_instance_uid, actor)


@router.get("/feedback", summary="All verdicts, summed up")
def summed_up(
    backend: BackendDep,
    package: Annotated[str | None, Query(description="Only of this package, NAME or NAME@VERSION.")] = None,
) -> FeedbackOut:
    """By package version, target, method and grade; and by week."""
    with backend.catalog.read() as session:
        conditions = verdicts.of_package(package)
        return FeedbackOut(
            tallies=verdicts.tallies(session, conditions),
            weeks=verdicts.weeks(session, conditions),
            reasons=dict(REASONS),
        )


@router.get("/feedback/verdicts", summary="List verdicts")
def list_verdicts(
    backend: BackendDep,
    paging: PagingDep,
    package: Annotated[str | None, Query(description="Only of this package, NAME or NAME@VERSION.")] = None,
) -> Page[VerdictOut]:
    """Single verdicts with their comments, newest first."""
    with backend.catalog.read() as session:
        part = part_of(session, verdict_list(verdicts.of_package(package)), paging)
        return paged(part, [verdicts.verdict_out(row) for row in part.rows], paging.limit)


def _of_result(session: Session, sop_instance_uid: str, actor: str) -> ResultFeedback:
    mine = feedback.mine(session, sop_instance_uid, actor)
    counts: dict[str, int] = {
        verdict: int(count)
        for verdict, count in session.execute(
            select(Feedback.verdict, func.count())
            .where(Feedback.sop_instance_uid == sop_instance_uid)
            .group_by(Feedback.verdict)
        )
    }
    return ResultFeedback(
        mine=None if mine is None else verdicts.verdict_out(mine),
        accepted=counts.get("accept", 0),
        rejected=counts.get("reject", 0),
    )
