"""What the overview says of work that nobody takes up, and of senders that are turned away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy.exc import OperationalError

from catalog.rows import NOON, job, result
from whyray.catalog import Catalog, api_tokens, events, jobs, processes
from whyray.catalog.attention import attention
from whyray.catalog.attention_item import Attention
from whyray.catalog.shortages import Disks


def told(catalog: Catalog, *, after: timedelta, destinations: tuple[str, ...] = ("pacs",)) -> list[Attention]:
    with catalog.read() as session:
        return list(attention(session, NOON + after, destinations=destinations, disks=Disks()))


def alive(catalog: Catalog, role: str, *, after: timedelta) -> None:
    with catalog.begin() as session:
        processes.seen(session, f"{role}@here:1", role, NOON)
        processes.seen(session, f"{role}@here:1", role, NOON + after)


def deliver(catalog: Catalog, *destinations: str) -> None:
    """Let a job end whose one result goes there."""
    with catalog.begin() as session:
        row = job(session)
        assert jobs.claim(session, row.id, "worker", NOON) is not None
        jobs.finish(session, row.id, "worker", [result("1", *destinations)], [], NOON)


# --- nobody takes work up ----------------------------------------------------------------------------------------
def test_jobs_that_wait_while_no_worker_runs_are_told(catalog: Catalog) -> None:
    """`whyray intake` alone took studies in, their jobs stayed queued, and nothing was stuck."""
    with catalog.begin() as session:
        job(session, study=1)
        job(session, study=2, priority=0, now=NOON + timedelta(seconds=30))
    alive(catalog, "intake", after=timedelta(minutes=2))
    (item,) = told(catalog, after=timedelta(minutes=2))
    assert (item.severity, item.kind, item.count, item.since) == ("error", "jobs.no-worker", 2, NOON)
    assert item.title == "2 jobs wait and no worker runs"
    assert "whyray worker" in item.advice


def test_for_a_minute_a_worker_may_be_about_to_start(catalog: Catalog) -> None:
    with catalog.begin() as session:
        job(session)
    assert told(catalog, after=timedelta(seconds=59)) == []
    assert [item.kind for item in told(catalog, after=timedelta(seconds=61))] == ["jobs.no-worker"]


def test_a_worker_that_lives_is_one_that_takes_jobs_and_a_silent_one_is_none(catalog: Catalog) -> None:
    with catalog.begin() as session:
        job(session)
    alive(catalog, "worker", after=timedelta(minutes=5))
    assert told(catalog, after=timedelta(minutes=5)) == []
    kinds = [item.kind for item in told(catalog, after=timedelta(minutes=7))]
    assert kinds == ["jobs.no-worker", "process.gone"]


def test_results_that_wait_while_no_delivery_role_runs_are_told(catalog: Catalog) -> None:
    deliver(catalog, "pacs", "archive")
    alive(catalog, "worker", after=timedelta(minutes=2))
    (item,) = told(catalog, after=timedelta(minutes=2), destinations=("pacs", "archive"))
    assert (item.severity, item.kind, item.count, item.since) == ("error", "deliveries.no-role", 2, NOON)
    assert item.title == "2 results wait and no delivery role runs"
    assert "whyray delivery" in item.advice
    alive(catalog, "delivery", after=timedelta(minutes=2))
    assert told(catalog, after=timedelta(minutes=2), destinations=("pacs", "archive")) == []


def test_a_result_for_an_unknown_destination_is_told_as_that_alone(catalog: Catalog) -> None:
    deliver(catalog, "pacs", "gone")
    items = told(catalog, after=timedelta(minutes=2))
    assert {(item.kind, item.count) for item in items} == {("deliveries.no-role", 1), ("destination.unknown", 1)}


def test_while_any_role_has_just_started_the_others_may_be_about_to(catalog: Catalog) -> None:
    """A restart with a backlog was an error for as long as the worker loaded."""
    with catalog.begin() as session:
        job(session)
        processes.seen(session, "worker@here:1", "worker", NOON)
        processes.gone(session, "worker@here:1")
        processes.seen(session, "admin@here:2", "admin", NOON + timedelta(minutes=10))
    assert told(catalog, after=timedelta(minutes=10, seconds=20)) == []
    alive(catalog, "admin", after=timedelta(minutes=11))
    assert "jobs.no-worker" in [item.kind for item in told(catalog, after=timedelta(minutes=11))]


# --- senders that are turned away --------------------------------------------------------------------------------
CT_4 = "association from CT_4 at 10.0.0.9 rejected: listener.peers does not name it"


def reject(catalog: Catalog, message: str, *, after: timedelta = timedelta()) -> None:
    with catalog.begin() as session:
        events.record(session, NOON + after, "warning", "intake.rejected", message)


def test_a_sender_that_is_turned_away_is_told_with_the_reason_for_ten_minutes(catalog: Catalog) -> None:
    """The commonest fault at set-up, and nothing was stuck."""
    reject(catalog, CT_4)
    reject(catalog, CT_4 + "; 17 more since the last event", after=timedelta(minutes=2))
    (item,) = told(catalog, after=timedelta(minutes=5))
    assert (item.severity, item.kind) == ("warning", "intake.rejected")
    assert item.title == "Association from CT_4 at 10.0.0.9 rejected within the last 10 minutes"
    assert item.message == "listener.peers does not name it"
    assert "listener.peers" in item.advice
    assert item.since == NOON
    assert told(catalog, after=timedelta(minutes=13)) == []


@pytest.mark.parametrize(
    ("message", "title", "advice"),
    [
        (
            "association from CT_4 at 10.0.0.9 rejected: it called 'WHYRAI', but this is 'WHYRAY'",
            "Association from CT_4 at 10.0.0.9 rejected within the last 10 minutes",
            "listener.ae_title",
        ),
        (
            "connection from 10.0.0.9 closed: listener.peers allows nobody to call from there",
            "Connection from 10.0.0.9 closed within the last 10 minutes",
            "listener.peers",
        ),
        (
            "DICOMweb request from somebody at fe80::1 rejected: a bearer token of listener.dicomweb is needed",
            "DICOMweb request from somebody at fe80::1 rejected within the last 10 minutes",
            "whyray account token",
        ),
    ],
)
def test_each_way_to_be_turned_away_has_its_words(catalog: Catalog, message: str, title: str, advice: str) -> None:
    reject(catalog, message)
    (item,) = told(catalog, after=timedelta(minutes=1))
    assert item.title == title
    assert item.message == message.partition(": ")[2]
    assert advice in item.advice


@pytest.mark.parametrize(
    ("reason", "advice", "not_advised"),
    [
        ("its calling AE title is empty", "an AE title of its own", "token"),
        ("bit 0 of its protocol version is not set (PS3.8 9.3.2)", "Find out what it is", "listener.peers"),
        ("listener.peers does not name it", "listener.peers", "token"),
        ("listener.peers does not allow it to call from 10.0.0.9", "listener.peers", "token"),
        ("listener.peers wants it to come by TLS", "by TLS", "token"),
        ("7 associations are open, as many as listener.limits allows", "the limit that is named", "listener.peers"),
        ("its connection was closed meanwhile", "its own log", "listener.peers"),
        ("STOW-RS has been taken out of the configuration", "by C-STORE", "token"),
        ("without tokens, only direct clients on this machine may send", "api_tokens: true", "listener.peers"),
        ("too many wrong tokens: wait a minute", "a minute after", "token add"),
        ("the token ct3 1a2b has not the scope stow", "--scope stow", "listener.peers"),
        ("a bearer token of listener.dicomweb is needed", "api_tokens: true", "listener.peers"),
    ],
)
def test_the_advice_helps_against_the_reason(catalog: Catalog, reason: str, advice: str, not_advised: str) -> None:
    reject(catalog, f"association from CT_4 at 10.0.0.9 rejected: {reason}")
    (item,) = told(catalog, after=timedelta(minutes=1))
    assert advice in item.advice
    assert not_advised not in item.advice


def test_many_that_are_turned_away_do_not_fill_the_overview(catalog: Catalog) -> None:
    for number in range(30):
        reject(catalog, f"association from A{number} at 10.0.0.{number} rejected: listener.peers does not name it")
    items = told(catalog, after=timedelta(minutes=1))
    assert len(items) == 6
    assert items[-1].title == "25 more senders were turned away within the last 10 minutes"


# --- API tokens that end -----------------------------------------------------------------------------------------
@pytest.fixture
def set_clock(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Lets the catalog's clock say so long after noon."""
    return lambda after: monkeypatch.setattr(catalog, "clock", lambda: NOON + after)


