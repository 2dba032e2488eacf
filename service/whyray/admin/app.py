"""The admin application: API, page, probes and metrics behind one gate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

import whyray
from whyray.admin import login, metrics, page, problems
from whyray.admin.api import ROUTERS, health
from whyray.admin.api.site import MOST_BYTES
from whyray.admin.backend import Backend
from whyray.admin.conditional import ConditionalJson
from whyray.admin.entrance import Entrance
from whyray.admin.guard import Guard
from whyray.admin.settings import check, settings_of
from whyray.admin.single_sign_on import SignOn
from whyray.admin.site import Actions, ResultStore, site_of
from whyray.base.body_limit import BodyLimit
from whyray.catalog import Catalog
from whyray.config import Config

_DESCRIPTION = """\
What WhyRay does, and what is stuck; the same actions as on the admin page and the command line.

Not for diagnostic use. No answer carries a patient's name or identifier, except the DICOM files themselves.
Log in with `Authorization: Bearer TOKEN`. Errors are problem details (RFC 9457) with `code`, `message` and `advice`.
"""
_TAGS = [
    {"name": "overview", "description": "At a glance: tallies, queue, roles, what needs attention."},
    {"name": "studies", "description": "What came in."},
    {"name": "jobs", "description": "One package applied to one study under one route."},
    {"name": "deliveries", "description": "Results on their way to destinations."},
    {"name": "results", "description": "DICOM objects that jobs made, and their pictures."},
    {"name": "events", "description": "What happened, and who did it."},
    {"name": "site", "description": "Routes, packages and destinations of the configuration in force."},
    {"name": "feedback", "description": "What radiologists say of results."},
    {"name": "drift", "description": "Probabilities, attributions and quality over time."},
    {"name": "reader studies", "description": "Cases read with and without explanation: the form, and its progress."},
    {"name": "accounts", "description": "Who asks, and who may come in."},
    {"name": "health", "description": "Probes and metrics."},
]


_AROUND = 1 << 20
"""Bytes of a body without files, or around them."""


def _largest_body(path: str) -> int:
    """Bytes: files come to the test of routes alone."""
    return MOST_BYTES + _AROUND if path == "/api/v1/routes/test" else _AROUND


def _too_large(most: int) -> ASGIApp:
    return problems.problem(
        413, "BodyTooLarge", f"the body is larger than {most} bytes", "Send less at a time: fewer or smaller files."
    )


def create_app(
    catalog: Catalog,
    storage: ResultStore,
    config_source: Callable[[], Config],
    *,
    actions: Actions | None = None,
) -> FastAPI:
    """The admin application.

    Parameters
    ----------
    storage
        Where results and pictures are read from.
    config_source
        Gives the configuration in force; asked at each request, so that a reload, of secrets too, takes effect.
    actions
        What other rooms can do for an administrator: test routes, ask destinations, list packages.

    Raises
    ------
    ConfigError
        If a token or password is too short.
    """
    check(settings_of(config_source()))
    entrance = Entrance(catalog, lambda: settings_of(config_source()))
    templates = page.page_templates()
    app = FastAPI(
        title="WhyRay admin API",
        version=whyray.__version__,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        openapi_url="/api/v1/openapi.json",
        # FastAPI's own pages load scripts from elsewhere; /api/docs is ours
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[
            Middleware(Guard, entrance=entrance),
            Middleware(BodyLimit, most=_largest_body, refusal=_too_large),
            Middleware(ConditionalJson),
        ],
    )
    backend = Backend(
        catalog=catalog, store=storage, site=lambda: site_of(config_source()), actions=actions if actions else Actions()
    )
    app.state.backend = backend
    app.state.registry = metrics.registry(backend)
    app.state.local_only = lambda: settings_of(config_source()).local_only
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router, prefix="/api/v1", responses=problems.RESPONSES)
    app.include_router(health.router)
    app.include_router(page.router(templates))
    app.include_router(login.router(entrance, SignOn(entrance), templates))
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    return app
