"""Why no connection came about, or why one ended: the words for it, with the time that it really took."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from whyray.base.errors import ConfigError, PeerUnreachable

if TYPE_CHECKING:
    import httpx

_UNROUTED = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)


def duration(seconds: float) -> str:
    """'3 ms', '0.4 s', '10 s'."""
    if seconds < 0.1:
        return f"{max(1.0, seconds * 1000):.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def connection_failure(error: BaseException | None, seconds: float) -> str:
    """What stood in the way of a TCP or TLS connection that was tried for so long."""
    after = f"after {duration(seconds)}"
    if isinstance(error, socket.gaierror):
        return f"its host name can't be resolved ({error.strerror})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed {after} ({error.reason or 'no reason given'})"
    if isinstance(error, TimeoutError):
        return f"timed out {after}"
    if isinstance(error, ConnectionRefusedError):
        return f"the connection was refused {after}; nothing listens there, or a firewall rejects it"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return f"the connection was reset {after}"
    if isinstance(error, OSError) and error.errno in _UNROUTED:
        return f"there is no way to that address ({error.strerror}, {after})"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else None
    return f"the connection failed {after}" + (f" ({reason})" if reason else "")


def calling_context(make: Callable[[], ssl.SSLContext], peer: str) -> ssl.SSLContext:
    """The TLS context to call a peer with; `make` reads its files.

    Raises
    ------
    PeerUnreachable
        If one of them can't be used: it may be so for a moment alone, while a certificate and its key are renewed.
    """
    try:
        return make()
    except ConfigError as error:
        raise PeerUnreachable(f"{peer} can't be connected to: {error.message}", advice=error.advice) from error


class RequestingAE(AE):  # type: ignore[misc]  # pynetdicom has no types
    """An AE that keeps why its connection failed, which pynetdicom only logs."""

    failure: OSError | None = None

    def _create_socket(self, assoc: Association, address: Any, tls_args: Any) -> AssociationSocket:
        made = super()._create_socket(assoc, address, tls_args)
        assert made.socket is not None
        made.socket = _Connecting(self, made.socket)
        return made

    def by_tls(self, context: ssl.SSLContext, host: str) -> tuple[ssl.SSLContext, str]:
        """What pynetdicom takes as `tls_args`."""
        ae = self

        class Shaking(ssl.SSLSocket):
            def connect(self, address: Any, /) -> None:
                try:
                    super().connect(address)
                except OSError as error:
                    ae.failure = error
                    raise

        context.sslsocket_class = Shaking
        return context, host


class _Connecting(socket.socket):
    def __init__(self, ae: RequestingAE, plain: socket.socket) -> None:
        timeout = plain.gettimeout()
        super().__init__(plain.family, plain.type, plain.proto, fileno=plain.detach())
        self.settimeout(timeout)
        self._ae = ae

    def connect(self, address: Any, /) -> None:
        try:
            super().connect(address)
        except OSError as error:
            self._ae.failure = error
            raise


def unanswered(url: str, error: httpx.HTTPError, seconds: float) -> PeerUnreachable:
    """The error that a request without an answer amounts to."""
    import httpx

    advice = None
    cause = next((cause for cause in _causes(error) if isinstance(cause, OSError)), None)
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
        words = connection_failure(TimeoutError() if isinstance(error, httpx.ConnectTimeout) else cause, seconds)
        message = f"{url} can't be connected to: {words}"
        if isinstance(cause, ssl.SSLCertVerificationError):
            advice = "Name the authority that signed its certificate as `ca_file`, and check the host name in the url."
    elif isinstance(error, httpx.TimeoutException):
        message = f"{url} did not answer within {duration(seconds)}"
    elif isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
        message = f"{url} ended the connection after {duration(seconds)}, before it had answered"
    else:
        message = f"{url} could not be asked: {type(error).__name__}"
    return PeerUnreachable(message, advice=advice)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
