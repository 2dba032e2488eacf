"""The gate in front of every request: host name, origin, token or session; and the headers of every response.

With tokens or logins: `Authorization: Bearer …`, or the session cookie of the log-in form. Without: only direct clients
on this machine. A page of another site can neither read (DNS rebinding: without a log-in, the Host header must name
this machine) nor act (the Origin and Sec-Fetch-Site headers that browsers send are checked on everything that is not
GET or HEAD).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from whyray.admin.problems import problem
from whyray.admin.sessions import Sessions
from whyray.admin.settings import AdminSettings
from whyray.base.given_secrets import holder_of
from whyray.base.guess_brake import GuessBrake

COOKIE = "whyray_session"
_OPEN = ("/healthz", "/readyz", "/login")
_OF_READERS = ("/reading", "/api/v1/reading", "/static", "/login", "/logout")
"""All that somebody with the role of a reader can reach, with what lies below."""
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

_CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


class Guard:
    """ASGI middleware; puts the name of who is asking into `scope['state']['actor']`."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Callable[[], AdminSettings],
        sessions: Sessions,
        brake: GuessBrake,
        failed: Callable[[str, str], None],
    ) -> None:
        self._app = app
        self._settings = settings
        self._sessions = sessions
        self._brake = brake
        self._failed = failed

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
        refusal = self._refusal(request)
        if getattr(request.state, "guessed", False):
            await run_in_threadpool(self._failed, address_of(request), "a bearer token")
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        path = request.url.path
        if path in ("/healthz", "/readyz"):
            return None
        settings = self._settings()
        if request.method not in _SAFE_METHODS and _from_elsewhere(request):
            return problem(
                403, "CrossSiteRefused", "the request came from a page of another site", "Act on the admin page itself."
            )
        return _admit_local(request) if settings.local_only else self._admit_holder(request, path, settings)

    def _admit_holder(self, request: Request, path: str, settings: AdminSettings) -> Response | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            address = address_of(request)
            actor = holder_of(token.strip(), settings.tokens)
            if actor is None:  # the right one passes, whoever else guesses from the same address
                if self._brake.blocked(address):
                    return too_many_guesses()
                self._brake.failed(address)
                request.state.guessed = True
        else:
            actor = self._sessions.actor(request.cookies.get(COOKIE, ""), settings.secrets_of)
        if actor is not None:
            request.state.actor = actor
            return _keep_to_readings(request, path) if actor in settings.readers else None
        if path in _OPEN or path.startswith("/static/"):
            return None
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(f"/login?next={quote(path)}", 303)
        return problem(
            401,
            "LoginRequired",
            "no valid access token or session",
            "Log in at /login, or send 'Authorization: Bearer TOKEN'.",
            {"WWW-Authenticate": 'Bearer realm="WhyRay"'},
        )


def address_of(request: Request) -> str:
    """The peer's IP address; forwarding headers count where the configuration names the proxy that may set them."""
    return request.client.host if request.client is not None else "unknown"


def _keep_to_readings(request: Request, path: str) -> Response | None:
    if any(path == prefix or path.startswith(f"{prefix}/") for prefix in _OF_READERS):
        return None
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/reading", 303)
    return problem(
        403, "ReadersOnly", "readers see their reader studies and nothing else", "Go to /reading, or log in as another."
    )


def _admit_local(request: Request) -> Response | None:
    name = urlsplit("//" + request.headers.get("host", "")).hostname or ""
    if name not in _LOOPBACK_NAMES:
        return problem(
            403,
            "HostRefused",
            "without a log-in, this endpoint is known under the names of this machine alone",
            "Ask for localhost, or configure a token or logins in the admin section.",
        )
    proxied = any(name in request.headers for name in _PROXY_HEADERS)
    if request.client is None or proxied or not _is_loopback(request.client.host):
        return problem(
            403,
            "LocalOnly",
            "neither token nor logins are configured, so that only direct clients on this machine are let in",
            "Configure a token or logins in the admin section, then log in.",
        )
    request.state.actor = "local"
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
