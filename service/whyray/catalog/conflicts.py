"""Contents that came under UIDs which their study had already: entered as they come, compared later.

One content of an instance is in use in a study, and the others are set aside. The newest of these waits to be compared
with the one in use, and for somebody's decision (see `catalog.contents`); intake itself reads no file for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, cast

from sqlalchemy import ColumnElement, Table, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from whyray.catalog import events
from whyray.catalog.conflict_tables import Conflict
from whyray.catalog.states import ConflictDecision, PixelComparison
from whyray.catalog.tables import Instance, Series, Study

_CONFLICTS, _INSTANCES, _STUDIES = (cast(Table, table.__table__) for table in (Conflict, Instance, Study))
_UNDECIDED = Conflict.decision.is_(None)
IS_ASKED: ColumnElement[bool] = (
    exists()
    .where(
        Conflict.study_id == Study.id, _UNDECIDED, or_(Conflict.identification != "", Conflict.compared_at.is_(None))
    )
    .correlate(Study)
)
"""Whether a study has contents that name another patient or order, or may, and that nobody has decided about."""
_USED, _ITS_SERIES = aliased(Instance), aliased(Series)


class Known(Protocol):
    """What `add_instance` knows of an instance of the UID that came."""

    id: int
    variant: int
    set_aside: bool
    own_result: bool


@dataclass(frozen=True)
class Difference:
    """How two contents differ: keywords of attributes of identification, of some others, and the pixel data."""

    identification: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    pixels: PixelComparison = PixelComparison.SAME


@dataclass(frozen=True)
class Pair:
    """The newest content of an instance, and the one in use."""

    study_id: int
    study_instance_uid: str
    instance_id: int
    key: str
    calling_ae: str
    key_in_use: str
    calling_ae_in_use: str
    size: int
    """Bytes of both."""
    is_newest: bool
    """False where the one in use came once more since."""


def enter_conflict(session: Session, study_id: int, instance_id: int, former: Collection[int], now: datetime) -> None:
    """Another content of an instance came: it waits to be compared. `former` are those that its study had."""
    overtaken = update(_CONFLICTS).where(_CONFLICTS.c.instance_id.in_(former), _CONFLICTS.c.decision.is_(None))
    session.execute(overtaken.values(decision=ConflictDecision.OVERTAKEN))
    session.execute(delete(_CONFLICTS).where(_CONFLICTS.c.instance_id == instance_id))
    values = {"study_id": study_id, "instance_id": instance_id, "came_at": now, "identification": "", "others": ""}
    session.execute(insert(_CONFLICTS), values)


def reenter(
    session: Session,
    study: tuple[int, str],
    known: Known,
    in_study: Sequence[Known],
    calling_ae: str,
    now: datetime,
) -> bool:
    """A content that the study has came once more: it is the newest now. Says whether it waits to be compared.

    A sender that sends again what is in use has decided by that about what it had sent since, once that was compared:
    it is kept apart. What another sender had sent stays undecided about.

    Parameters
    ----------
    study
        Its id, and its Study Instance UID.
    in_study
        All contents of the instance that the study has.
    """
    in_order = sorted(in_study, key=lambda row: row.variant)
    if in_order[-1].id == known.id:
        return False
    place = next(number for number, row in enumerate(in_order) if row.id == known.id)
    variants = [row.variant for row in in_order]
    _number(session, known.id, -1)  # no two have the same at any time
    for number, row in enumerate(in_order[place + 1 :], place):
        _number(session, row.id, variants[number])
    _number(session, known.id, variants[-1])
    if known.own_result:
        return False
    study_id, study_uid = study
    others = [row.id for row in in_study if row.id != known.id]
    if known.set_aside:
        enter_conflict(session, study_id, known.id, others, now)
        return True
    its_own = select(Instance.id).where(Instance.id.in_(others), Instance.calling_ae == calling_ae)
    kept = update(_CONFLICTS).where(
        _CONFLICTS.c.instance_id.in_(its_own), _CONFLICTS.c.decision.is_(None), _CONFLICTS.c.compared_at.is_not(None)
    )
    if session.connection().execute(kept.values(decision=ConflictDecision.KEPT_APART)).rowcount:
        session.execute(update(_STUDIES).where(_STUDIES.c.id == study_id).values(content_decided_at=now))
        words = f"{calling_ae} sent what is in use of 1 instance again, and what it had sent since is kept apart"
        events.record(session, now, "info", "content.kept", words, study=study_uid)
    return False


def _number(session: Session, instance_id: int, variant: int) -> None:
    session.execute(update(_INSTANCES).where(_INSTANCES.c.id == instance_id).values(variant=variant))


def record_conflict_event(
    session: Session, study_uid: str, sop_instance_uid: str, calling_ae: str, now: datetime
) -> None:
    """The event of another content."""
    words = (
        f"instance {sop_instance_uid} came again with other bytes from {calling_ae}; "
        "both are kept, and the one in use stays so until they are compared"
    )
    events.record(session, now, "warning", "instance.conflict", words, study=study_uid)


def to_compare(session: Session, most: int) -> list[Pair]:
    """Pairs of contents that were not compared yet, oldest first."""
    return _pairs(session, Conflict.compared_at.is_(None), most=most)


def undecided(session: Session, study_id: int) -> list[tuple[Conflict, Pair]]:
    """What a study has in the way of newest contents that nobody has decided about."""
    pairs = {pair.instance_id: pair for pair in _pairs(session, Conflict.study_id == study_id)}
    rows = session.scalars(select(Conflict).where(_UNDECIDED, Conflict.study_id == study_id))
    return [(row, pairs[row.instance_id]) for row in rows if row.instance_id in pairs]


def version(waiting: Iterable[Conflict]) -> str:
    """What changes (64 hex digits) where other contents wait than before, or more is known of them."""
    lines = sorted(f"{conflict.instance_id} {conflict.came_at} {conflict.compared_at}" for conflict in waiting)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _pairs(session: Session, which: object, *, most: int | None = None) -> list[Pair]:
    rows = session.execute(
        select(
            Study.id,
            Study.study_instance_uid,
            Instance.id,
            Instance.key,
            Instance.calling_ae,
            _USED.key,
            _USED.calling_ae,
            Instance.size + _USED.size,
            Instance.variant > _USED.variant,
        )
        .select_from(Conflict)
        .join(Study, Study.id == Conflict.study_id)
        .join(Instance, Instance.id == Conflict.instance_id)
        .join(_USED, (_USED.sop_instance_uid == Instance.sop_instance_uid) & _USED.set_aside.is_(False))
        .join(_ITS_SERIES, (_ITS_SERIES.id == _USED.series_id) & (_ITS_SERIES.study_id == Conflict.study_id))
        .where(_UNDECIDED, which)  # type: ignore[arg-type]
        .order_by(Conflict.instance_id)
        .limit(most)
    )
    return [Pair(*row) for row in rows]


def compared(session: Session, instance_id: int, difference: Difference, now: datetime) -> bool:
    """Enter how a content differs from the one in use; False where that was entered, or decided, meanwhile."""
    row = session.get(Conflict, instance_id, with_for_update=True)
    if row is None or row.compared_at is not None or row.decision is not None:
        return False
    row.compared_at = now
    row.identification = ", ".join(difference.identification)
    row.others = ", ".join(difference.others)
    row.pixels = difference.pixels
    return True


def is_decided(session: Session, study_id: int) -> bool:
    """Whether anything was decided about contents of this study before, by whomever."""
    # not of the conflicts: one is entered anew where its content comes again
    return session.scalar(select(Study.content_decided_at).where(Study.id == study_id)) is not None


def in_use_alone(session: Session, study_id: int) -> int:
    """How many instances in use of a study have no newest content that is undecided about."""
    number = session.scalar(
        select(func.count(Instance.id))
        .join(Series)
        .where(Series.study_id == study_id, Instance.own_result.is_(False), Instance.set_aside.is_(False))
    )
    return (number or 0) - len(_pairs(session, Conflict.study_id == study_id))


def instances_in_words(number: int) -> str:
    """'1 instance', '1,200 instances'."""
    return "1 instance" if number == 1 else f"{number:,} instances"


@dataclass(frozen=True)
class Unidentified:
    """A study of which contents wait that name another patient or order."""

    study_id: int
    study_instance_uid: str
    instances: int
    identification: frozenset[str]
    since: datetime


def unidentified(session: Session) -> list[Unidentified]:
    """All such studies, as long as nobody has decided about them; the oldest first."""
    rows = session.execute(
        select(Study.id, Study.study_instance_uid, Conflict.identification, func.count(), func.min(Conflict.came_at))
        .join(Study, Study.id == Conflict.study_id)
        .where(_UNDECIDED, Conflict.identification != "")
        .group_by(Study.id, Study.study_instance_uid, Conflict.identification)
        .order_by(func.min(Conflict.came_at))
    ).all()
    unidentified: dict[int, Unidentified] = {}
    for study_id, uid, keywords, number, since in rows:
        former = unidentified.get(study_id, Unidentified(study_id, uid, 0, frozenset(), since))
        names = former.identification | set(keywords.split(", "))
        unidentified[study_id] = Unidentified(study_id, uid, former.instances + number, names, former.since)
    return list(unidentified.values())


@dataclass(frozen=True)
class Waiting:
    """What waits in a study for a decision, in few numbers: equal as long as nothing comes and nothing is compared."""

    instances: int
    compared: int
    sum_of_ids: int
    last_came_at: datetime
    last_compared_at: datetime | None


def waiting(session: Session) -> dict[int, Waiting]:
    """By study id, of studies with contents that name another patient or order: counted, so that no row is loaded."""
    rows = session.execute(
        select(
            Conflict.study_id,
            func.count(),
            func.count(Conflict.compared_at),
            func.sum(Conflict.instance_id),
            func.max(Conflict.came_at),
            func.max(Conflict.compared_at),
        )
        .where(_UNDECIDED)
        .group_by(Conflict.study_id)
        .having(func.max(Conflict.identification) != "")
        .order_by(func.min(Conflict.came_at), Conflict.study_id)
    )
    return {
        study_id: Waiting(number, compared, int(ids), came, last)
        for study_id, number, compared, ids, came, last in rows
    }
