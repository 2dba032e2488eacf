"""The audit trail: who saw and did what, appended in the transaction that did it, each record chained to the former.

A record that was changed, or taken out from between others, breaks the chain, and `verify` says where. Records taken
away from the end leave no gap: `verify` tells of those that a receiver already has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from sqlalchemy import Table, bindparam, func, insert, select, text, update
from sqlalchemy.orm import Session

from whyray.base.errors import InternalError
from whyray.base.sealing import SealingKeys
from whyray.catalog.audit_kinds import AuditKind, Outcome
from whyray.catalog.audit_tables import AuditReceiver, AuditRecord
from whyray.catalog.prepared import Prepared

if TYPE_CHECKING:
    from whyray.catalog.database import BareTransaction

WAITING = "whyray_audit_waiting"
"""Where a session keeps what its transaction is to append."""
SEALING = "whyray_audit_keys"
acting_from: ContextVar[str | None] = ContextVar("acting_from", default=None)
"""The IP address from which whoever acts in this context does so; set by the gate in front of the admin endpoint."""
BEGINNING = "0" * 64
"""What stands for the hash before the first record."""
_CHAIN_LOCK = 0x77687961
_RECORDS = cast(Table, AuditRecord.__table__)
_LAST = select(_RECORDS.c.number, _RECORDS.c.hash).order_by(_RECORDS.c.number.desc()).limit(1)
_APPEND = insert(_RECORDS)
_TAKE_TURN = text("SELECT pg_advisory_xact_lock(:key)")
_BARE_LAST, _BARE_TAKE_TURN = Prepared(_LAST), Prepared(_TAKE_TURN)
_BARE_APPEND = Prepared(_APPEND.values({column.name: bindparam(column.name) for column in _RECORDS.c}))
_BATCH = 500


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def _encodable(value: object) -> object:
    # what a peer's object says may have been decoded to half of a surrogate pair, which no database takes
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_encodable)]


class AuditParticipant(_Value):
    """Somebody, or a process, that took part. `address` is an IP address, or a host's name."""

    name: Text
    requestor: bool = False
    role: Literal["application", "launcher", "source", "destination"] | None = None
    ae_title: Text | None = None
    process: str | None = None
    address: Text | None = None


class AuditStudy(_Value):
    """A study that was concerned: how many instances of which SOP class."""

    uid: str
    instances: dict[str, int] = {}


class AuditObject(_Value):
    """Something else that was concerned."""

    kind: Literal["job", "result", "reader study", "node"]
    name: Text


class AuditEvent(_Value):
    """One event that is audited; `kind` is one of `AUDIT_KINDS`, `detail` the kind of the event that it is made of.

    `patient` is the Patient ID, where the standard asks for one; it is in no log, and nobody's name is kept.
    """

    at: datetime
    kind: AuditKind
    outcome: Outcome = 0
    words: Text = ""
    detail: str | None = None
    participants: tuple[AuditParticipant, ...]
    studies: tuple[AuditStudy, ...] = ()
    patient: Text | None = None
    objects: tuple[AuditObject, ...] = ()


def record(session: Session, event: AuditEvent) -> None:
    """Append it when the running transaction of `Catalog.begin` ends, if it does not fail."""
    session.info.setdefault(WAITING, []).append(event)


def append_waiting(session: Session) -> None:
    """Append what `record` was given; the last that a transaction does, since all who append wait for each other."""
    waiting: list[AuditEvent] = session.info.get(WAITING, [])
    if not waiting:
        return
    session.flush()
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_TAKE_TURN, {"key": _CHAIN_LOCK})
    connection = session.connection()
    connection.execute(_APPEND, _links(connection.execute(_LAST).first(), waiting, session.info.get(SEALING)))
    waiting.clear()


def append(transaction: BareTransaction, happened: Sequence[AuditEvent], keys: SealingKeys | None) -> None:
    """The same in a bare transaction, for each association that brings instances does this twice; `keys` are the
    catalog's.
    """
    if not happened:
        return
    if transaction.dialect.name == "postgresql":
        transaction.row(_BARE_TAKE_TURN, key=_CHAIN_LOCK)
    transaction.execute_each(_BARE_APPEND, _links(transaction.row(_BARE_LAST), happened, keys))


def _links(
    last: Sequence[Any] | None, happened: Iterable[AuditEvent], keys: SealingKeys | None
) -> list[dict[str, Any]]:
    """Rows that follow the last one (number, hash)."""
    number, former = last or (0, BEGINNING)
    rows = []
    for event in happened:
        number += 1
        content = _content(number, event, keys)
        former = _hash(former, content)
        rows.append({"number": number, "content": content, "hash": former})
    return rows


