"""Studies, series and instances in the catalog: what came in, and what routing has dealt with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, Session

from whyray.catalog import conflicts, events, headers
from whyray.catalog.database import Catalog, is_one_of
from whyray.catalog.prepared import Prepared
from whyray.catalog.rejection_tables import RETENTION_EXPIRED, Rejection
from whyray.catalog.tables import Instance, Job, ResultRow, Series, Study

_STUDIES, _SERIES, _INSTANCES = (cast(Table, table.__table__) for table in (Study, Series, Instance))
_OF_RESULT = select(ResultRow.id).where(ResultRow.sop_instance_uid == bindparam("uid")).limit(1)
_RESULT = Prepared(_OF_RESULT)


NEWEST = 10_000
"""Among so many studies, the newest, a part from within a UID is looked for."""
_FEW_BY_UID = 2000
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


STILL_REJECTED = and_(
    Rejection.lifted_at.is_(None),
    or_(Rejection.code != RETENTION_EXPIRED, Instance.received_at <= Rejection.rejected_at),
)
"""What a retention policy has removed may be stored anew (IHE IOCM); what is wrong stays so until somebody lifts it."""


@dataclass(frozen=True)
class Received:
    """What intake knows of one object once its bytes are durable in storage under `key`."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str | None
    sha256: str
    size: int
    key: str
    calling_ae: str
    own_result: bool = False
    routed: bool = True
    """False for what a worklist had fetched: no route is asked about it, the workitem names its own."""
    header: bytes | None = field(default=None, repr=False)
    """As `catalog.headers` keeps it, of the first instance of a series; None where it is too large."""


class Arrival(StrEnum):
    """How the catalog took an object."""

    NEW = "new"
    DUPLICATE = "duplicate"
    """Same UID, same bytes: nothing new; the stored copy stays, the one just written may be removed."""
    CONFLICT = "conflict"
    """Same UID within its study, other bytes: kept apart as a further variant, and an event raised."""


_HAD_EXPIRED = (
    exists()
    .where(
        Rejection.study_instance_uid == bindparam("study_uid"),
        Rejection.sop_instance_uid == _INSTANCES.c.sop_instance_uid,
        Rejection.code == RETENTION_EXPIRED,
        Rejection.lifted_at.is_(None),
        Rejection.rejected_at >= _INSTANCES.c.received_at,
    )
    .correlate(_INSTANCES)
)
"""Whether a retention policy had removed it; the database asks this of each row found, so of nothing that is new."""
_LOCKED_STUDY = select(_STUDIES.c.id).where(_STUDIES.c.study_instance_uid == bindparam("uid")).with_for_update()
_SAME_INSTANCES = (
    select(
        _INSTANCES.c.id,
        _INSTANCES.c.sha256,
        _INSTANCES.c.variant,
        _INSTANCES.c.routed,
        _INSTANCES.c.set_aside,
        _INSTANCES.c.own_result,
        _SERIES.c.study_id,
        _HAD_EXPIRED.label("had_expired"),
    )
    .join(_SERIES, _SERIES.c.id == _INSTANCES.c.series_id)
    .where(_INSTANCES.c.sop_instance_uid == bindparam("uid"))
)
_SAME_SERIES = select(_SERIES.c.id).where(
    _SERIES.c.study_id == bindparam("study"), _SERIES.c.series_instance_uid == bindparam("uid")
)


def opened_by(came: Any) -> dict[str, Any]:
    """The values of a study of which so much came that routing has not dealt with; the time is the parameter `now`."""
    now = bindparam("now", type_=_STUDIES.c.opened_at.type)
    was_settled = _STUDIES.c.received_sequence == _STUDIES.c.routed_sequence
    return {
        "received_sequence": _STUDIES.c.received_sequence + came,
        "expires_at": None,
        "opened_at": case((was_settled, now), else_=_STUDIES.c.opened_at),
    }


