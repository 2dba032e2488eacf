"""Connections on which no whole request comes are closed, and no more are open than an endpoint may have."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from certificates import Authority
from peers import until
from whyray.base.http_listener import CountedListener
from whyray.base.http_server import HttpServer, listen, serve_http

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
Serve = Callable[..., HttpServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves paths that answer when `answer` is set: / as it is, /read the length of the body, /stream a piece before.

    /echo/ gives back what comes, piece by piece.
    """
    servers: list[HttpServer] = []

    def start(answer: threading.Event | None = None, **limits: Any) -> HttpServer:
        async def answered() -> None:
            if answer is not None:
                await run_in_threadpool(answer.wait, 20)

        async def post(_: Request) -> PlainTextResponse:
            await answered()
            return PlainTextResponse("here")

        async def read(request: Request) -> PlainTextResponse:
            await answered()
            return PlainTextResponse(f"{len(await request.body())} bytes")

        async def stream(_: Request) -> StreamingResponse:
            async def pieces() -> AsyncIterator[str]:
                yield "first "
                await answered()
                yield "last"

            return StreamingResponse(pieces())

        paths = {"/": post, "/read": read, "/stream": stream}
        routes = [Route(path, asked, methods=["POST"]) for path, asked in paths.items()]
        app = Starlette(routes=[*routes, Mount("/echo", echo)])
        servers.append(serve_http(app, listen("127.0.0.1", 0, what="test"), "127.0.0.1", what="test", **limits))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def tls(tmp_path: Path) -> Callable[[], ssl.SSLContext]:
    certificate, key = Authority(tmp_path, "authority").signs("whyray")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return lambda: context


async def echo(_: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


def head(path: str, length: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n".encode()


def connected(server: HttpServer, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    with suppress(ConnectionError):  # closed already
        connection.sendall(sent)
    return connection


def secured(server: HttpServer, sent: bytes) -> ssl.SSLSocket:
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    connection = client.wrap_socket(connected(server), suppress_ragged_eofs=True)
    connection.sendall(sent)
    return connection


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    got = b""
    with connection, suppress(ConnectionResetError):
        while piece := connection.recv(4096):
            got += piece
    return got


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"X-Long: " + b"x" * 1000], ids=["nothing", "a line", "more"])
def test_a_connection_without_a_whole_request_is_closed(serve: Serve, sent: bytes) -> None:
    assert all_of(connected(serve(request_within=0.2), sent)) == b""


def test_a_connection_whose_request_is_answered_but_never_ends_is_closed(serve: Serve) -> None:
    answered = all_of(connected(serve(request_within=0.2), HEAD + b"Content-Length: 1000\r\n\r\n"))
    assert answered.endswith(b"here")


def test_a_request_that_is_being_answered_may_take_longer(serve: Serve) -> None:
    answer = threading.Event()
    server = serve(answer, request_within=0.2)
    slow = connected(server, HEAD + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
    assert all_of(connected(server)) == b""
    answer.set()
    assert all_of(slow).endswith(b"here")


def test_a_second_request_on_a_connection_has_its_own_time(serve: Serve) -> None:
    connection = connected(serve(request_within=20), HEAD + b"Content-Length: 0\r\n\r\n")
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    connection.sendall(HEAD + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
    assert all_of(connection).endswith(b"here")


def test_one_connection_too_many_is_closed_and_the_next_served_when_another_has_ended(serve: Serve) -> None:
    server = serve(most_connections=2)
    first, second = connected(server, HEAD), connected(server, HEAD)
    request = HEAD + b"Content-Length: 0\r\nConnection: close\r\n\r\n"
    assert all_of(connected(server)) == b""
    first.close()
    until(lambda: all_of(connected(server, request)).endswith(b"here"), what="a connection that is served")
    second.close()


@pytest.mark.parametrize("part", [b"", b"x" * 10], ids=["nothing of it", "a part of it"])
def test_a_connection_on_which_the_body_of_a_request_does_not_come_is_closed(serve: Serve, part: bytes) -> None:
    server = serve(most_connections=1, body_within=lambda: 0.2)
    assert all_of(connected(server, head("/read", 1000) + part)) == b""
    request = head("/read", 4) + b"body"
    until(lambda: all_of(connected(server, request)).endswith(b"4 bytes"), what="its place for another")


def test_the_time_for_a_body_begins_anew_with_each_byte_of_it(serve: Serve) -> None:
    times = iter([20.0, 20.0, 0.2])
    connection = connected(serve(body_within=lambda: next(times)), head("/echo/", 1000))
    connection.sendall(b"a")
    answer = b""
    while not answer.endswith(b"a\r\n"):
        piece = connection.recv(4096)
        assert piece
        answer += piece
    connection.sendall(b"b")
    assert all_of(connection) == b"1\r\nb\r\n"
    assert next(times, None) is None


def test_while_the_application_does_not_read_a_client_is_not_silent(serve: Serve) -> None:
    answer = threading.Event()
    server = serve(answer, body_within=lambda: 0.5)
    much = 200_000  # above what is buffered: reading pauses
    paused = connected(server, head("/read", much) + b"x" * much)
    assert all_of(connected(server, head("/echo/", 1000))).startswith(b"HTTP/1.1 200")  # as long as a silent one lasts
    answer.set()
    assert all_of(paused).endswith(b"200000 bytes")


def test_an_answer_to_a_whole_request_may_take_longer_than_its_body(serve: Serve) -> None:
    answer = threading.Event()
    server = serve(answer, body_within=lambda: 0.5)
    streamed = connected(server, head("/stream", 4) + b"body")
    assert all_of(connected(server, head("/echo/", 1000))).startswith(b"HTTP/1.1 200")
    answer.set()
    assert b"last" in all_of(streamed)


def test_a_body_that_does_not_come_by_tls_ends_its_connection(serve: Serve, tls: Callable[[], ssl.SSLContext]) -> None:
    assert all_of(secured(serve(tls=tls, body_within=lambda: 0.2), head("/read", 1000))) == b""


def test_a_tls_handshake_that_does_not_come_is_ended(serve: Serve, tls: Callable[[], ssl.SSLContext]) -> None:
    assert all_of(connected(serve(tls=tls, handshake_within=0.2))) == b""


def test_connections_count_before_their_tls_handshake(serve: Serve, tls: Callable[[], ssl.SSLContext]) -> None:
    server = serve(tls=tls, most_connections=2, handshake_within=60)
    silent = [connected(server) for _ in range(2)]
    assert all_of(connected(server)) == b""
    silent[0].close()

    def served() -> bool:
        try:
            return all_of(secured(server, head("/read", 4) + b"body")).endswith(b"4 bytes")
        except OSError:
            return False

    until(served, what="a connection that is served")
    silent[1].close()


def test_an_accepted_connection_is_kept_alive_so_that_one_whose_client_vanished_ends() -> None:
    with (
        CountedListener(listen("127.0.0.1", 0, what="test"), "test", 1) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
