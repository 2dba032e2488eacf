"""Peers that break the rules of PS3.7 and PS3.8: what is borne, what is refused, and what leaves an event."""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from pydicom.uid import CTImageStorage, MRImageStorage
from pynetdicom.association import Association

from intake.conftest import Running
from intake.raw import (
    ABORTED,
    ACCEPTED,
    MAXIMUM,
    REJECTED,
    RELEASED,
    USER,
    RawPeer,
    Request,
    command,
    context,
    elements,
    item,
    pdu,
    results,
    value,
)
from intake.scu import encode, small, uid
from peers import echoes, until
from whyray.config import Peer

Listen = Callable[..., Running]
CT = CTImageStorage.encode()


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> object:
    """Nothing that a peer sends may write a traceback, or end a thread."""
    caplog.set_level(logging.DEBUG)
    yield
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


def message(number: int, **options: object) -> bytes:
    return command(CT + b"\0" * (len(CT) % 2), uid("1", number).encode(), **options)  # type: ignore[arg-type]


def stores(peer: RawPeer, number: int = 1) -> bool:
    """Whether an instance is taken on this association, and it can be released."""
    return peer.store(message(number), encode(small(number))) == 0 and peer.release() == RELEASED


def aborted(running: Running, words: str, who: str = "RAW") -> None:
    """Wait for the event that names peer and reason."""
    wanted = f"association from {who} at 127.0.0.1 ended: "
    until(
        lambda: [e for e in running.events("intake.aborted") if e.message.startswith(wanted) and words in e.message],
        what=f"the event that says {words}: {[event.message for event in running.events('intake.aborted')]}",
    )


# --- association requests --------------------------------------------------------------------------------------------
PEERS = {"RAW": Peer(address=("127.0.0.1",))}


@pytest.mark.parametrize(
    "request_",
    [
        Request(called=b"WHYRAY".ljust(16, b"\0")),
        Request(calling=b"RAW".ljust(16, b"\0")),
        Request(called=b"WHYRAY\0".ljust(16), calling=b"RAW\0rubbish".ljust(16, b"\0")),
        Request(called=b"  WHYRAY".ljust(16)),
        Request(version=3),
        Request(version=0xFFFF),
        Request(user=(*USER, item(0x5A, b"new"))),
        Request(user=(item(0xFF, b""), *USER, item(0x00, b"x"), item(0x59, b"\0\0"))),
        Request(before=item(0x70, b"new"), after=item(0x21, b"x")),
        Request(contexts=(context(1, CT, item(0x41, b"new")), item(0x22, b"\1\0\0\0"))),
        Request(user=()),
        Request(user=(item(0x52, b"1.2"),)),
        Request(user=(item(0x51, b"\1"), item(0x52, b"1.2\0"), item(0x55, b"V" * 40))),
        Request(user=(*USER, MAXIMUM, item(0x55, "Gerät".encode("latin-1")))),
        Request(
            user=(*USER, item(0x53, b"\0"), item(0x54, b"\0\5x"), item(0x56, b"\0\xff1"), item(0x58, b"\1\0\0\x40x"))
        ),
        Request(application=b""),
        Request(application=item(0x10, b"1.2.840.10008.3.1.1.1\0")),
        Request(contexts=(context(1, CT + b"\0"),)),
        Request(contexts=(context(1), context(1, MRImageStorage.encode()))),
        Request(contexts=(context(1), context(2, MRImageStorage.encode()), item(0x20, b"\5"))),
    ],
    ids=lambda _: "",
)
def test_a_request_whose_oddities_the_standard_has_ignored_is_served(listen: Listen, request_: Request) -> None:
    running = listen(peers=PEERS)
    with RawPeer(running.port) as peer:
        kind, body = peer.associate(request_)
        assert (kind, results(body)[1]) == (ACCEPTED, 0)
        assert stores(peer)
    until(lambda: running.scp.associations == 0)
    assert running.events("intake.aborted") == running.events("intake.rejected") == []


