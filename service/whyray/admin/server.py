"""Serving the admin application."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Sequence

from fastapi import FastAPI

from whyray.base.errors import ConfigError
from whyray.base.http_server import HttpServer, listen, serve_http

_WHAT = "admin endpoint"
AdminServer = HttpServer


def serve_admin(
    app: FastAPI,
    address: str,
    port: int,
    *,
    tls: Callable[[], ssl.SSLContext] | None = None,
    proxies: Sequence[str] = (),
) -> AdminServer:
    """Serve, and return once connections are accepted.

    Parameters
    ----------
    address
        Local IP address or name. With `local_access`, one of this machine's own.
    port
        TCP port; 0 takes a free one.
    tls
        Gives the TLS context of a new connection. Without it, put a proxy that speaks TLS in front.
    proxies
        Whose forwarding headers are believed; see `whyray.base.http_server.serve_http`.

    Raises
    ------
    ConfigError
        If the address can't be listened on, or everybody who reaches it would be let in.
    """
    listener = listen(address, port, what=_WHAT)
    if app.state.local_only() and not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
        listener.close()
        raise ConfigError(
            f"the admin endpoint on {address} would be open to everybody: it asks for neither token nor logins",
            advice="Take local_access out of the admin section, or give it the address 127.0.0.1.",
        )
    return serve_http(app, listener, address, what=_WHAT, tls=tls, proxies=proxies)
