"""Serving the admin application, in a thread of a process that does other things too."""

from __future__ import annotations

import ipaddress
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from whyray.errors import ConfigError, ResourceExhausted

_BACKLOG = 128
_START_WITHIN = 30.0


@dataclass(frozen=True)
class AdminServer:
    """A running admin endpoint. `port` is the one that was really bound."""

    address: str
    port: int
    _server: uvicorn.Server
    _thread: threading.Thread

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        anywhere = self.address in ("0.0.0.0", "::")
        host = "127.0.0.1" if anywhere else self.address
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"

    @property
    def alive(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive()

    def stop(self, within: float = 10.0) -> None:
        """Finish the requests that run, then end; `within` seconds at most."""
        self._server.should_exit = True
        self._thread.join(within)


def serve_admin(app: FastAPI, address: str, port: int, *, tls: tuple[Path, Path] | None = None) -> AdminServer:
    """Serve, and return once connections are accepted.

    Parameters
    ----------
    address
        Local IP address or name. Any other than this machine's own needs a token or logins.
    port
        TCP port; 0 takes a free one.
    tls
        PEM files of certificate chain and key. Without them, put a proxy that speaks TLS in front.

    Raises
    ------
    ConfigError
        If the address can't be listened on, or everybody who reaches it would be let in.
    """
    listener = _listen(address, port)
    if app.state.local_only() and not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
        listener.close()
        raise ConfigError(
            f"the admin endpoint on {address} has neither token nor logins",
            advice="Give the admin section a token or logins, or the address 127.0.0.1.",
        )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=5,
        ssl_certfile=None if tls is None else tls[0],
        ssl_keyfile=None if tls is None else tls[1],
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="whyray-admin", daemon=True)
    thread.start()
    _wait_until_started(server, thread)
    return AdminServer(address, listener.getsockname()[1], server, thread)


def _listen(address: str, port: int) -> socket.socket:
    try:
        family, _, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"the admin endpoint can't listen on {address} port {port}: {error.strerror or error}",
            advice="Take another address or port in the admin section, or end what listens there.",
        ) from error
    return listener


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    pause = threading.Event()
    for _ in range(int(_START_WITHIN / 0.01)):
        if server.started:
            return
        if not thread.is_alive():
            break
        pause.wait(0.01)
    raise ResourceExhausted("the admin endpoint did not start", advice="The log says why.")
