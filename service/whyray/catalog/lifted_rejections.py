"""What is rejected of studies, by which notes, and how an administrator lifts a rejection.

IHE IOCM names no note that takes another one back: the PACS that rejected images keeps them so, or shows them again, by
means of its own, and tells nobody. So a person says it here; a note that comes later rejects anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from whyray.base.errors import ConfigError, NotFound
from whyray.catalog import events, studies
from whyray.catalog.conflicts import instances_in_words
from whyray.catalog.rejection_tables import Rejection
from whyray.catalog.rejections import TITLES
from whyray.catalog.tables import Study

LONGEST_REASON = 500
"""Characters of a reason."""


@dataclass(frozen=True)
class RejectedInstances:
    """What one note rejects of a study, or did until that was lifted, at `since` then; `code` is one of `TITLES`."""

    study_instance_uid: str
    document_uid: str
    code: str
    since: datetime
    instances: int
    is_lifted: bool

    @property
    def title(self) -> str:
        """'113037 Rejected for Patient Safety Reasons'; 'an unknown title' where an earlier schema did not keep it."""
        return f"{self.code} {TITLES[self.code]}" if self.code in TITLES else "an unknown title"


@dataclass(frozen=True)
class Lifted:
    """How many instances are rejected no more, and what becomes of them: 'the study is routed anew'."""

    instances: int
    becomes: str


def listed(session: Session, *, study_uid: str | None = None, limit: int = 1000) -> Sequence[RejectedInstances]:
    """What is rejected, or was lifted, of one study or of all, by note: the newest first, at most `limit`."""
    since, is_lifted = (
        func.max(func.coalesce(Rejection.lifted_at, Rejection.rejected_at)),
        Rejection.lifted_at.is_not(None),
    )
    by_note = (Rejection.study_instance_uid, Rejection.document_uid, Rejection.code)
    query = (
        select(*by_note, since, func.count(), is_lifted)
        .group_by(*by_note, is_lifted)
        .order_by(since.desc(), *by_note, is_lifted)
        .limit(limit)
    )
    if study_uid is not None:
        query = query.where(Rejection.study_instance_uid == study_uid)
    return [RejectedInstances(*row) for row in session.execute(query)]


def lift(
    session: Session, study_uid: str, now: datetime, *, actor: str, reason: str, document_uid: str | None = None
) -> Lifted:
    """Have instances of a study used again that a note, or all its notes (`document_uid` None), had rejected.

    The study is routed anew, if it is here and routes are asked about it. What notes that are here said of these
    instances is passed over from now on; a note that comes later rejects them anew.

    Raises
    ------
    ConfigError
        If the reason is empty or longer than `LONGEST_REASON`.
    NotFound
        If nothing of the study is rejected, or nothing by this note.
    """
    reason = " ".join(reason.split())
    if not 0 < len(reason) <= LONGEST_REASON or not reason.isprintable():
        raise ConfigError(
            f"a rejection is lifted for a reason, of 1 to {LONGEST_REASON} characters",
            advice="Say who decided so and why, without the name of a patient: it stands in events and audit trail.",
        )
    # the study first, as whoever enters a rejection does
    study = session.scalar(select(Study).where(Study.study_instance_uid == study_uid).with_for_update())
    rejected = (Rejection.study_instance_uid == study_uid) & Rejection.lifted_at.is_(None)
    if document_uid is not None:
        rejected &= Rejection.document_uid == document_uid
    count = session.connection().execute(update(Rejection).where(rejected).values(lifted_at=now)).rowcount
    if not count:
        what = "" if document_uid is None else f" by the key object selection {document_uid}"
        raise NotFound(
            f"nothing of study {study_uid} is rejected{what}", advice="See what is: `whyray rejection list`."
        )
    by = "its notes" if document_uid is None else f"key object selection {document_uid}"
    becomes = "none of the study is here: they are used where they come again"
    if study is not None and any(studies.counts(session, study.id)):
        becomes = "they came for a workitem alone: order it anew"
        if studies.has_routed(session, study.id):
            studies.open_again(session, study.id, now)
            becomes = "the study is routed anew"
    words = f"the rejection of {instances_in_words(count)} by {by} was lifted: {reason}; {becomes}"
    events.record(session, now, "warning", "rejection.lifted", words, study=study_uid, actor=actor)
    return Lifted(count, becomes)