@pytest.mark.parametrize(
    ("odd", "result"),
    [
        (context(3, b""), 3),
        (context(3, b"1." + b"2" * 80), 3),
        (context(3, b"no uid"), 3),
        (context(3, b"\xff\xfe"), 3),
        (item(0x20, b"\3\0\0\0"), 3),
        (item(0x20, b"\3\0\0\0" + item(0x30, CT)), 4),
        (item(0x20, b"\3\0\0\0" + item(0x30, CT) + item(0x40, b"1." + b"2" * 80)), 4),
    ],
)
def test_an_odd_presentation_context_is_refused_and_takes_no_other_with_it(
    listen: Listen, odd: bytes, result: int
) -> None:
    with RawPeer(listen().port) as peer:
        kind, body = peer.associate(Request(contexts=(context(1, MRImageStorage.encode()), odd, context(5))))
        assert kind == ACCEPTED
        assert results(body)[3] == result or (result == 4 and results(body)[3] == 0)
        assert (results(body)[1], results(body)[5]) == (0, 0)


@pytest.mark.parametrize(
    ("request_", "reason", "words"),
    [
        (Request(called=bytes(16)), 7, "it called '(none)'"),
        (Request(called=b" " * 16), 7, "it called '(none)'"),
        (Request(called="WHYRÄY".encode("latin-1").ljust(16)), 7, "it called 'WHYR?Y'"),
        (Request(called=b"WHY\nRAY".ljust(16)), 7, "it called 'WHY?RAY'"),
        (Request(calling=bytes(16)), 3, "its calling AE title is empty"),
        (Request(calling=b" " * 16), 3, "its calling AE title is empty"),
        (Request(version=2), 2, "protocol version"),
        (Request(version=0), 2, "protocol version"),
    ],
    ids=lambda _: "",
)
def test_a_request_that_names_nobody_is_rejected_with_a_reason_and_an_event(
    listen: Listen, request_: Request, reason: int, words: str
) -> None:
    running = listen()
    with RawPeer(running.port) as peer:
        kind, body = peer.associate(request_)
        assert (kind, body[3]) == (REJECTED, reason)
    until(lambda: [event for event in running.events("intake.rejected") if words in event.message], what=words)


@pytest.mark.parametrize(
    ("sent", "who", "words"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "unknown", "no DICOM"),
        (bytes(range(8, 200)), "unknown", "no DICOM"),
        (pdu(1, b"too short"), "unknown", "too short"),
        (Request(after=b"\x20\0").encoded(), "RAW", "ends within the head of an item"),
        (Request(after=b"\x20\0\xff\xffx").encoded(), "RAW", "longer than what holds it"),
        (Request(user=(b"\x51\0\xff\xff",)).encoded(), "RAW", "longer than what holds it"),
        (Request(contexts=(item(0x20, b"\1\0\0\0\x30\0\xff\0x"),)).encoded(), "RAW", "longer than what holds it"),
        (pdu(4, value(b"x", 3)), "unknown", "out of turn: P-DATA-TF"),
        (pdu(5, bytes(4)), "unknown", "out of turn: A-RELEASE-RQ"),
        (pdu(2, bytes(68)), "unknown", "out of turn: A-ASSOCIATE-AC"),
        (Request().encoded()[:50], "unknown", "in the middle of a PDU"),
        (pdu(7, bytes(4)), "unknown", "the peer aborted it"),
    ],
    ids=lambda _: "",
)
def test_what_is_no_association_request_is_closed_and_leaves_an_event(
    listen: Listen, sent: bytes, who: str, words: str
) -> None:
    running = listen()
    with RawPeer(running.port) as peer:
        peer.send(sent)
        peer.connection.shutdown(socket.SHUT_WR)
        assert peer.answer()[0] in (0, ABORTED)
    aborted(running, words, who)
    assert echoes(running.port, "WHYRAY")


