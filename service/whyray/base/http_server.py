"""Serving an ASGI application in a thread of a process that does other things too."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn

from whyray.base.errors import ConfigError, ResourceExhausted
from whyray.base.http_connection import BODY_WITHIN, REQUEST_WITHIN, connection_type
from whyray.base.http_listener import HANDSHAKE_WITHIN, MOST_CONNECTIONS, CountedListener, HttpLoop
from whyray.base.local_url import local_url

_BACKLOG = 128
"""So many connections are accepted at once at most, before any of them can be closed again."""
_START_WITHIN = 30.0


@dataclass(frozen=True)
class HttpServer:
    """A running HTTP endpoint. `port` is the one that was really bound."""

    address: str
    port: int
    _server: uvicorn.Server
    _thread: threading.Thread
    _tls: bool = False

    @property
    def url(self) -> str:
        """Where a client on this machine finds it."""
        return local_url(self.address, self.port, tls=self._tls)

    @property
    def alive(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive()

    def stop(self, within: float = 10.0) -> None:
        """Finish the requests that run, then end; `within` seconds at most."""
        self._server.should_exit = True
        self._thread.join(within)


def listen(address: str, port: int, *, what: str) -> socket.socket:
    """A listening socket; port 0 takes a free one. `what` names the endpoint in errors.

    Raises
    ------
    ConfigError
        If the address can't be listened on.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"the {what} can't listen on {address} port {port}: {error.strerror or error}",
            advice="Take another address or port in the configuration, or end what listens there.",
        ) from error
    return listener


def serve_http(
    app: Any,
    listener: socket.socket,
    address: str,
    *,
    what: str,
    tls: Callable[[], ssl.SSLContext] | None = None,
    proxies: Sequence[str] = (),
    handshake_within: float = HANDSHAKE_WITHIN,
    request_within: float = REQUEST_WITHIN,
    body_within: Callable[[], float] = lambda: BODY_WITHIN,
    most_connections: int = MOST_CONNECTIONS,
) -> HttpServer:
    """Serve on a listening socket, which is taken over, and return once connections are accepted.

    Parameters
    ----------
    tls
        Gives the TLS context of a new connection. Without it, put a proxy that speaks TLS in front.
    proxies
        Addresses and networks whose X-Forwarded-For and X-Forwarded-Proto are believed; nobody else's are, not even
        this machine's own.
    handshake_within
        Seconds that a TLS handshake may take.
    request_within
        Seconds after which a connection without a request is closed: the handshake's are not among them.
    body_within
        Gives the seconds after which a connection is aborted whose request's body is awaited and goes on by no byte.
    most_connections
        At a time, counted as they are accepted; one more is closed at once.

    Raises
    ------
    ResourceExhausted
        If it does not start.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        lifespan="off",
        backlog=_BACKLOG,
        http=connection_type(request_within, body_within),
        ws="none",
        timeout_graceful_shutdown=5,
    )
    if tls is not None:
        config.load()
        config.ssl = _renewing(tls)
    server = uvicorn.Server(config)
    port = listener.getsockname()[1]
    counted = CountedListener(listener, what, most_connections)
    thread = threading.Thread(target=_run, args=(server, counted, handshake_within), name=what, daemon=True)
    thread.start()
    _wait_until_started(server, thread, what)
    return HttpServer(address, port, server, thread, tls is not None)


def _run(server: uvicorn.Server, listener: CountedListener, handshake_within: float) -> None:
    with asyncio.Runner(loop_factory=lambda: HttpLoop(handshake_within)) as runner:
        runner.run(server.serve(sockets=[listener]))


def _renewing(tls: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """uvicorn keeps one context for good: this one hands each connection over to the context in force."""
    context = tls()

    def renew(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = tls()

    context.sni_callback = renew
    return context


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread, what: str) -> None:
    pause = threading.Event()
    for _ in range(int(_START_WITHIN / 0.01)):
        if server.started:
            return
        if not thread.is_alive():
            break
        pause.wait(0.01)
    raise ResourceExhausted(f"the {what} did not start", advice="The log says why.")