def token(catalog: Catalog, name: str, *, days: float) -> str:
    with catalog.begin() as session:
        _, text = api_tokens.add(session, name, ["read"], NOON + timedelta(days=days), NOON, actor="test")
    return text


@pytest.mark.parametrize(("days", "title"), [(14, "14 days"), (13.5, "14 days"), (1, "1 day"), (0.2, "1 day")])
def test_a_token_that_ends_soon_is_told(catalog: Catalog, days: float, title: str) -> None:
    """After 90 days no study came by STOW-RS any more, or no alert, and nobody had been told."""
    token(catalog, "prometheus", days=days)
    (item,) = told(catalog, after=timedelta())
    assert (item.severity, item.kind) == ("warning", "token.ending")
    assert item.title == f"The API token “prometheus” ends in {title}"
    assert "whyray account token add" in item.advice


def test_a_token_that_is_good_for_longer_or_revoked_is_no_matter(catalog: Catalog) -> None:
    token(catalog, "long", days=14.1)
    token(catalog, "revoked", days=3)
    with catalog.begin() as session:
        api_tokens.revoke(session, "revoked", NOON, actor="test")
    assert told(catalog, after=timedelta()) == []


def test_a_token_that_ended_while_it_was_in_use_is_told_for_four_weeks(
    catalog: Catalog, set_clock: Callable[[timedelta], None]
) -> None:
    text = token(catalog, "modality", days=90)
    ends = timedelta(days=90)
    set_clock(ends - timedelta(days=3))
    assert api_tokens.admitted(catalog, text) is not None
    (item,) = told(catalog, after=ends + timedelta(hours=1))
    assert (item.severity, item.kind, item.since) == ("error", "token.ended", NOON + ends)
    assert item.title == "The API token “modality” has ended"
    assert told(catalog, after=ends + timedelta(days=26)) == []
    assert "whyray account token revoke modality" in item.advice
    with catalog.begin() as session:
        api_tokens.revoke(session, "modality", NOON + ends, actor="test")
    assert told(catalog, after=ends + timedelta(hours=1)) == []


