"""Radiologists' verdicts on results: one a person and result, kept longer than the result itself."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from whyray.base.errors import NotFound, TransitionError
from whyray.catalog import events, tallies
from whyray.catalog.evaluation_tables import Feedback
from whyray.catalog.tables import ResultRow

Verdict = Literal["accept", "reject"]
Reason = Literal["wrong-answer", "wrong-place", "not-plausible", "too-vague", "not-readable", "not-useful", "other"]
REASONS: dict[Reason, str] = {
    "wrong-answer": "the model's answer is wrong",
    "wrong-place": "the explanation points at the wrong place",
    "not-plausible": "the explanation is not plausible, though the answer may be right",
    "too-vague": "the explanation says too little",
    "not-readable": "the picture can't be read",
    "not-useful": "right, and of no use",
    "other": "something else",
}


def give(
    session: Session,
    sop_instance_uid: str,
    verdict: Verdict,
    now: datetime,
    *,
    actor: str,
    reason: Reason | None = None,
    comment: str | None = None,
) -> Feedback:
    """Keep a verdict; a second one of the same person about the same result replaces the first.

    Raises
    ------
    NotFound
        If there is no such result.
    TransitionError
        If the result was superseded: the verdict would be on what nobody sees any more.
    """
    # the lock keeps two clicks of one person from both finding no verdict yet
    result = session.scalar(select(ResultRow).where(ResultRow.sop_instance_uid == sop_instance_uid).with_for_update())
    if result is None:
        raise NotFound(f"no result {sop_instance_uid}")
    if result.superseded:
        raise TransitionError(
            f"result {sop_instance_uid} was superseded: by a newer revision, or by a later run of its job",
            advice="Judge the newer one.",
        )
    job, study = result.job, result.job.study.study_instance_uid
    row = mine(session, sop_instance_uid, actor) or Feedback(actor=actor, sop_instance_uid=sop_instance_uid)
    row.at, row.verdict, row.reason, row.comment = now, verdict, reason, comment or None
    row.package, row.kind = job.package, result.kind
    row.target, row.method, row.grade = result.finding, result.method, result.grade
    session.add(row)
    # the comment is free text: it stays out of events and logs
    words = f"result {sop_instance_uid}" + (f": {reason}" if reason else "")
    kind: events.EventKind = "feedback.accept" if verdict == "accept" else "feedback.reject"
    events.record(session, now, "info", kind, words, actor=actor, study=study, job=job.id)
    return row


def take_back(session: Session, sop_instance_uid: str, now: datetime, *, actor: str) -> None:
    """Forget this person's verdict on this result; NotFound where there is none."""
    row = mine(session, sop_instance_uid, actor)
    if row is None:
        raise NotFound(f"no verdict of yours on result {sop_instance_uid}")
    session.execute(delete(Feedback).where(Feedback.id == row.id))
    events.record(session, now, "info", "feedback.taken-back", f"result {sop_instance_uid}", actor=actor)


def mine(session: Session, sop_instance_uid: str, actor: str) -> Feedback | None:
    """This person's verdict on this result."""
    return session.scalar(
        select(Feedback).where(Feedback.sop_instance_uid == sop_instance_uid, Feedback.actor == actor)
    )


def tally(session: Session) -> dict[tuple[str, str], int]:
    """How many verdicts there are, by package and verdict."""
    return {(row.facets[0], row.facets[1]): row.number for row in tallies.counted(session, "feedback")}
