"""What is in a connection is received without asking for it first, and never waited for."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from queue import Queue
from types import SimpleNamespace

import pytest

from whyray.intake.upper_layer import UpperLayer


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    peer, here = socket.socketpair()
    here.settimeout(5)
    with peer, here:
        yield peer, here


def _layer(here: socket.socket) -> UpperLayer:
    dul = SimpleNamespace(state_machine=SimpleNamespace(current_state="Sta6"), socket=SimpleNamespace(socket=here))
    return UpperLayer(SimpleNamespace(dul=dul), here, lambda *_: None, lambda *_: None)


def test_of_a_silent_peer_nothing_is_received_and_nobody_waits(ends: tuple[socket.socket, socket.socket]) -> None:
    layer = _layer(ends[1])
    assert not layer.receive_at_once()
    assert not layer.has_bytes


def test_what_is_there_is_received(ends: tuple[socket.socket, socket.socket]) -> None:
    layer = _layer(ends[1])
    ends[0].sendall(b"some bytes")
    assert layer.receive_at_once()
    assert layer.has_bytes


def test_the_peers_end_is_there_to_be_read(ends: tuple[socket.socket, socket.socket]) -> None:
    layer = _layer(ends[1])
    ends[0].close()
    assert layer.receive_at_once()
    assert not layer.has_bytes


def test_a_connection_that_the_peer_resets_is_told_as_that() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        here, _ = server.accept()
    here.settimeout(5)
    words: list[str] = []
    dul = SimpleNamespace(
        state_machine=SimpleNamespace(current_state="Sta6"), socket=SimpleNamespace(socket=here), event_queue=Queue()
    )
    requestor = SimpleNamespace(primitive="A-ASSOCIATE", address_info=None)  # else it is a probe, and no event
    association = SimpleNamespace(
        dul=dul, requestor=requestor, ae=SimpleNamespace(maximum_pdu_size=0), acse_timeout=5, dimse_timeout=5
    )
    layer = UpperLayer(association, here, lambda *told: words.append(told[2]), lambda *_: None)
    with here:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        assert layer.receive_at_once()
        layer.read()
    assert words == ["the connection broke: Connection reset by peer"]
    assert dul.event_queue.get_nowait() == "Evt17"


def test_on_a_connection_that_would_wait_or_is_closed_nothing_is_tried(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    layer = _layer(ends[1])
    ends[1].settimeout(None)
    assert not layer.receive_at_once()
    ends[1].settimeout(5)
    ends[1].close()
    assert not layer.receive_at_once()