_TOUCH = update(_STUDIES).where(_STUDIES.c.id == bindparam("study")).values(last_received_at=bindparam("now"))
_OPEN = _TOUCH.values(opened_by(1))
_OPEN_AGAIN = update(_STUDIES).where(_STUDIES.c.id == bindparam("study")).values(opened_by(1))


def add_instance(session: Session, received: Received, now: datetime) -> Arrival:
    """Enter one object; the caller commits, and only then may the peer be told 'success'.

    By statements that are made once, and without objects: intake's time is spent here, and nobody looks at the rows.
    """
    connection = session.connection()
    # the study's lock comes first: two processes that get the same instance at once must not both find it new
    study_id = _study(connection, received.study_instance_uid, now)
    asked = {"uid": received.sop_instance_uid, "study_uid": received.study_instance_uid}
    same_uid = connection.execute(_SAME_INSTANCES, asked).all()
    same = next((row for row in same_uid if row.sha256 == received.sha256), None)
    if same is not None:
        if received.routed and not same.routed:
            connection.execute(update(_INSTANCES).where(_INSTANCES.c.id == same.id).values(routed=True))
            connection.execute(_OPEN, {"study": study_id, "now": now})
        if same.had_expired and same.study_id == study_id:
            # stored anew though it had not gone: as if it came now, after the note
            connection.execute(update(_INSTANCES).where(_INSTANCES.c.id == same.id).values(received_at=now))
            connection.execute(_OPEN if received.routed else _TOUCH, {"study": study_id, "now": now})
        in_study = [row for row in same_uid if row.study_id == study_id]
        study = (study_id, received.study_instance_uid)
        if len(in_study) > 1 and conflicts.reenter(session, study, same, in_study, received.calling_ae, now):
            connection.execute(_TOUCH, {"study": study_id, "now": now})
            conflicts.record_conflict_event(
                session, received.study_instance_uid, received.sop_instance_uid, received.calling_ae, now
            )
        return Arrival.DUPLICATE
    known_in_study = any(row.study_id == study_id for row in same_uid)
    series_id, is_first = _series(connection, study_id, received)
    values = {
        "series_id": series_id,
        "sop_instance_uid": received.sop_instance_uid,
        "sop_class_uid": received.sop_class_uid,
        "transfer_syntax_uid": received.transfer_syntax_uid,
        "sha256": received.sha256,
        "size": received.size,
        "key": received.key,
        "variant": 1 + max((row.variant for row in same_uid), default=-1),
        "calling_ae": received.calling_ae,
        "received_at": now,
        "own_result": received.own_result,
        "routed": received.routed,
        "set_aside": known_in_study,
    }
    instance_id = _inserted(connection, _INSTANCES, values)
    if is_first and received.header is not None and not received.own_result:
        header = headers.compressed(session, received.header)
        header.instance_id = instance_id
        session.add(header)
    if not received.routed or (known_in_study and not received.own_result):
        connection.execute(_TOUCH, {"study": study_id, "now": now})
    elif not received.own_result:
        connection.execute(_OPEN, {"study": study_id, "now": now})
    if known_in_study:
        if not received.own_result:
            former = [row.id for row in same_uid if row.study_id == study_id]
            conflicts.enter_conflict(session, study_id, instance_id, former, now)
        conflicts.record_conflict_event(
            session, received.study_instance_uid, received.sop_instance_uid, received.calling_ae, now
        )
        return Arrival.CONFLICT
    if same_uid:
        events.record(
            session,
            now,
            "warning",
            "instance.in-two-studies",
            f"instance {received.sop_instance_uid} came before in another study, and now in this one from "
            f"{received.calling_ae}; each study uses its own",
            study=received.study_instance_uid,
        )
    return Arrival.NEW


def _inserted(connection: Connection, table: Table, values: Mapping[str, Any]) -> int:
    """The id of a row that is entered."""
    key: Any = connection.execute(insert(table), values).inserted_primary_key
    return int(key[0])


