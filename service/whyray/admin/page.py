"""The web page and the API reference: server-rendered, without anything from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.templating import Jinja2Templates

import whyray
from whyray.admin.backend import IdentityDep
from whyray.admin.identity import LOCAL, Identity
from whyray.base.roles import Right

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
    ("accounts", "Accounts"),
)


_RIGHT_OF_VIEW = {"reader-studies": Right.ADMINISTER, "accounts": Right.ADMINISTER}
"""What a view needs beyond seeing the queue."""


def page_templates() -> Jinja2Templates:
    """The templates of all pages."""
    templates = Jinja2Templates(directory=_HERE / "templates")
    templates.env.globals.update(version=whyray.__version__)
    return templates


def router(templates: Jinja2Templates) -> APIRouter:
    """The pages."""
    pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @pages.get("/")
    def index(request: Request, asking: IdentityDep) -> Response:
        """The shell of the live page."""
        views = [view for view in _VIEWS if asking.may(_RIGHT_OF_VIEW.get(view[0], Right.QUEUE))]
        return templates.TemplateResponse(request, "index.html", {"views": views, **_who(asking)})

    @pages.get("/reading")
    def reading(request: Request, asking: IdentityDep) -> Response:
        """The form of reader studies."""
        only = not asking.may(Right.QUEUE)
        return templates.TemplateResponse(request, "reading.html", {"only": only, **_who(asking)})

    @pages.get("/api/docs")
    def reference(request: Request) -> Response:
        """The API reference, from the OpenAPI description."""
        schema: dict[str, Any] = request.app.openapi()
        return templates.TemplateResponse(request, "reference.html", {"schema": schema, "groups": _by_tag(schema)})

    return pages


def _who(asking: Identity) -> dict[str, Any]:
    return {"asking": asking, "local": asking is LOCAL, "rights": " ".join(sorted(asking.rights))}


def _by_tag(schema: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in schema["tags"]}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            for tag in operation["tags"]:
                groups[tag].append({"path": path, "method": method.upper(), **operation})
    return groups
