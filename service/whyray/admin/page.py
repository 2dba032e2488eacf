"""The web page, the log-in form and the API reference: server-rendered, without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.templating import Jinja2Templates

import whyray
from whyray.admin.backend import Actor, Using
from whyray.admin.guard import COOKIE, address_of, too_many_guesses
from whyray.admin.sessions import LASTING, Sessions, user_of
from whyray.admin.settings import AdminSettings
from whyray.base.given_secrets import holder_of
from whyray.base.guess_brake import GuessBrake
from whyray.catalog import events

_HERE = Path(__file__).parent
_VIEWS = (
    ("overview", "Overview"),
    ("studies", "Studies"),
    ("jobs", "Jobs"),
    ("results", "Results"),
    ("deliveries", "Deliveries"),
    ("events", "Events"),
    ("routes", "Routes"),
    ("packages", "Packages"),
    ("methods", "Methods"),
    ("destinations", "Destinations"),
    ("feedback", "Feedback"),
    ("drift", "Drift"),
    ("reader-studies", "Reader studies"),
)


def router(
    settings: Callable[[], AdminSettings],
    sessions: Sessions,
    brake: GuessBrake,
    failed: Callable[[str, str], None],
) -> APIRouter:
    """The pages."""
    pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    templates = Jinja2Templates(directory=_HERE / "templates")
    templates.env.globals.update(version=whyray.__version__)

    @pages.get("/")
    def index(request: Request, actor: Actor) -> Response:
        """The shell of the live page."""
        local = settings().local_only
        return templates.TemplateResponse(request, "index.html", {"views": _VIEWS, "actor": actor, "local": local})

    @pages.get("/reading")
    def reading(request: Request, actor: Actor) -> Response:
        """The form of reader studies."""
        local = settings().local_only
        only = actor in settings().readers
        return templates.TemplateResponse(request, "reading.html", {"actor": actor, "local": local, "only": only})

    @pages.get("/api/docs")
    def reference(request: Request) -> Response:
        """The API reference, from the OpenAPI description."""
        schema: dict[str, Any] = request.app.openapi()
        return templates.TemplateResponse(request, "reference.html", {"schema": schema, "groups": _by_tag(schema)})

    @pages.get("/login")
    def form(request: Request, next: str = "/") -> Response:
        """The log-in form."""
        if settings().local_only:
            return RedirectResponse("/", 303)
        return _form(request, next)

    @pages.post("/login")
    def log_in(
        request: Request,
        backend: Using,
        password: Annotated[str, Form()],
        user: Annotated[str, Form()] = "",
        next: Annotated[str, Form()] = "/",
    ) -> Response:
        """Open a session for a user and password, or for a token."""
        address, known = address_of(request), settings()
        # by account too, from wherever it is guessed at; what stands in the form may be a password, and is not kept
        counted_by = (address, f"account {user}") if user in known.logins else (address,)
        if brake.blocked(*counted_by):
            return too_many_guesses()
        actor = user_of(user, password, known.logins) or holder_of(password, known.tokens)
        if actor is None:
            brake.failed(*counted_by)
            failed(address, f"a password for {user}" if user in known.logins else "a password for no account")
            return _form(request, next, failed=True)
        with backend.catalog.begin() as session:
            events.record(session, backend.catalog.clock(), "info", "admin.login", f"from {address}", actor=actor)
        response = RedirectResponse(_local_path(next), 303)
        response.set_cookie(
            COOKIE,
            sessions.start(actor, password),
            max_age=int(LASTING.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    @pages.post("/logout")
    def log_out(request: Request) -> Response:
        """Close the session."""
        sessions.end(request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    def _form(request: Request, following: str, *, failed: bool = False) -> Response:
        context = {"next": _local_path(following), "failed": failed, "with_users": bool(settings().logins)}
        return templates.TemplateResponse(request, "login.html", context, status_code=401 if failed else 200)

    return pages


def _local_path(path: str) -> str:
    # '//host' and '/\host' are other sites to a browser
    return path if path.startswith("/") and path[1:2] not in ("/", "\\") else "/"


def _by_tag(schema: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in schema["tags"]}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            for tag in operation["tags"]:
                groups[tag].append({"path": path, "method": method.upper(), **operation})
    return groups