@pytest.mark.parametrize("established", [False, True])
def test_what_is_no_dicom_is_answered_with_a_few_aborts_at_most(listen: Listen, established: bool) -> None:
    running = listen()
    with RawPeer(running.port) as peer:
        if established:
            assert peer.associate()[0] == ACCEPTED
        peer.send(b"GET / ")
        answers = [peer.answer()[0]]
        while answers[-1] == ABORTED and len(answers) < 10:
            answers.append(peer.answer()[0])
        assert answers[-1] == 0, f"closed, not {len(answers)} answers"
    aborted(running, "no DICOM", "RAW" if established else "unknown")


def test_a_peer_that_asks_for_nothing_is_given_up_with_an_event(listen: Listen) -> None:
    running = listen(limits={"acse_timeout": timedelta(seconds=0.3)})
    with RawPeer(running.port) as peer:
        assert peer.answer()[0] == 0
    aborted(running, "no association was requested", "unknown")


@pytest.mark.parametrize("leaves", ["closes", "resets"])
def test_a_probe_that_connects_and_leaves_is_no_event(listen: Listen, leaves: str) -> None:
    running = listen()
    for _ in range(3):
        with RawPeer(running.port) as peer:
            if leaves == "resets":
                reset(peer.connection)
    assert echoes(running.port, "WHYRAY")
    until(lambda: threads_of_associations() == 0)
    assert running.events("intake.aborted") == []


def test_a_peer_that_resets_the_connection_within_its_request_is_an_event(listen: Listen) -> None:
    running = listen()
    with RawPeer(running.port) as peer:
        peer.send(Request().encoded()[:50])
        until(lambda: threads_of_associations() == 1)
        reset(peer.connection)
    aborted(running, "", "unknown")