def _content(number: int, event: AuditEvent, keys: SealingKeys | None) -> str:
    values = event.model_dump(mode="json", exclude_defaults=True)
    values["number"] = number
    if keys is not None and event.patient is not None:
        values["sealed_patient"] = keys.seal_text(values.pop("patient"), _about(number))
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _about(number: int) -> str:
    return f"audit record {number}"


def _hash(former: str, content: str) -> str:
    return hashlib.sha256(f"{former}\n{content}".encode()).hexdigest()


def event_of(row: AuditRecord, keys: SealingKeys | None) -> AuditEvent:
    """What a record says; a patient identifier that was sealed is opened with `keys`.

    Raises
    ------
    SealBroken
        If it was sealed, and no key fits.
    InternalError
        If it is no record of this version.
    """
    values: dict[str, Any] = json.loads(row.content)
    values.pop("number")
    sealed = values.pop("sealed_patient", None)
    if sealed is not None:
        values["patient"] = "" if keys is None else keys.open_text(sealed, _about(row.number))
    try:
        return AuditEvent.model_validate(values)
    except ValidationError as error:
        raise InternalError(f"audit record {row.number} can't be read ({error.error_count()} faults)") from error


@dataclass(frozen=True)
class Chain:
    """What `verify` found. `broken_at` is the number of the first record that does not fit; None if all do."""

    records: int
    last_hash: str
    broken_at: int | None = None
    why: str = ""


def verify(session: Session) -> Chain:
    """Follow the chain from its beginning; a few records at a time are in memory."""
    former, expected = BEGINNING, 1
    for row in _all(session):
        why = ""
        if row.number != expected:
            missing = f"record {expected}" if row.number == expected + 1 else f"records {expected} to {row.number - 1}"
            why = f"{missing} {'is' if row.number == expected + 1 else 'are'} gone"
        elif _number_in(row.content) != row.number:
            why = f"record {row.number} stands in the place of another"
        elif _hash(former, row.content) != row.hash:
            why = f"record {row.number} was changed"
        if why:
            return Chain(expected - 1, former, expected, why)
        former, expected = row.hash, expected + 1
    sent = session.scalar(select(func.max(AuditReceiver.through))) or 0
    if sent >= expected:
        return Chain(
            expected - 1, former, expected, f"a receiver has records up to {sent}, the last here is {expected - 1}"
        )
    return Chain(expected - 1, former)


def _number_in(content: str) -> int | None:
    try:
        return int(json.loads(content)["number"])
    except (ValueError, KeyError, TypeError):
        return None


def _all(session: Session) -> Iterator[AuditRecord]:
    number = 0
    while rows := after(session, number, _BATCH):
        for row in rows:
            yield row
            session.expunge(row)
        number = rows[-1].number


def after(session: Session, number: int, most: int) -> Sequence[AuditRecord]:
    """The records that follow this number, in order."""
    query = select(AuditRecord).where(AuditRecord.number > number).order_by(AuditRecord.number).limit(most)
    return session.scalars(query).all()


def sent_through(session: Session, name: str) -> int:
    """The number of the last record that this receiver has; 0 where it has none."""
    row = session.get(AuditReceiver, name)
    return 0 if row is None else row.through


def resend_from(session: Session, number: int) -> int:
    """Have all receivers sent what follows from this number on once more; says how many receivers there are."""
    rows = session.scalars(select(AuditReceiver).with_for_update()).all()
    for row in rows:
        row.through = min(row.through, number - 1)
    return len(rows)


def receiver(session: Session, name: str) -> AuditReceiver:
    """How far this receiver is; it is entered, at the beginning of the trail, where it is new."""
    row = session.get(AuditReceiver, name, with_for_update=True)
    if row is None:
        row = AuditReceiver(name=name, through=0)
        session.add(row)
        session.flush()
    return row


def lease(session: Session, name: str, owner: str, now: datetime, lasting: timedelta) -> AuditReceiver | None:
    """Let `owner` alone send to this receiver for a time; None where another does."""
    row = receiver(session, name)
    # one that lasts for much longer is from before the clock was set back: who is alive renews it with each message
    is_held = row.lease_until is not None and now < row.lease_until <= now + 2 * lasting
    if row.lease_owner not in (None, owner) and is_held:
        return None
    row.lease_owner, row.lease_until = owner, now + lasting
    return row


def release(session: Session, owner: str) -> None:
    """End the leases of `owner`."""
    leased = AuditReceiver.lease_owner == owner
    session.execute(update(AuditReceiver).where(leased).values(lease_owner=None, lease_until=None))
