"""Where a browser on this machine finds what listens here."""

from __future__ import annotations

_ALL_ADDRESSES = ("0.0.0.0", "::")  # nosec B104  # told apart, not listened on


def local_url(address: str, port: int, *, tls: bool) -> str:
    """The URL of what listens on this address and port, 'http://127.0.0.1:8080/', for a client on this machine.

    Parameters
    ----------
    address
        The IP address or name that is listened on; what listens on all is found on 127.0.0.1.
    """
    host = "127.0.0.1" if address in _ALL_ADDRESSES else address
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"