def reset(connection: socket.socket) -> None:
    """Close it as load balancers do after a probe: with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def threads_of_associations() -> int:
    return sum(isinstance(thread, Association) for thread in threading.enumerate())


# --- the end of associations -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (pdu(7, b"\0\0\0\0"), "the peer aborted it (by the service user)"),
        (pdu(7, b"\0\0\2\5"), "the peer aborted it (by the service provider)"),
        (b"", "closed the connection without a release"),
        (pdu(4, value(b"x" * 90, 3))[:-20], "in the middle of a PDU"),
        (pdu(9, b"x"), "no DICOM"),
        (pdu(3, b"\0\1\1\1"), "out of turn: A-ASSOCIATE-RJ"),
        (pdu(6, bytes(4)), "out of turn: A-RELEASE-RP"),
        (Request().encoded(), "out of turn: A-ASSOCIATE-RQ"),
        (pdu(4, b"\0\0"), "can't be read"),
        (pdu(4, struct.pack(">IBB", 400, 1, 3) + b"short"), ""),
        (pdu(4, struct.pack(">IB", 1, 1)), "without its control header"),
        (pdu(4, value(b"x", 2)), "a data set without a command"),
        (pdu(4, value(command(), 3, 9)), "presentation context 9"),
        (pdu(4, value(command(), 3) + value(command(), 3)), "its data set was expected"),
        (pdu(4, value(b"not a command", 3)), "a command set"),
        (pdu(4, value(command()[:-3], 3)), "ends within (0000,1000)"),
        (pdu(4, value(b"", 3)), "without Command Field"),
        (pdu(4, value(command(field=None), 3)), "without Command Field"),
        (pdu(4, value(command(field=0x7777), 3)), "7777H"),
        (pdu(4, value(command(message=None), 3)), "(0000,0110)"),
        (pdu(4, value(command(data_set=None), 3)), "without Command Data Set Type"),
        (pdu(4, value(bytes(1 << 16), 1) + value(b"x", 3)), "too long"),
    ],
    ids=lambda _: "",
)
def test_whatever_ends_an_association_leaves_an_event_with_peer_and_reason(
    listen: Listen, sent: bytes, words: str
) -> None:
    running = listen()
    with RawPeer(running.port) as peer:
        assert peer.associate()[0] == ACCEPTED
        peer.send(sent)
        peer.connection.shutdown(socket.SHUT_WR)
        assert peer.answer()[0] in (0, ABORTED)
    aborted(running, words)
    until(lambda: running.scp.associations == 0)
    assert len(running.events("intake.aborted")) == 1
    assert running.files() == []
    with RawPeer(running.port) as peer:
        assert peer.associate()[0] == ACCEPTED
        assert stores(peer)


def test_a_peer_that_falls_silent_leaves_an_event(listen: Listen) -> None:
    running = listen(limits={"network_timeout": timedelta(seconds=0.3)})
    with RawPeer(running.port) as peer:
        assert peer.associate()[0] == ACCEPTED
        assert peer.answer()[0] in (0, ABORTED)
    aborted(running, "silent for listener.limits.network_timeout")


def test_a_peer_that_stops_within_a_pdu_leaves_an_event(listen: Listen) -> None:
    running = listen(limits={"dimse_timeout": timedelta(seconds=0.3)})
    with RawPeer(running.port) as peer:
        assert peer.associate()[0] == ACCEPTED
        peer.send(pdu(4, value(b"x" * 90, 3))[:-20])
        assert peer.answer()[0] in (0, ABORTED)
    aborted(running, "the peer stopped in the middle of a PDU")


@pytest.mark.parametrize("within", ["a PDU", "nothing"])
def test_a_peer_that_is_not_there_any_more_is_not_told_to_have_stopped(
    listen: Listen, within: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own time-out (keep-alive, or unacknowledged data) has the same Python type as a wait of WhyRay's."""
    running = listen()
    readv = os.readv
    gone = False

    def timing_out(number: int, buffers: Sequence[memoryview]) -> int:
        if gone and number == accepted:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        return readv(number, buffers)

    monkeypatch.setattr(os, "readv", timing_out)
    with RawPeer(running.port) as peer:
        assert peer.associate()[0] == ACCEPTED
        (association,) = (thread for thread in threading.enumerate() if isinstance(thread, Association))
        accepted = association.dul.socket.socket.fileno()
        gone = within == "nothing"
        peer.send(pdu(4, value(b"x" * 90, 3))[:-20])
        if within == "a PDU":
            until(lambda: association.upper_layer.has_bytes)  # type: ignore[attr-defined]
            gone = True
            peer.send(b"x")
        assert peer.answer()[0] in (0, ABORTED)
    aborted(running, "the connection broke: Connection timed out")


def test_connections_above_the_limit_leave_an_event(listen: Listen) -> None:
    running = listen(limits={"max_associations": 1})
    peers = [RawPeer(running.port) for _ in range(6)]
    until(lambda: running.events("intake.aborted"))
    assert "4 connections are open" in running.events("intake.aborted")[0].message
    for peer in peers:
        peer.connection.close()


def test_a_released_association_leaves_no_event(listen: Listen) -> None:
    running = listen()
    with RawPeer(running.port) as peer:
        assert peer.associate()[0] == ACCEPTED
        assert stores(peer)
    until(lambda: running.scp.associations == 0)
    assert running.events("intake.aborted") == []


# --- command sets ----------------------------------------------------------------------------------------------------
CLASS = CT + b"\0" * (len(CT) % 2)
ODD_COMMANDS = [
    (command(CLASS, b"1." + b"2" * 64), 0x0117),
    (command(CLASS, b"1." + b"2" * 5000), 0x0117),
    (command(CLASS, b"no uid"), 0x0117),
    (command(CLASS, b"\xff\xfe"), 0x0117),
    (command(CLASS, b""), 0x0117),
    (command(CLASS, None), 0x0117),
    (command(b"1." + b"2" * 64, uid("1", 2).encode()), 0x0122),
    (command(None, uid("1", 2).encode()), 0x0122),
    (command(b"1.2.840.10008.5.1.4.31", uid("1", 2).encode()), 0x0122),
]