def _series(connection: Connection, study_id: int, received: Received) -> tuple[int, bool]:
    """The id of the object's series, and whether that has just been entered."""
    known = connection.scalar(_SAME_SERIES, {"study": study_id, "uid": received.series_instance_uid})
    if known is not None:
        return known, False
    values = {
        "study_id": study_id,
        "series_instance_uid": received.series_instance_uid,
        "modality": received.modality,
    }
    return _inserted(connection, _SERIES, values), True


def _study(connection: Connection, uid: str, now: datetime) -> int:
    """The id of a study, which is entered where it is new, and locked."""
    known: int | None = connection.scalar(_LOCKED_STUDY, {"uid": uid})
    if known is not None:
        return known
    values = {
        "study_instance_uid": uid,
        "received_sequence": 0,
        "routed_sequence": 0,
        "first_received_at": now,
        "last_received_at": now,
        "opened_at": now,
    }
    # another process may have entered it in the meantime
    with suppress(IntegrityError), connection.begin_nested():
        return _inserted(connection, _STUDIES, values)
    return int(connection.execute(_LOCKED_STUDY, {"uid": uid}).scalar_one())


def unsettled(session: Session) -> list[Study]:
    """Studies with instances that routing has not dealt with yet, oldest first."""
    return list(
        session.scalars(
            select(Study).where(Study.received_sequence > Study.routed_sequence).order_by(Study.last_received_at)
        )
    )


def settle(
    session: Session, study_id: int, received_sequence: int, note: str, *, expires_at: datetime | None = None
) -> None:
    """Routing has dealt with all up to `received_sequence`. What came since then keeps the study unsettled."""
    session.execute(
        update(Study)
        .where(Study.id == study_id, Study.routed_sequence < received_sequence)
        .values(routed_sequence=received_sequence, note=note, expires_at=expires_at)
    )


def open_again(session: Session, study_id: int, now: datetime) -> None:
    """Give routing something to deal with. When something last came stays: what is complete is routed at once."""
    session.connection().execute(_OPEN_AGAIN, {"study": study_id, "now": now})


def describe(session: Session, study_id: int, note: str) -> None:
    """Say what routing waits for."""
    session.execute(update(Study).where(Study.id == study_id, Study.note.is_distinct_from(note)).values(note=note))


def routable(session: Session, study_id: int, *, but_for: str = "") -> dict[str, list[Instance]]:
    """The instances that routing may use, by Series Instance UID.

    No own results, no contents that are set aside, and none that a key object selection has rejected; `but_for` one
    (its SOP Instance UID) says what there would be without it.
    """
    is_rejected = (
        exists()
        .where(_of_study(study_id), Rejection.sop_instance_uid == Instance.sop_instance_uid, STILL_REJECTED)
        .where(Rejection.document_uid != but_for)
        .correlate(Instance)
    )
    rows = session.execute(
        select(Series.series_instance_uid, Instance)
        .join(Instance, Instance.series_id == Series.id)
        .where(Series.study_id == study_id, Instance.own_result.is_(False), Instance.set_aside.is_(False))
        .where(~is_rejected)
        .order_by(Series.id, Instance.id)
    )
    grouped: dict[str, list[Instance]] = {}
    for uid, instance in rows:
        grouped.setdefault(uid, []).append(instance)
    return grouped


def rejected(session: Session, study_id: int) -> set[int]:
    """The ids of what is here of a study and rejected."""
    # from the rejections on, of which most studies have none
    of_study = (
        select(Instance.id)
        .select_from(Rejection)
        .join(Instance, Instance.sop_instance_uid == Rejection.sop_instance_uid)
        .join(Series, Series.id == Instance.series_id)
        .where(_of_study(study_id), Series.study_id == study_id, STILL_REJECTED)
    )
    return set(session.scalars(of_study))


def _of_study(study_id: int) -> ColumnElement[bool]:
    """Whether a rejection is one of this study: its UID is asked for once, and each rejection is found by its key."""
    uid = select(Study.study_instance_uid).where(Study.id == study_id).scalar_subquery()
    return Rejection.study_instance_uid == uid


