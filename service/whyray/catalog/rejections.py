"""Instances that a key object selection rejects (IHE IOCM): no job takes them, what was made of them is withdrawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, exists, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from whyray.catalog import contents, events, studies
from whyray.catalog.conflicts import instances_in_words
from whyray.catalog.database import is_one_of
from whyray.catalog.rejection_tables import RETENTION_EXPIRED, HeededNote, Rejection
from whyray.catalog.tables import Instance, Series, Study

TITLES: Mapping[str, str] = {
    "113001": "Rejected for Quality Reasons",
    "113037": "Rejected for Patient Safety Reasons",
    "113038": "Incorrect Modality Worklist Entry",
    RETENTION_EXPIRED: "Data Retention Policy Expired",
}
"""Document titles (CID 7010 of PS3.16, coding scheme DCM) that reject what they refer to, and their meaning."""

MOST_REFERENCES = 100_000
"""Of one note: no study has so many instances."""
_AT_A_TIME = 1000


@dataclass(frozen=True)
class RejectionNote:
    """A key object selection that rejects instances of its own study, and when it came. `code` is one of `TITLES`."""

    document_uid: str
    came_at: datetime
    code: str
    sop_instance_uids: frozenset[str]

    @property
    def title(self) -> str:
        """'113037 Rejected for Patient Safety Reasons'."""
        return f"{self.code} {TITLES[self.code]}"

    def rejects(self, instance: Instance) -> bool:
        """Whether it rejects what is here: what had expired may have been stored anew since."""
        had_come = self.code != RETENTION_EXPIRED or instance.received_at <= self.came_at
        return had_come and instance.sop_instance_uid in self.sop_instance_uids


def known(session: Session, study_uid: str, note: RejectionNote) -> bool:
    """Whether all that a note rejects is entered as rejected."""
    return not _new(session, study_uid, note)


def enter(session: Session, study_id: int, note: RejectionNote, now: datetime, *, actor: str) -> int:
    """Enter what a note rejects, and withdraw what was made of it; says how many instances were not rejected before.

    A study that has some in use is to be routed anew: whoever enters a note does that, since it has just come.
    """
    study = session.scalars(select(Study).where(Study.id == study_id).with_for_update()).one()
    new = _new(session, study.study_instance_uid, note)
    if not new:
        return 0
    formers = [
        instance
        for group in studies.routable(session, study_id).values()
        for instance in group
        if instance.sop_instance_uid in new and note.rejects(instance)
    ]
    _put(session, study.study_instance_uid, note, sorted(new))
    used = contents.withdraw(session, study, formers, now, actor, "that are rejected")
    words = (
        f"{instances_in_words(len(new))}, {len(formers)} of them here, rejected ({note.title}) by key object selection "
        f"{note.document_uid} from {actor}: no job takes them; {used.jobs} jobs and {used.results} results of their "
        "series were withdrawn"
    )
    if used.results:
        words += f", {used.deliveries.words}"
    if used.deliveries.gone:
        words += ": an archive may still show them, and somebody has to reject them there"
    severity: events.Severity = "error" if used.deliveries.gone else "warning"
    events.record(session, now, severity, "instance.rejected", words, study=study.study_instance_uid, actor="whyray")
    return len(new)


def _put(session: Session, study_uid: str, note: RejectionNote, sop_instance_uids: list[str]) -> None:
    """Enter them by few statements, in place of what is entered of them: other writers wait meanwhile."""
    rejected = {"code": note.code, "document_uid": note.document_uid, "rejected_at": note.came_at}
    for start in range(0, len(sop_instance_uids), _AT_A_TIME):
        some = sop_instance_uids[start : start + _AT_A_TIME]
        of_study = Rejection.study_instance_uid == study_uid
        session.execute(
            delete(Rejection)
            .where(of_study, is_one_of(session, Rejection.sop_instance_uid, some))
            .execution_options(synchronize_session=False)
        )
        session.execute(
            insert(Rejection),
            [{"study_instance_uid": study_uid, "sop_instance_uid": uid, **rejected} for uid in some],
        )


def remember(session: Session, study_uid: str, note: RejectionNote) -> None:
    """Keep when a note first came, also where all that it rejects is rejected already."""
    heeded = HeededNote(
        study_instance_uid=study_uid, document_uid=note.document_uid, code=note.code, first_came_at=note.came_at
    )
    if not is_remembered(session, study_uid, note):
        # another process may do so in the meantime
        with suppress(IntegrityError), session.begin_nested():
            session.add(heeded)


def is_remembered(session: Session, study_uid: str, note: RejectionNote) -> bool:
    """Whether it is kept when a note first came."""
    return session.get(HeededNote, (study_uid, note.document_uid)) is not None


def forget_expired(session: Session, study_uid: str) -> None:
    """Forget what had only expired of a study that is removed: it may come anew. What was wrong or lifted stays."""
    of_study = Rejection.study_instance_uid == study_uid
    session.execute(
        delete(Rejection).where(of_study, Rejection.code == RETENTION_EXPIRED, Rejection.lifted_at.is_(None))
    )
    if not session.scalar(select(exists().where(of_study, Rejection.lifted_at.is_not(None)))):
        session.execute(
            delete(HeededNote).where(HeededNote.study_instance_uid == study_uid, HeededNote.code == RETENTION_EXPIRED)
        )


def came_later(session: Session, study_id: int, note: RejectionNote) -> dict[str, list[Instance]]:
    """What a note rejects and that came with it or after it: nothing of them was compared as it was entered.

    By Series Instance UID. Of an instance of which several contents came the first counts, and the one in use is given.
    """
    other, its_series = aliased(Instance), aliased(Series)
    was_here = (
        exists()
        .where(
            other.sop_instance_uid == Instance.sop_instance_uid,
            other.received_at < note.came_at,
            its_series.id == other.series_id,
            its_series.study_id == study_id,
        )
        .correlate(Instance)
    )
    rows = session.execute(
        select(Series.series_instance_uid, Instance)
        .select_from(Rejection)
        .join(Study, Study.study_instance_uid == Rejection.study_instance_uid)
        .join(Instance, Instance.sop_instance_uid == Rejection.sop_instance_uid)
        .join(Series, Series.id == Instance.series_id)
        .where(Study.id == study_id, Series.study_id == study_id)
        .where(Rejection.document_uid == note.document_uid, studies.STILL_REJECTED)
        .where(Instance.own_result.is_(False), Instance.set_aside.is_(False), ~was_here)
        .order_by(Instance.id)
    )
    grouped: dict[str, list[Instance]] = {}
    for uid, instance in rows:
        grouped.setdefault(uid, []).append(instance)
    return grouped


def withdraw_note(session: Session, study_uid: str, note: RejectionNote) -> int:
    """Reject nothing more by this note, which proved to be about another patient; says of how many instances."""
    # the study first, as whoever enters or lifts a rejection does: else the two may wait for each other
    session.execute(select(Study.id).where(Study.study_instance_uid == study_uid).with_for_update())
    gone = delete(Rejection).where(
        Rejection.study_instance_uid == study_uid,
        Rejection.document_uid == note.document_uid,
        Rejection.lifted_at.is_(None),
    )
    count = session.connection().execute(gone).rowcount
    session.execute(
        delete(HeededNote).where(
            HeededNote.study_instance_uid == study_uid, HeededNote.document_uid == note.document_uid
        )
    )
    return count


def _new(session: Session, study_uid: str, note: RejectionNote) -> Collection[str]:
    """What a note rejects and is not rejected already, for good or by an expiry that came with or after this one; nor
    lifted since it came."""
    in_force = Rejection.lifted_at.is_(None)
    entered: ColumnElement[bool] = in_force & (Rejection.code != RETENTION_EXPIRED)
    # a note that had come as they were lifted stays so, also where it comes anew with the study
    heeded = session.get(HeededNote, (study_uid, note.document_uid))
    first_came_at = note.came_at if heeded is None else min(note.came_at, heeded.first_came_at)
    entered |= (Rejection.lifted_at >= first_came_at) | (
        Rejection.lifted_at.is_not(None) & (Rejection.document_uid == note.document_uid)
    )
    if note.code == RETENTION_EXPIRED:
        entered |= in_force & (Rejection.rejected_at >= note.came_at)
    rows = select(Rejection.sop_instance_uid).where(Rejection.study_instance_uid == study_uid, entered)
    return note.sop_instance_uids - set(session.scalars(rows))
