"""URLs of one broker for each way in which WhyRay listens to it."""

from __future__ import annotations

from pathlib import Path

from certificates import Authority
from peers import RedisServer, free_port

WAYS = ("TCP", "unix socket", "library", "TLS")


def url_of(server: RedisServer, way: str, folder: Path) -> str:
    """The URL of a broker that runs, for one of `WAYS`; `folder` is for certificates."""
    if way == "TCP":
        return server.url
    if way == "unix socket":
        return server.socket_url
    if way == "library":
        return f"{server.url}?client_name=delivery"
    authority = Authority(folder / "authority", "authority")
    certificate, key = authority.signs("broker")
    server.options += ("--tls-port", str(port := free_port()), "--tls-auth-clients", "no")
    server.options += ("--tls-ca-cert-file", str(authority.file))
    server.options += ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    server.stop()
    server.start()
    return f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