def has_routed(session: Session, study_id: int) -> bool:
    """Whether routes are asked about anything that is here of a study."""
    routed = exists().where(Series.study_id == study_id, Instance.series_id == Series.id, Instance.routed)
    return bool(session.scalar(select(routed)))


def is_unmatched_only(session: Session, study: Study) -> bool:
    """Whether no route ever took any of a study, and none of it is rejected.

    Where all is rejected no route takes it either, but its results are others' to fetch, and a note that came first
    says of images that come yet.
    """
    with_jobs = exists().where(Job.study_id == study.id)
    rejected = exists().where(Rejection.study_instance_uid == study.study_instance_uid, Rejection.lifted_at.is_(None))
    return not session.scalar(select(with_jobs | rejected))


def input_digest(instances: Iterable[Instance]) -> str:
    """SHA-256 (hex) over the sorted digests of what a job takes."""
    return hashlib.sha256("".join(sorted(instance.sha256 for instance in instances)).encode()).hexdigest()


def is_own(catalog: Catalog, sop_instance_uid: str) -> bool:
    """Whether the catalog says that WhyRay made this object."""
    return catalog.row(_RESULT, uid=sop_instance_uid) is not None


def marked(session: Session, received: Received) -> Received:
    """The same object, marked as WhyRay's own where the catalog says that it is; asked before it is entered."""
    if received.own_result or not session.connection().execute(_OF_RESULT, {"uid": received.sop_instance_uid}).all():
        return received
    return replace(received, own_result=True)


def holds(session: Session, sop_instance_uid: str, sop_class_uid: str) -> bool:
    """Whether this instance is safe here: the question that storage commitment asks."""
    instance_id = session.scalar(
        select(Instance.id).where(
            Instance.sop_instance_uid == sop_instance_uid, Instance.sop_class_uid == sop_class_uid
        )
    )
    return instance_id is not None


def counts(session: Session, study_id: int) -> tuple[int, int]:
    """(series, instances) of a study that were received and are not own results."""
    row = session.execute(
        select(func.count(func.distinct(Series.id)), func.count(Instance.id))
        .join(Instance, Instance.series_id == Series.id)
        .where(Series.study_id == study_id, Instance.own_result.is_(False), Instance.set_aside.is_(False))
    ).one()
    return int(row[0]), int(row[1])


def of_uid(session: Session, part: str) -> tuple[tuple[ColumnElement[bool], ...], ...]:
    """Studies with this part in their Study Instance UID, as conditions that no study meets two of.

    One that begins or ends with it is found wherever it is, and a whole UID is its own beginning; one that has it
    within, among the `NEWEST` studies: no index has all parts of a UID, and to read a million takes a second.
    """
    if not (part.isascii() and part.isprintable()):
        return ((false(),),)
    begins = uid_begins(Study.study_instance_uid, part)
    ends = uid_begins(Study.reversed_uid, part[::-1])
    contains = Study.study_instance_uid.contains(part, autoescape=True)
    study_ids: set[int] = set()
    for condition in (begins, ends):
        ids = session.scalars(select(Study.id).where(condition).limit(_FEW_BY_UID + 1)).all()
        if len(ids) > _FEW_BY_UID:  # then it is soon found among the newest
            return ((contains,),)
        study_ids.update(ids)
    known = is_one_of(session, Study.id, sorted(study_ids))
    received = select(Study.last_received_at).order_by(Study.last_received_at.desc(), Study.id.desc())
    before = session.scalar(received.offset(NEWEST).limit(1)) or _BEFORE_ALL
    return ((known,), (contains, ~known, Study.last_received_at > before))


def uid_begins(column: InstrumentedAttribute[str], part: str) -> ColumnElement[bool]:
    """Whether the UID in this column begins so; of `Study.reversed_uid`, with `part` reversed: ends so."""
    # not LIKE: SQLite reads an index for that only where letters of both cases are one
    return (column >= part) & (column < part[:-1] + chr(ord(part[-1]) + 1))
