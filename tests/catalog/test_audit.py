"""The chain of the audit trail: whole, or told where it is not; and a database that forbids what would break it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from whyray.base.sealing import SealingKeys
from whyray.catalog import AuditEvent, AuditParticipant, AuditReceiver, AuditRecord, Catalog, audit, sqlite_url


def record(catalog: Catalog, count: int = 1) -> None:
    with catalog.begin() as session:
        for number in range(count):
            who = AuditParticipant(name=f"ada {number}", requestor=True)
            audit.record(session, AuditEvent(at=catalog.clock(), kind="view", participants=(who,), patient="4711"))


def verified(catalog: Catalog) -> audit.Chain:
    with catalog.read() as session:
        return audit.verify(session)


def in_spite_of_the_triggers(session: Session) -> None:
    """As somebody who owns the database could."""
    if session.get_bind().dialect.name == "sqlite":
        for name in ("update", "delete", "insert"):
            session.execute(text(f"DROP TRIGGER audit_records_{name}"))
    else:
        session.execute(text("ALTER TABLE audit_records DISABLE TRIGGER USER"))


@pytest.fixture
def tampered(catalog: Catalog) -> Catalog:
    record(catalog, 3)
    record(catalog, 3)
    return catalog


def tamper(catalog: Catalog, *statements: str) -> audit.Chain:
    with catalog.engine.begin() as connection, Session(connection) as session:
        in_spite_of_the_triggers(session)
        for statement in statements:
            session.execute(text(statement))
        verdict = audit.verify(session)
        session.rollback()
        connection.rollback()
    return verdict


def test_an_empty_and_a_growing_trail_are_whole(catalog: Catalog) -> None:
    assert verified(catalog) == audit.Chain(0, audit.BEGINNING)
    record(catalog, 2)
    first = verified(catalog)
    record(catalog)
    assert (first.records, verified(catalog).records) == (2, 3)
    assert first.last_hash != verified(catalog).last_hash


@pytest.mark.parametrize(
    ("statement", "broken_at", "why"),
    [
        ("UPDATE audit_records SET content = replace(content, 'ada 1', 'bob 1') WHERE number = 2", 2, "was changed"),
        ("UPDATE audit_records SET hash = 'x' || substr(hash, 2) WHERE number = 6", 6, "was changed"),
        ("DELETE FROM audit_records WHERE number = 4", 4, "record 4 is gone"),
        ("DELETE FROM audit_records WHERE number < 3", 1, "records 1 to 2 are gone"),
    ],
)
def test_a_changed_or_removed_record_is_told(tampered: Catalog, statement: str, broken_at: int, why: str) -> None:
    verdict = tamper(tampered, statement)
    assert (verdict.broken_at, verdict.records) == (broken_at, broken_at - 1)
    assert why in verdict.why


def test_records_in_each_others_place_are_told(tampered: Catalog) -> None:
    swap = [f"UPDATE audit_records SET number = {to} WHERE number = {old}" for old, to in ((2, 99), (3, 2), (99, 3))]
    assert tamper(tampered, *swap).broken_at == 2


def test_records_that_were_sent_and_are_gone_from_the_end_are_told(tampered: Catalog) -> None:
    with tampered.begin() as session:
        session.add(AuditReceiver(name="tls://repository:6514", through=6))
    assert tamper(tampered).broken_at is None
    assert tamper(tampered, "DELETE FROM audit_records WHERE number > 4").broken_at == 5


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_records SET content = 'x'",
        "DELETE FROM audit_records",
        "DELETE FROM audit_records WHERE number = 6",
    ],
)
def test_the_database_forbids_to_change_and_to_remove(tampered: Catalog, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), tampered.engine.begin() as connection:
        connection.execute(text(statement))
    assert verified(tampered).records == 6


def test_the_database_forbids_each_dialects_way_around_it(tampered: Catalog) -> None:
    sqlite = tampered.engine.dialect.name == "sqlite"
    way = "INSERT OR REPLACE INTO audit_records VALUES (3, 'x', 'y')" if sqlite else "TRUNCATE audit_records"
    with pytest.raises(DBAPIError, match="append-only"), tampered.engine.begin() as connection:
        connection.execute(text(way))
    assert verified(tampered).broken_at is None


def test_those_who_record_at_the_same_time_make_one_chain(catalog: Catalog) -> None:
    threads = [threading.Thread(target=lambda: [record(catalog) for _ in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (verified(catalog).records, verified(catalog).broken_at) == (20, None)


@pytest.mark.parametrize("sealed", [False, True])
def test_what_a_bare_transaction_appends_is_what_a_session_would(tmp_path: Path, *, sealed: bool) -> None:
    keys = SealingKeys(bytes(32)) if sealed else None
    at = datetime(2026, 11, 30, tzinfo=UTC)
    who = AuditParticipant(name="CT_1", requestor=True)
    happened = [AuditEvent(at=at, kind="view", participants=(who,), patient=patient) for patient in ("a", "b", None)]
    trails: list[list[object]] = []
    for bare in (True, False):
        catalog = Catalog(sqlite_url(tmp_path / f"{bare}.sqlite"), keys=keys)
        for count in (2, 0, 1):
            if bare:
                with catalog.begin_bare() as transaction:
                    audit.append(transaction, happened[:count], keys)
            else:
                with catalog.begin() as session:
                    for event in happened[:count]:
                        audit.record(session, event)
        assert verified(catalog).records == 3
        with catalog.read() as session:
            trails.append([audit.event_of(row, keys) for row in audit.after(session, 0, 10)])
        if not sealed:
            trails[-1].append(verified(catalog).last_hash)
    assert trails[0] == trails[1]


def test_a_record_keeps_what_it_was_given(catalog: Catalog) -> None:
    record(catalog)
    with catalog.read() as session:
        row = session.get(AuditRecord, 1)
        assert row is not None
        assert audit.event_of(row, None).patient == "4711"
