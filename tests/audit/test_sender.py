"""The trail on its way to a receiver by TLS: in order, valid, complete, and never in anybody's way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from audit.receiver import AuditRepository
from certificates import Authority
from peers import until
from whyray.audit import AuditSender
from whyray.base.sealing import SealingKeys
from whyray.catalog import AuditEvent, AuditParticipant, AuditReceiver, Catalog, Event, audit, events, sqlite_url
from whyray.config import Audit, Config, Syslog


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(sqlite_url(tmp_path / "catalog.sqlite"), keys=SealingKeys(bytes(32)))
    yield opened
    opened.close()


@pytest.fixture
def repository(tmp_path: Path) -> AuditRepository:
    return AuditRepository(Authority(tmp_path / "hospital", "hospital"))


def act(catalog: Catalog, count: int) -> None:
    """So many things to be audited."""
    who = AuditParticipant(name="ada", requestor=True)
    for _ in range(count):
        with catalog.begin() as session:
            audit.record(session, AuditEvent(at=catalog.clock(), kind="view", participants=(who,), patient="DOE-4711"))


@contextmanager
def sending(catalog: Catalog, receiver: Syslog) -> Iterator[None]:
    config = Config(audit=Audit(syslog=receiver, source="WHYRAY_1"))
    sender = AuditSender(catalog, lambda: config, look=0.02, longest_wait=0.1)
    stop = threading.Event()
    thread = threading.Thread(target=sender.run, args=[stop])
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def unsent(catalog: Catalog) -> list[Event]:
    with catalog.read() as session:
        return list(session.scalars(select(Event).where(Event.kind == "audit.unsent")))


def test_what_is_audited_reaches_the_receiver_once_in_order_and_valid(
    catalog: Catalog, repository: AuditRepository
) -> None:
    act(catalog, 3)
    with repository.listening(), sending(catalog, repository.settings):
        until(lambda: len(repository.heard) == 3)
        act(catalog, 150)
        until(lambda: len(repository.heard) >= 153)
    assert repository.faults == []
    assert [heard.number for heard in repository.heard] == list(range(1, 154))
    message = repository.heard[0].message
    assert message.find("AuditSourceIdentification").get("AuditSourceID") == "WHYRAY_1"
    assert (
        message.find("ParticipantObjectIdentification").get("ParticipantObjectID") == "DOE-4711"
    )  # sealed in the catalog
    with catalog.read() as session:
        assert "DOE-4711" not in "".join(row.content for row in audit.after(session, 0, 200))


def test_while_the_receiver_is_down_nobody_waits_one_event_says_so_and_nothing_is_lost(
    catalog: Catalog, repository: AuditRepository
) -> None:
    with repository.listening():
        receiver = repository.settings
        with sending(catalog, receiver):
            act(catalog, 1)
            until(lambda: repository.heard)
    with sending(catalog, receiver):
        act(catalog, 5)
        until(lambda: unsent(catalog))
        act(catalog, 5)
        with repository.listening():
            until(lambda: {heard.number for heard in repository.heard} == set(range(1, 12)))
    assert len(unsent(catalog)) == 1
    assert "DOE-4711" not in unsent(catalog)[0].message
    assert repository.faults == []


def test_a_receiver_that_is_not_trusted_gets_nothing(
    catalog: Catalog, repository: AuditRepository, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger", "stranger")
    act(catalog, 1)
    with repository.listening():
        receiver = repository.settings
        wrong = receiver.model_copy(update={"tls": receiver.tls.model_copy(update={"authorities": stranger.file})})
        with sending(catalog, wrong):
            assert "not trusted" in until(lambda: unsent(catalog))[0].message
    assert repository.heard == []


def test_two_senders_send_each_record_once(catalog: Catalog, repository: AuditRepository) -> None:
    with repository.listening(), sending(catalog, repository.settings), sending(catalog, repository.settings):
        act(catalog, 30)
        until(lambda: len(repository.heard) >= 30)
    assert [heard.number for heard in repository.heard] == list(range(1, 31))


def test_a_receiver_that_has_lost_what_it_had_is_sent_it_again(catalog: Catalog, repository: AuditRepository) -> None:
    act(catalog, 4)
    with repository.listening(), sending(catalog, repository.settings):
        until(lambda: len(repository.heard) == 4)
        until(lambda: _through(catalog) == 4)
        with catalog.begin() as session:
            assert audit.resend_from(session, 3) == 1
        until(lambda: len(repository.heard) >= 6)
    assert [heard.number for heard in repository.heard] == [1, 2, 3, 4, 3, 4]


def _through(catalog: Catalog) -> int:
    with catalog.read() as session:
        return max((row.through for row in session.scalars(select(AuditReceiver))), default=0)


def test_an_event_is_audited_with_who_did_it_and_a_transaction_that_fails_leaves_nothing(catalog: Catalog) -> None:
    with catalog.begin() as session:
        audit.acting_from.set("10.0.0.9")
        events.record(session, catalog.clock(), "info", "admin.login", "from 10.0.0.9", actor="ada")
        audit.acting_from.set(None)
        events.record(session, catalog.clock(), "info", "job.created", "not audited")
    with pytest.raises(RuntimeError):
        _fail_after_a_retry(catalog)
    with catalog.read() as session:
        (row,) = audit.after(session, 0, 10)
        event = audit.event_of(row, catalog.keys)
    assert (event.kind, event.outcome, event.participants[0].name) == ("login", 0, "ada")
    assert event.participants[0].address == "10.0.0.9"


def _fail_after_a_retry(catalog: Catalog) -> None:
    with catalog.begin() as session:
        events.record(session, catalog.clock(), "info", "admin.retry", "a job", actor="ada")
        raise RuntimeError
