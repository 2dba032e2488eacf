"""Coming in and going out by the page: the log-in form, the link of the first start, the log-out."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.templating import Jinja2Templates

from whyray.admin.backend import IdentityDep
from whyray.admin.entrance import Entrance
from whyray.admin.guard import COOKIE, address_of, too_many_guesses
from whyray.admin.sessions import LASTING
from whyray.admin.single_sign_on import SignOn
from whyray.base.errors import ConfigError, WhyRayError


def router(entrance: Entrance, sign_on: SignOn, templates: Jinja2Templates) -> APIRouter:
    """The pages."""
    pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @pages.get("/login")
    def form(request: Request, next: str = "/") -> Response:
        """The log-in form."""
        if entrance.settings().local_only:
            return RedirectResponse("/", 303)
        return _form(request, next)

    @pages.post("/login")
    def log_in(
        request: Request,
        password: Annotated[str, Form()],
        user: Annotated[str, Form()] = "",
        next: Annotated[str, Form()] = "/",
    ) -> Response:
        """Open a session for a user and password, or for a token of the configuration."""
        address, known = address_of(request), entrance.is_known(user)
        # by account too, from wherever it is guessed at; what stands in the form may be a password, and is not kept
        counted_by = (address, f"account {user}") if known else (address,)
        if not entrance.brake.admits(*counted_by):
            return too_many_guesses()
        key = entrance.by_password(user, password, address)
        if key is None:
            entrance.kept_out(f"a password for {user if known else 'no account'} from {address}")
            what = "The user name or the password" if _with_users() else "The access token"
            return _form(request, next, failed=f"{what} is wrong. You are not logged in.")
        entrance.brake.was_right(*counted_by)
        return opened(request, RedirectResponse(_local_path(next), 303), key)

    @pages.get("/welcome")
    def welcome(request: Request, code: str = "") -> Response:
        """Follow a link that lets in."""
        address = address_of(request)
        if entrance.brake.blocked(address):
            return too_many_guesses()
        key = entrance.by_link(code, address)
        if key is not None:
            return opened(request, RedirectResponse("/", 303), key)
        if entrance.makes_first(code):
            return templates.TemplateResponse(request, "welcome.html", {"code": code, "failed": ""})
        return _bad_link(request)

    @pages.post("/welcome")
    def make_first(
        request: Request,
        code: Annotated[str, Form()],
        user: Annotated[str, Form()],
        password: Annotated[str, Form()],
        again: Annotated[str, Form()],
    ) -> Response:
        """Make the first administrator."""
        if entrance.brake.blocked(address_of(request)):
            return too_many_guesses()
        if not entrance.makes_first(code):
            return _bad_link(request)
        try:
            if password != again:
                raise ConfigError("the two passwords differ", advice="Write the same twice.")
            key = entrance.first_administrator(code, user, password, address_of(request))
        except ConfigError as error:
            context = {"code": code, "failed": f"{error.message}. {error.advice}"}
            return templates.TemplateResponse(request, "welcome.html", context, status_code=422)
        return _bad_link(request) if key is None else opened(request, RedirectResponse("/", 303), key)

    @pages.get("/login/oidc")
    def ask_provider(request: Request, next: str = "/") -> Response:
        """To the provider."""
        try:
            where, cookie = sign_on.begin(_local_path(next))
        except WhyRayError as error:
            return _form(request, next, failed=f"{error.message}. {error.advice}", status=502)
        response = RedirectResponse(where, 303)
        # 'lax', for the way back begins at the provider's site; it opens nothing without what is kept here
        sign_on.remember(response, cookie, secure=request.url.scheme == "https")
        return response

    @pages.get("/login/oidc/back")
    def come_back(request: Request, state: str = "", code: str = "", error: str = "", iss: str = "") -> Response:
        """From the provider."""
        address = address_of(request)
        if entrance.brake.blocked(address):
            return too_many_guesses()
        try:
            known = sign_on.complete(request.cookies.get(sign_on.cookie, ""), state, code, error, iss)
        except WhyRayError as refused:
            entrance.brake.failed(address)
            entrance.kept_out(f"by {sign_on.what} from {address}: {refused.message}")
            return _form(request, "/", failed=f"{refused.message}. {refused.advice}", status=403)
        entrance.came_in(known.identity, f"by {sign_on.what}, subject {known.subject}, from {address}")
        key = entrance.sessions.start(
            known.identity, "oidc", known.stamp, lasting=known.lasting, id_token=known.id_token
        )
        # a page of our own in between: a redirect that began at the provider would not carry the strict cookie
        response = templates.TemplateResponse(request, "onward.html", {"where": known.following, "words": "Logged in."})
        sign_on.forget(response)
        return opened(request, response, key, known.lasting)

    @pages.post("/logout")
    def log_out(request: Request, asking: IdentityDep) -> Response:
        """Close the session, at the provider too."""
        key = request.cookies.get(COOKIE, "")
        session = entrance.sessions.find(key)
        entrance.sessions.end(key)
        entrance.went_out(asking.name)
        elsewhere = None if session is None else sign_on.end_of(session.id_token)
        response: Response = RedirectResponse("/login", 303)
        if elsewhere is not None:
            # a form may lead to our own pages alone
            response = templates.TemplateResponse(request, "onward.html", {"where": elsewhere, "words": "Logged out."})
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    def _with_users() -> bool:
        settings = entrance.settings()
        return bool(settings.logins) or not settings.tokens or entrance.has_accounts()

    def _bad_link(request: Request) -> Response:
        entrance.brake.failed(address_of(request))
        entrance.kept_out(f"a link that is not good from {address_of(request)}")
        words = (
            "This link was used, is too old, or never was. `whyray account add` makes an account on the command line."
        )
        return _form(request, "/", failed=words, status=403)

    def _form(request: Request, following: str, *, failed: str = "", status: int = 401) -> Response:
        settings = entrance.settings()
        context = {
            "next": _local_path(following),
            "failed": failed,
            "with_token": bool(settings.tokens),
            "with_users": _with_users(),
            "oidc": settings.oidc,
            "nobody": entrance.has_nobody(),
        }
        return templates.TemplateResponse(request, "login.html", context, status_code=status if failed else 200)

    return pages


def opened(request: Request, response: Response, key: str, lasting: timedelta = LASTING) -> Response:
    """The response with the cookie of a session."""
    response.set_cookie(
        COOKIE,
        key,
        max_age=int(lasting.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


def _local_path(path: str) -> str:
    # '//host' and '/\host' are other sites to a browser, also with a tab or line break in between
    return path if path.isprintable() and path.startswith("/") and path[1:2] not in ("/", "\\") else "/"
