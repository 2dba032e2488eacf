"""Roles × operations: docs/security.md says who may do what, and every cell of its table is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import Mount

from admin.conftest import local_client
from admin.scene import CONFIG, Scene, config_of
from whyray.admin import create_app
from whyray.admin.operations import declared
from whyray.base.passwords import hashed
from whyray.base.roles import ROLES, SCOPES
from whyray.catalog import accounts, api_tokens
from whyray_docs.operations import WHO, with_tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"
PASSWORD = "correct horse battery"
HOST = {"client": ("10.0.0.77", 40000), "base_url": "http://whyray.hospital.example"}
CELLS = [
    (operation, dict(zip(WHO, cells.split(" | "), strict=True)))
    for operation, cells in re.findall(r"^\| `((?:GET|POST|DELETE) /[^`]*)` \| (.*) \|$", PAGE.read_text("utf-8"), re.M)
]
"""What the page says: of each operation, who is answered what."""


@pytest.fixture(scope="module")
def people(afternoon: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """An account of each role, called so, and a token of each scope, on one catalog."""
    scene = afternoon.copy(tmp_path_factory.mktemp("people"))
    scene.config = config_of(CONFIG, scene.folder)
    kept = hashed(PASSWORD)
    with scene.catalog.begin() as session:
        for role in ROLES:
            accounts.add(session, role, role, kept, scene.now, actor="test")
    yield scene
    scene.catalog.close()


@pytest.fixture(scope="module")
def app(people: Scene) -> FastAPI:
    # without the tools of other rooms: whom they are for is asked here, not what they do
    return create_app(people.catalog, people.storage, lambda: people.config)


@pytest.fixture(scope="module")
def everybody(people: Scene, app: FastAPI) -> dict[str, TestClient]:
    """By the column of the table: a client that comes in so."""
    clients = {who: TestClient(app, follow_redirects=False, **HOST) for who in WHO}  # type: ignore[arg-type]
    for role in ROLES:
        assert clients[role].post("/login", data={"user": role, "password": PASSWORD}).status_code == 303
    with people.catalog.begin() as session:
        for scope in SCOPES:
            ends = people.now + timedelta(days=1)
            _, text = api_tokens.add(session, scope, [scope], ends, people.now, actor="test")
            clients[f"token {scope}"].headers["Authorization"] = f"Bearer {text}"
    return clients


def test_the_tables_of_the_page_are_those_of_the_code(tmp_path: Path) -> None:
    """If this fails, and the code is right: python -m whyray_docs.operations docs/security.md."""
    page = PAGE.read_text("utf-8")
    assert page == with_tables(page)
    assert [operation for operation, _ in CELLS] == [f"{method} {path}" for method, path, _ in declared()]


def test_every_operation_that_is_served_is_declared_and_every_declared_one_is_served(app: FastAPI) -> None:
    served = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods} | {
        f"GET {route.path}/{{path:path}}" for route in app.routes if isinstance(route, Mount)
    }
    hidden = {
        *("GET /", "GET /reading", "GET /api/docs", "GET /api/v1/openapi.json", "GET /login", "POST /login"),
        *("GET /login/oidc", "GET /login/oidc/back", "GET /welcome", "POST /welcome", "POST /logout"),
    }
    assert {operation for operation, _ in CELLS} == served | hidden


@pytest.mark.parametrize(("operation", "cells"), CELLS, ids=[operation for operation, _ in CELLS])
def test_everybody_is_answered_as_the_table_says(
    people: Scene, everybody: dict[str, TestClient], app: FastAPI, operation: str, cells: dict[str, str]
) -> None:
    method, _, template = operation.partition(" ")
    path = re.sub(r"\{[^}]*\}", "0", template)
    answers = {}
    for who, client in everybody.items():
        if operation == "POST /logout" and who in ROLES:  # its own session is needed by the other operations
            client = TestClient(app, follow_redirects=False, **HOST)  # type: ignore[arg-type]
            client.post("/login", data={"user": who, "password": PASSWORD})
        status = client.request(method, path).status_code
        answers[who] = str(status) if status in (401, 403) else "yes"
        people.now += timedelta(seconds=7)  # a wrong link of /welcome is counted as a guess
    if operation in ("GET /welcome", "POST /welcome", "GET /login/oidc/back"):
        # open, and refused by themselves: there is no such link, no such log-in
        assert set(answers.values()) <= {"403", "yes"}
        assert set(cells.values()) == {"yes"}
    else:
        assert answers == cells


@pytest.mark.parametrize("who", [*ROLES, "token admin"])
@pytest.mark.parametrize("path", ["/nothing", "/api/v1/jobs/", "/api/v1/accounts/ada", "/api/v1/reading-lists"])
def test_what_is_not_declared_is_closed_to_all(everybody: dict[str, TestClient], who: str, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        assert everybody[who].request(method, path).status_code in (403, 404, 405)
    assert everybody["nobody"].get(path).status_code == 401


def test_a_route_that_nobody_declared_is_closed_to_administrators_too(people: Scene) -> None:
    client = local_client(people, **HOST)
    client.app.add_api_route("/api/v1/forgotten", lambda: "told")  # type: ignore[attr-defined]
    assert client.post("/login", data={"user": "administrator", "password": PASSWORD}).status_code == 303
    assert client.get("/api/v1/jobs").status_code == 200
    assert client.get("/api/v1/forgotten").status_code == 404


@pytest.mark.parametrize(
    "host", ["whyray.hospital.example/healthz?", "x/static/", "whyray.hospital.example:80/login#", "healthz"]
)
def test_no_host_header_makes_one_operation_pass_for_another(app: FastAPI, host: str) -> None:
    client = TestClient(app, **HOST)  # type: ignore[arg-type]
    assert client.get("/api/v1/jobs", headers={"Host": host}).status_code == 401


@pytest.mark.parametrize("path", ["/static/..%2fapi/v1/jobs", "/static/../api/v1/jobs", "/healthz/..%2f..%2fmetrics"])
def test_no_detour_of_the_path_opens_what_is_closed(everybody: dict[str, TestClient], path: str) -> None:
    assert everybody["nobody"].get(path).status_code in (401, 404)
