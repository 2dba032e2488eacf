"""Nobody shuts the door for others: caps for each peer, a reserve for named ones, and who gives way when it is full."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from intake.conftest import Running, listener_settings
from intake.scu import NoAssociationError, encode, small, uid
from peers import until
from whyray.config import Peer
from whyray.intake.admission import HostNames, rejection
from whyray.intake.door import Caps, Door

Listen = Callable[..., Running]
PACS, STRANGER, OTHER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
OPEN = {"accept_unknown_peers": True, "peers": {"PACS": Peer(address=(PACS,))}}


@dataclass
class Waiting:
    """A connection that has, or has not, asked for an association."""

    address: str
    opened: float
    awaits_request: bool = True
    closed: list[str] = field(default_factory=list)

    def make_room(self, words: str) -> None:
        self.closed.append(words)


def refused(here: str, connections: Sequence[Waiting], **limits: object) -> tuple[str | None, list[Waiting], list[str]]:
    """Why one more from `here` may not be; which connections made room for it; what was told of caps."""
    told: list[str] = []
    settings = listener_settings(limits={"max_associations": 2, **limits}, **OPEN)
    words = Door(lambda: settings, HostNames(), Caps(told.append)).refusal(here, connections)
    return words, [connection for connection in connections if connection.closed], told


def test_where_it_is_full_strangers_who_ask_for_nothing_give_way_before_named_peers() -> None:
    named = [Waiting(PACS, 0.0), Waiting(PACS, 1.0)]
    strangers = [Waiting(STRANGER, 2.0), *(Waiting(OTHER, 3.0 + number) for number in range(5))]
    words, closed, told = refused(PACS, [*named, *strangers])
    assert words is None
    assert closed == [strangers[1]], "the oldest of the address with the most"
    assert told == ["8 connections are open, four for each of listener.limits.max_associations"]
    words, closed, _ = refused(STRANGER, [Waiting(PACS, float(number)) for number in range(8)])
    assert (words, closed) == (told[0], []), "a stranger takes no named peer's place"
    at_work = [Waiting(STRANGER, float(number), awaits_request=False) for number in range(8)]
    assert refused(PACS, at_work)[0] == told[0], "no association that is open gives way"


def test_an_address_may_have_its_share_of_connections_and_then_gives_way_to_itself() -> None:
    connections = [Waiting(OTHER, 0.0), *(Waiting(STRANGER, 1.0 + number) for number in range(4))]
    words, closed, told = refused(STRANGER, connections, max_per_address=1)
    assert (words, closed) == (None, [connections[1]])
    assert told == [f"4 connections from {STRANGER} are open, four for each of listener.limits.max_per_address"]
    assert refused(OTHER, [Waiting(STRANGER, float(number)) for number in range(4)])[1:] == ([], [])


def test_a_cap_is_told_when_it_begins_to_strike_and_not_again_until_there_was_room() -> None:
    told: list[str] = []
    caps = Caps(told.append)
    for words in ("first", "second"):
        caps.strike(("address", STRANGER), words)
    caps.strike(("address", OTHER), "another")
    caps.look(("address", STRANGER), 3, 4)
    caps.strike(("address", STRANGER), "a place that is taken at once is no room")
    caps.look(("address", STRANGER), 2, 4)
    caps.strike(("address", STRANGER), "again")
    assert told == ["first", "another", "again"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"calling": "MODALITY", "in_use": 8}, "keeps the other 2 for named peers"),
        ({"calling": "PACS", "in_use": 8}, None),
        ({"calling": "PACS", "in_use": 10}, "as many as listener.limits allows"),
        ({"calling": "PACS", "of_address": 8}, "listener.limits.max_per_address"),
        ({"calling": "PACS", "of_title": 8}, "listener.limits.max_per_ae_title"),
        ({"calling": "PACS", "of_address": 7, "of_title": 7}, None),
    ],
)
def test_an_association_beyond_a_share_is_rejected_for_now(given: dict[str, object], words: str | None) -> None:
    settings = listener_settings(limits={"max_associations": 10}, **OPEN)
    asked = {"called": "WHYRAY", "address": PACS, "in_use": 0, "resolve": HostNames(), **given}
    rejected = rejection(settings, **asked)  # type: ignore[arg-type]
    if words is None:
        assert rejected is None
    else:
        assert rejected is not None
        assert (rejected.result, rejected.source, rejected.reason) == (2, 3, 2)
        assert words in rejected.words


def test_an_address_that_no_peer_has_is_turned_away_before_it_asks(listen: Listen) -> None:
    running = listen(peers={"PACS": Peer(address=(PACS,))})
    with socket.create_connection(("127.0.0.1", running.port), source_address=(STRANGER, 0)) as connection:
        connection.settimeout(20)
        assert connection.recv(1) == b""
    until(lambda: running.events("intake.rejected"))
    assert f"connection from {STRANGER} closed" in running.events("intake.rejected")[0].message
    with running.sender(calling="PACS") as sender:
        assert sender.store(encode(small(1)), uid("1", 1)).Status == 0


def test_a_crowd_of_silent_strangers_keeps_no_named_peer_out_and_is_told_once(listen: Listen) -> None:
    running = listen(limits={"max_associations": 3, "acse_timeout": timedelta(minutes=5)}, **OPEN)
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(
                socket.create_connection(("127.0.0.1", running.port), source_address=(STRANGER, 0))
            ).sendall(b"\x01")
        for number in range(3):
            with running.sender(calling="PACS") as sender:
                assert sender.store(encode(small(number)), uid("1", number)).Status == 0
        until(lambda: running.events("intake.limit"))
    said = [event.message for event in running.events("intake.limit")]
    assert said == list(dict.fromkeys(said)), "on change only"


def test_one_ae_title_leaves_associations_for_others(listen: Listen) -> None:
    running = listen(limits={"max_associations": 3, "max_per_ae_title": 1, "max_per_address": 3})
    with running.sender(calling="GREEDY"):
        for _ in range(2):
            with pytest.raises(NoAssociationError):
                running.sender(calling="GREEDY")
        with running.sender(calling="MODEST") as sender:
            assert sender.store(encode(small(1)), uid("1", 1)).Status == 0
    (told,) = until(lambda: running.events("intake.limit"))
    assert told.message == ("1 associations of GREEDY are open, as many as listener.limits.max_per_ae_title allows")