@pytest.mark.parametrize(("odd", "status"), ODD_COMMANDS, ids=lambda _: "")
def test_a_c_store_that_names_no_instance_is_answered_with_a_failure_and_the_next_one_is_taken(
    listen: Listen, odd: bytes, status: int
) -> None:
    running = listen()
    with RawPeer(running.port) as peer:
        assert peer.associate()[0] == ACCEPTED
        assert peer.store(message(1), encode(small(1))) == 0
        assert peer.store(odd, encode(small(2))) == status
        assert stores(peer, 3)
    assert [instance.sop_instance_uid for instance in running.instances()] == [uid("1", 1), uid("1", 3)]
    assert len(running.files()) == 2
    (event,) = running.events("intake.invalid-uid" if status == 0x0117 else "intake.class")
    assert f"C-STORE from RAW refused with 0x{status:04X}" in event.message
    assert running.events("intake.aborted") == []


@pytest.mark.parametrize(
    "numbers", [{"priority": None}, {"priority": 9}, {"data_set": 0xFFFF}, {"data_set": 0}], ids=lambda _: ""
)
def test_a_c_store_is_taken_whatever_its_priority(listen: Listen, numbers: dict[str, int | None]) -> None:
    with RawPeer(listen().port) as peer:
        assert peer.associate()[0] == ACCEPTED
        assert peer.store(message(1, **numbers), encode(small(1))) == 0


def test_elements_of_a_command_that_nobody_needs_may_be_anything(listen: Listen) -> None:
    needed: dict[int, bytes | None] = {
        0x0002: CLASS,
        0x0100: b"\1\0",
        0x0110: b"\7\0",
        0x0700: b"\0\0",
        0x0800: b"\1\0",
        0x1000: uid("1", 1).encode(),
    }
    odd = {0x0001: b"old", 0x1030: b"AN AE TITLE THAT IS TOO LONG", 0x1031: b"\1", 0x4000: b"\xff", 0x9999: b""}
    with RawPeer(listen().port) as peer:
        assert peer.associate()[0] == ACCEPTED
        assert peer.store(elements({**needed, **odd}), encode(small(1))) == 0


def test_a_c_store_without_a_data_set_is_refused_and_the_next_one_taken(listen: Listen) -> None:
    running = listen()
    with RawPeer(running.port) as peer:
        assert peer.associate()[0] == ACCEPTED
        peer.send(pdu(4, value(message(1, data_set=0x0101), 3)))
        assert peer.status() == 0xC000
        assert stores(peer, 2)


def test_a_command_in_many_fragments_is_read(listen: Listen) -> None:
    with RawPeer(listen().port) as peer:
        assert peer.associate()[0] == ACCEPTED
        pieces = _pieces(message(1), 5)
        peer.send(pdu(4, b"".join(value(piece, 1) for piece in pieces[:-1]) + value(pieces[-1], 3)))
        data = _pieces(encode(small(1)), 100)
        peer.send(b"".join(pdu(4, value(piece, 0)) for piece in data) + pdu(4, value(b"", 2)))
        assert peer.status() == 0


def _pieces(data: bytes, size: int) -> Sequence[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_no_name_of_a_patient_gets_into_the_event_of_an_association_that_broke(
    listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    running = listen()
    with RawPeer(running.port) as peer:
        assert peer.associate()[0] == ACCEPTED
        peer.send(pdu(4, value(encode(small(1)), 3)))
        assert peer.answer()[0] in (0, ABORTED)
    aborted(running, "a command set")
    assert "Nobody" not in "".join(event.message for event in running.events("intake.aborted")) + caplog.text
