"""What is said of a connection that failed: the reason that there was, and the time that it took."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from delivery_site import QUICK
from peers import free_port
from whyray.base.errors import PeerUnreachable
from whyray.config import DicomDestination, DicomWebDestination
from whyray.delivery import Caller, echo
from whyray.delivery.connecting import connection_failure, duration, unanswered


@contextmanager
def listening(then: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port that takes one connection and does this with it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            taken, _ = server.accept()
            with taken:
                then(taken)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def _echoed(port: int) -> str:
    with pytest.raises(PeerUnreachable) as failed:
        echo(DicomDestination(ae_title="AWAY", host="127.0.0.1", port=port, timeouts=QUICK), Caller())
    return failed.value.message


def test_a_refused_connection_is_said_to_be_refused_and_no_time_limit_is_named() -> None:
    said = _echoed(free_port())
    assert "can't be connected to: the connection was refused after" in said
    assert "within" not in said
    assert "10 s" not in said


def test_a_host_name_that_nobody_knows_is_said_to_be_unknown() -> None:
    with pytest.raises(PeerUnreachable, match="its host name can't be resolved"):
        echo(DicomDestination(ae_title="AWAY", host="no-such-host.invalid", timeouts=QUICK), Caller())


def test_a_peer_that_closes_is_told_from_one_that_is_silent() -> None:
    with listening(lambda taken: taken.close()) as port:
        closed = _echoed(port)
    assert "closed the connection" in closed
    assert "did not answer" not in closed
    silent = threading.Event()
    with listening(lambda _: bool(silent.wait(10))) as port:
        waited = _echoed(port)
        silent.set()
    assert "did not answer the association request within" in waited
    assert "closed" not in waited


def test_a_web_service_that_refuses_resets_or_is_unknown_is_told_as_such() -> None:
    def said(url: str) -> str:
        with pytest.raises(PeerUnreachable) as failed:
            echo(DicomWebDestination(url=url), Caller())
        return failed.value.message

    assert "the connection was refused after" in said(f"http://127.0.0.1:{free_port()}")
    assert "its host name can't be resolved" in said("http://no-such-host.invalid")

    def reset(taken: socket.socket) -> None:
        taken.recv(10)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with listening(reset) as port:
        assert "ended the connection after" in said(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "timed out after 10 s"),
        (ConnectionResetError(), "the connection was reset after 10 s"),
        (OSError(113, "No route to host"), "there is no way to that address (No route to host, after 10 s)"),
        (OSError(99, "Cannot assign requested address"), "failed after 10 s (Cannot assign requested address)"),
    ],
)
def test_each_way_that_a_connection_fails_has_words_of_its_own(error: OSError, words: str) -> None:
    assert words in connection_failure(error, 10.0)


def test_a_certificate_that_is_not_trusted_comes_with_what_to_do() -> None:
    import ssl

    cause = ssl.SSLCertVerificationError("unable to get local issuer certificate")
    cause.verify_message = "unable to get local issuer certificate"
    error = httpx.ConnectError("…")
    error.__cause__ = cause
    failure = unanswered("https://pacs", error, 0.2)
    assert "its certificate is not trusted" in failure.message
    assert "ca_file" in failure.advice


def test_times_are_said_as_they_were() -> None:
    assert [duration(seconds) for seconds in (0.0002, 0.004, 0.44, 3.04, 30.2)] == [
        "1 ms",
        "4 ms",
        "0.4 s",
        "3.0 s",
        "30 s",
    ]