def test_a_token_that_ended_unused_or_has_a_successor_of_its_name_is_not_told(
    catalog: Catalog, set_clock: Callable[[timedelta], None]
) -> None:
    token(catalog, "unused", days=20)
    text = token(catalog, "renewed", days=20)
    set_clock(timedelta(days=19))
    assert api_tokens.admitted(catalog, text) is not None
    after = timedelta(days=21)
    assert [item.title for item in told(catalog, after=after)] == ["The API token “renewed” has ended"]
    with catalog.begin() as session:
        api_tokens.add(session, "renewed", ["read"], NOON + timedelta(days=90), NOON + after, actor="test")
    assert told(catalog, after=after) == []


def test_the_use_of_a_token_is_noted_once_a_day_and_a_catalog_that_takes_nothing_lets_in_all_the_same(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, set_clock: Callable[[timedelta], None]
) -> None:
    text = token(catalog, "robot", days=20)

    def last_used() -> datetime | None:
        with catalog.read() as session:
            return api_tokens.every(session)[0].last_used_at

    assert last_used() is None
    for hours, noted in ((1, 1), (2, 1), (24, 1), (25, 25)):
        set_clock(timedelta(hours=hours))
        assert api_tokens.admitted(catalog, text) is not None
        assert last_used() == NOON + timedelta(hours=noted)

    def full() -> None:
        raise OperationalError("UPDATE", {}, Exception("database or disk is full"))

    monkeypatch.setattr(catalog, "begin", full)
    set_clock(timedelta(days=3))
    assert api_tokens.admitted(catalog, text) is not None
    set_clock(timedelta(days=30))
    assert api_tokens.admitted(catalog, text) is None
