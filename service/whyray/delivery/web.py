"""DICOMweb over HTTP: the client with its credentials, and what HTTP statuses mean for a delivery."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from whyray.base.errors import PeerBusy, PeerRefused, PeerUnreachable, WhyRayError
from whyray.base.sources import system_clock
from whyray.base.tls import client_context
from whyray.config import DicomWebDestination, Worklist
from whyray.delivery.connecting import calling_context

if TYPE_CHECKING:
    import httpx

_CONNECT_TIMEOUT = 10.0

_LONGEST_WAIT = 7 * 24 * 3600
"""Seconds that a service may ask for; whoever tries again has a bound of its own below it."""
_MOST_DIGITS = 9

_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_PERMANENT_5XX = {HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED}
_GATEWAY = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
_NO_ENTRY = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}


def web_client(destination: DicomWebDestination | Worklist) -> httpx.Client:
    """A client for one service: base URL, token or log-in, certificates trusted and shown, time-outs. Close it.

    It follows no redirect, so that token and log-in go nowhere else.

    Raises
    ------
    PeerUnreachable
        If the file of the authorities, of the certificate or of its key can't be used.
    """
    import httpx

    headers = {"Authorization": f"Bearer {destination.token.reveal()}"} if destination.token is not None else {}
    login = destination.login
    return httpx.Client(
        base_url=destination.url.rstrip("/"),
        headers=headers,
        auth=None if login is None else httpx.BasicAuth(login.user, login.password.reveal()),
        verify=calling_context(partial(_context, destination), destination.url),
        timeout=httpx.Timeout(destination.timeout.total_seconds(), connect=_CONNECT_TIMEOUT),
        trust_env=True,
    )


def _context(destination: DicomWebDestination | Worklist) -> ssl.SSLContext:
    """Whom to trust: the system's authorities, which httpx would not ask, or those named; and what to show."""
    return client_context(authorities=destination.ca_file, certificate=destination.certificate, key=destination.key)


def words_of(status: int) -> str:
    """'HTTP 503 Service Unavailable'."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def asked_wait(headers: httpx.Headers) -> timedelta | None:
    """How long a response asks to be left alone (Retry-After, RFC 9110 section 10.2.3); None where it does not."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return timedelta(seconds=min(int(value[:_MOST_DIGITS]), _LONGEST_WAIT))
    then, said = _http_date(value), _http_date(headers.get("date", ""))
    if then is None:
        return None
    # by the service's own clock, where it says what that shows
    wait = (then - (said or system_clock())).total_seconds()
    return timedelta(seconds=min(max(wait, 0.0), _LONGEST_WAIT))


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def error_of_response(status: int, url: str, *, not_within: timedelta | None = None) -> WhyRayError:
    """The error that an HTTP status from 300 on amounts to: 408, 425, 429 and most 5xx may pass, the rest not."""
    message = f"{url} answered {words_of(status)}"
    if status in _NO_ENTRY:
        return PeerRefused(message, advice="Correct the destination's token or login; then retry.")
    if status in _GATEWAY:
        return PeerUnreachable(message, not_within=not_within)
    if status in _BUSY or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _PERMANENT_5XX):
        return PeerBusy(message, not_within=not_within)
    if status < HTTPStatus.BAD_REQUEST:
        return PeerRefused(message, advice="The url leads elsewhere, and is not followed; configure the final one.")
    return PeerRefused(
        message, advice="Check the url, and that the service offers what it is asked for there; then retry."
    )
