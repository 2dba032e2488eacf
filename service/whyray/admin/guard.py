"""The gate in front of every request: host name, origin, who asks, what they may do; and the headers of responses.

Who asks is known by `Authorization: Bearer …` or by the session's cookie; with `local_access`, by being on this
machine. What an operation needs is written in `whyray.admin.operations`; what is not there is closed. A page of another
site can neither read (DNS rebinding: without a log-in, the Host header must name this machine) nor act (the Origin and
Sec-Fetch-Site headers that browsers send are checked on everything that is not GET or HEAD).
"""

from __future__ import annotations

import ipaddress
import logging
from urllib.parse import quote, urlsplit

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whyray.admin.entrance import Entrance
from whyray.admin.identity import LOCAL, Identity
from whyray.admin.operations import Needed, needed
from whyray.admin.problems import problem
from whyray.base.outage_log import OutageLog
from whyray.base.roles import Right
from whyray.catalog import audit

COOKIE = "whyray_session"
_PROBES = ("/healthz", "/readyz")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_log = logging.getLogger(__name__)

_CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


class Guard:
    """ASGI middleware; puts who is asking into `scope['state']['identity']`."""

    def __init__(self, app: ASGIApp, entrance: Entrance) -> None:
        self._app, self._entrance = app, entrance
        self._asking = OutageLog(_log, "looking up who asks")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it here."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _protect(MutableHeaders(scope=message), scope["path"])
            await send(message)

        request = Request(scope)
        audit.acting_from.set(address_of(request))
        refusal = await run_in_threadpool(self._refusal, request)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        path, wanted = request.scope["path"], needed(request.scope)
        if path in _PROBES and wanted.open:
            return None
        if request.method not in _SAFE_METHODS and _from_elsewhere(request):
            return problem(
                403, "CrossSiteRefused", "the request came from a page of another site", "Act on the admin page itself."
            )
        if self._entrance.settings().local_only:
            refusal = _not_local(request)
            request.state.identity = LOCAL
            return refusal or self._not_allowed(request, LOCAL, wanted)
        try:
            identity = self._who(request)
        except SQLAlchemyError as error:
            typed = self._asking.failed(error)
            return problem(503, typed.code, typed.message, typed.advice)
        self._asking.well()
        if isinstance(identity, Response):
            return identity
        if identity is not None:
            request.state.identity = identity
            return self._not_allowed(request, identity, wanted)
        if wanted.open:
            return None
        if _is_browser(request):
            return RedirectResponse(f"/login?next={quote(path)}", 303)
        return problem(
            401,
            "LoginRequired",
            "no valid access token or session",
            "Log in at /login, or send 'Authorization: Bearer TOKEN'.",
            {"WWW-Authenticate": 'Bearer realm="WhyRay"'},
        )

    def _not_allowed(self, request: Request, identity: Identity, wanted: Needed) -> Response | None:
        refusal = _not_allowed(request, identity, wanted)
        if refusal is not None and refusal.status_code == 403:
            self._entrance.went_too_far(identity, _lacking(identity, wanted), address_of(request))
        return refusal

    def _who(self, request: Request) -> Identity | Response | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return self._entrance.by_cookie(request.cookies.get(COOKIE, ""))
        identity = self._entrance.by_bearer(token.strip())
        if identity is None:  # the right one passes, whoever else guesses from the same address
            address, brake = address_of(request), self._entrance.brake
            if brake.blocked(address):
                return too_many_guesses()
            brake.failed(address)
            self._entrance.kept_out(f"a bearer token from {address}")
        return identity


def _not_allowed(request: Request, identity: Identity, wanted: Needed) -> Response | None:
    """What somebody is told who may not do this; None if they may."""
    if wanted.rights and all(identity.may(right) for right in wanted.rights):
        return None
    if identity.may(Right.QUEUE) and not wanted.rights:
        advice = "See the API reference at /api/docs."
        if wanted.other_methods:
            return problem(405, "HttpError", "Method Not Allowed", advice, {"Allow": ", ".join(wanted.other_methods)})
        return problem(404, "HttpError", "Not Found", advice)
    if identity.may(Right.READING) and not identity.may(Right.QUEUE):
        if _is_browser(request):
            return RedirectResponse("/reading", 303)
        return problem(
            403,
            "ReadersOnly",
            "readers see their reader studies and nothing else",
            "Go to /reading, or log in as another.",
        )
    return problem(
        403,
        "RoleRefused",
        f"{identity.kind} has not the right that this needs: {_lacking(identity, wanted)}",
        "docs/security.md says which role or scope may do what; ask an administrator for it.",
    )


def _lacking(identity: Identity, wanted: Needed) -> str:
    """The rights that it would take."""
    return ", ".join(sorted(right for right in wanted.rights if not identity.may(right))) or Right.QUEUE


def _is_browser(request: Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def address_of(request: Request) -> str:
    """The peer's IP address; forwarding headers count where the configuration names the proxy that may set them."""
    return request.client.host if request.client is not None else "unknown"


def _not_local(request: Request) -> Response | None:
    name = urlsplit("//" + request.headers.get("host", "")).hostname or ""
    if name not in _LOOPBACK_NAMES:
        return problem(
            403,
            "HostRefused",
            "without a log-in, this endpoint is known under the names of this machine alone",
            "Ask for localhost, or take local_access out of the admin section and log in.",
        )
    proxied = any(name in request.headers for name in _PROXY_HEADERS)
    if request.client is None or proxied or not _is_loopback(request.client.host):
        return problem(
            403,
            "LocalOnly",
            "with local_access, only direct clients on this machine are let in",
            "Take local_access out of the admin section, then log in.",
        )
    return None


def too_many_guesses() -> Response:
    """The answer to an address that has sent too many wrong tokens."""
    return problem(
        429, "TooManyGuesses", "too many wrong tokens from this address", "Wait a minute.", {"Retry-After": "60"}
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _from_elsewhere(request: Request) -> bool:
    headers = request.headers
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def _protect(headers: MutableHeaders, path: str) -> None:
    headers["Content-Security-Policy"] = _CONTENT_SECURITY
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    # 'no-referrer' would make browsers send 'Origin: null' with the log-in form
    headers["Referrer-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers.setdefault("Cache-Control", "no-cache" if path.startswith("/static/") else "no-store")
