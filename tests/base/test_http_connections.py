"""Connections on which no request comes are closed, and no more are open than an endpoint may have."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from peers import until
from whyray.base.http_server import HttpServer, listen, serve_http

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
Serve = Callable[..., HttpServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves one path that answers when `answer` is set."""
    servers: list[HttpServer] = []

    def start(answer: threading.Event | None = None, **limits: float) -> HttpServer:
        async def post(_: Request) -> PlainTextResponse:
            if answer is not None:
                await run_in_threadpool(answer.wait, 20)
            return PlainTextResponse("here")

        app = Starlette(routes=[Route("/", post, methods=["POST"])])
        servers.append(serve_http(app, listen("127.0.0.1", 0, what="test"), "127.0.0.1", what="test", **limits))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def connected(server: HttpServer, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    with suppress(ConnectionError):  # closed already
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
