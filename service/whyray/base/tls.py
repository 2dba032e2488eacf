"""TLS for DICOM and the web by the Best Current Practice 195 (PS3.15 annexes B.9 and B.12): TLS 1.2 and 1.3 alone.

Contexts are made anew when one of their files has changed, so that a certificate is renewed without a restart.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from whyray.base.errors import ConfigError

_ADVICE = "It has to be a PEM file that this user may read; a key has to belong to its certificate."
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL"
"""For TLS 1.2: forward secrecy and authenticated encryption; those of TLS 1.3 are all so."""


def server_context(
    certificate: Path, key: Path, *, authorities: Path | None = None, revoked: Path | None = None
) -> ssl.SSLContext:
    """What a listener needs.

    Parameters
    ----------
    certificate, key
        PEM files of the certificate chain, own certificate first, and of its private key.
    authorities
        PEM file of those who sign the certificates that peers must show; none is asked for where left out.
    revoked
        PEM file of the authorities' revocation lists; a peer's certificate must be on none, and a list must be there.

    Raises
    ------
    ConfigError
        If a file can't be read or is none of these.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _strict(context)
    _show(context, certificate, key)
    if authorities is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, authorities, revoked)
    return context


def client_context(
    *,
    authorities: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    revoked: Path | None = None,
    check_host: bool = True,
) -> ssl.SSLContext:
    """What a caller needs; `authorities` are the system's where left out. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _strict(context)
    context.check_hostname = check_host
    if authorities is None:
        context.load_default_certs()
        if revoked is not None:
            _revoke(context, revoked)
    else:
        _trust(context, authorities, revoked)
    if certificate is not None:
        _show(context, certificate, key)
    return context


def _strict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    def passphrase() -> bytes:  # without it, OpenSSL asks at the terminal, and whoever needs the context waits
        file = key or certificate
        raise ConfigError(
            f"{file.name} can't be used for TLS: it is encrypted with a passphrase, which nobody is asked for",
            advice=f"Take it off with `openssl pkey -in {file.name} -out plain.key`, name that file as the key, and "
            "let this user alone read it.",
        )

    _loaded(certificate, lambda: context.load_cert_chain(certificate, key, passphrase))


def _trust(context: ssl.SSLContext, authorities: Path, revoked: Path | None) -> None:
    _loaded(authorities, lambda: context.load_verify_locations(authorities))
    if revoked is not None:
        _revoke(context, revoked)


def _revoke(context: ssl.SSLContext, revoked: Path) -> None:
    _loaded(revoked, lambda: context.load_verify_locations(revoked))
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _loaded(file: Path, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"{file.name} can't be used for TLS: {reason}", advice=_ADVICE) from error


class Renewed:
    """A context that is made anew when one of its files has changed; what can't be used leaves the former in force."""

    def __init__(self, make: Callable[[], ssl.SSLContext], files: Sequence[Path | None]) -> None:
        self._make, self._files = make, [file for file in files if file is not None]
        self._lock = threading.Lock()
        self._stamp = self._stamps()
        self._context = make()

    def __call__(self) -> ssl.SSLContext:
        """The context in force."""
        with self._lock:
            stamp = self._stamps()
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._context = self._make()
                except ConfigError:  # half written, or wrong: the next change is looked at again
                    self._stamp = ()
            return self._context

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        stamps = []
        for file in self._files:
            try:
                status = file.stat()
                stamps.append((status.st_mtime_ns, status.st_ino))
            except OSError:
                stamps.append((0, 0))
        return tuple(stamps)
