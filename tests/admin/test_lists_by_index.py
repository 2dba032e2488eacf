"""Lists of the admin page read what they show: by an index, never by sorting or reading a table whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, insert, select

from admin.conftest import local_client
from admin.query_plans import asked, plan, read_whole, sorted_for_a_page
from admin.scene import Scene
from catalog.conftest import Postgres
from whyray.catalog import Base, Catalog

LISTS = [
    "studies",
    "studies?sort=received",
    "studies?state=receiving",
    "studies?state=done",
    "jobs",
    "jobs?sort=created",
    "jobs?state=failed",
    "jobs?state=running&state=queued&state=cancelling&limit=8",
    "jobs?route=head%20CT",
    "jobs?route=chest%20radiographs&state=done&sort=created",
    "jobs?package=cxr-findings",
    "jobs?package=cxr-findings@1.0.0&route=chest%20radiographs&state=done",
    "jobs?destination=pacs",
    "jobs?destination=research&state=done&route=chest%20radiographs",
    "jobs?error=PackageError",
    "jobs?error=PackageError&state=failed&route=head%20CT&package=cxr-findings",
    "deliveries",
    "deliveries?state=failed",
    "deliveries?state=failed&state=waiting",
    "deliveries?destination=pacs",
    "deliveries?error=PeerUnreachable",
    "deliveries?error=PeerRefused&state=failed&destination=pacs",
    "deliveries?destination=research&state=waiting",
    "deliveries?route=chest%20radiographs",
    "results",
    "results?pictured=true",
    "results?superseded=true",
    "results?kind=sc",
    "results?grade=amber",
    "results?finding=Effusion",
    "results?kind=sc&finding=Effusion&grade=amber&pictured=true",
    "events",
    "events?kind=admin",
    "events?kind=instance.conflict",
    "events?severity=error",
    "events?actor=admin",
    "events?study={study}",
    "events?job={job}",
]
OF_UID = ["studies?uid=5", "studies?uid=2.25.", "studies?uid={study}", "studies?uid={study}&state=done"]
"""Lists of studies of which a part of the UID is known."""
OF_FEW = ["studies?state=failed", "studies?state=working", "jobs?study={study}", "deliveries?study={study}"]
"""Lists whose few rows are found by an index, and then sorted."""


@pytest.mark.parametrize("path", LISTS)
def test_a_list_is_read_in_its_order(scene: Scene, client: TestClient, path: str) -> None:
    path = path.format(study=scene.uid("conflict"), job=scene.jobs["failed"])
    with asked(scene.catalog.engine) as statements:
        first = client.get(f"/api/v1/{path}{'&' if '?' in path else '?'}limit=1").json()
        assert first["items"]
        if first["next"]:
            with_cursor = f"/api/v1/{path}{'&' if '?' in path else '?'}limit=1&after={first['next']}"
            assert client.get(with_cursor).json()["items"]
    assert sorted_for_a_page(scene.catalog.engine, statements) == []
    assert read_whole(scene.catalog.engine, statements) == []


@pytest.mark.parametrize("path", OF_FEW)
def test_few_rows_are_looked_up_before_they_are_sorted(scene: Scene, client: TestClient, path: str) -> None:
    path = path.format(study=scene.uid("done"))
    with asked(scene.catalog.engine) as statements:
        assert client.get(f"/api/v1/{path}").json()["items"]
    assert read_whole(scene.catalog.engine, statements) == []
    for statement in statements:
        steps = plan(scene.catalog.engine, statement)
        # but for the index of those that are being received, which has no other
        scans = [step for step in steps if re.match(r"SCAN (?!tallies|anon|.*ix_studies_receiving)", step)]
        assert scans == [], statement[0]


def test_studies_in_several_states_are_read_and_counted_alike_in_whatever_order_these_are_named(
    scene: Scene, client: TestClient
) -> None:
    answers = []
    for states in permutations(("failed", "done", "receiving")):
        with asked(scene.catalog.engine) as statements:
            answers.append(client.get("/api/v1/studies", params={"state": states}).json())
        assert read_whole(scene.catalog.engine, statements) == []
    assert answers[0]["items"]
    assert all(answer == answers[0] for answer in answers)
    alone = [client.get("/api/v1/studies", params={"state": state}).json()["total"] for state in states]
    assert answers[0]["total"] == sum(alone)


@pytest.mark.parametrize("path", OF_UID)
def test_a_study_is_found_by_its_uid_without_reading_all_others(scene: Scene, client: TestClient, path: str) -> None:
    with asked(scene.catalog.engine) as statements:
        assert client.get(f"/api/v1/{path.format(study=scene.uid('done'))}").json()["items"]
    assert read_whole(scene.catalog.engine, statements) == []


@pytest.mark.parametrize("path", ["/api/v1/overview", "/metrics", "/api/v1/studies/{study}", "/api/v1/jobs/{job}"])
def test_what_is_asked_again_and_again_reads_no_table_whole(scene: Scene, client: TestClient, path: str) -> None:
    with asked(scene.catalog.engine) as statements:
        answer = client.get(path.format(study=scene.uid("done"), job=scene.jobs["done"]))
        assert answer.status_code == 200
    assert read_whole(scene.catalog.engine, statements) == []


@pytest.mark.parametrize("path", ["jobs", "results?finding=Effusion", "deliveries?state=failed"])
def test_a_list_does_not_read_findings_again(scene: Scene, client: TestClient, path: str) -> None:
    first = client.get(f"/api/v1/{path}").json()
    assert first["items"]
    with asked(scene.catalog.engine) as statements:
        assert client.get(f"/api/v1/{path}").json() == first
    of_ended = [statement for statement, _ in statements if "jobs.findings" in statement]
    assert of_ended == []


@pytest.fixture(scope="module")
def on_postgresql(afternoon: Scene, postgres: Postgres) -> Iterator[Catalog]:
    """The afternoon's rows on PostgreSQL, which takes an index wherever there is one: of few rows it would not."""
    catalog = Catalog(postgres.new_database("lists"), clock=lambda: afternoon.now)
    with afternoon.catalog.engine.connect() as source, catalog.engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            rows = [dict(row._mapping) for row in source.execute(select(table))]
            if rows and table.name not in ("tallies", "installation"):
                connection.execute(insert(table), rows)
    event.listen(catalog.engine, "connect", _by_index)
    catalog.close()
    yield catalog
    catalog.close()


def _by_index(connection: Any, _record: Any) -> None:
    for way in ("seqscan", "bitmapscan", "sort"):
        connection.execute(f"SET enable_{way} TO off")
    connection.commit()


def _asked_of(afternoon: Scene, catalog: Catalog, path: str) -> list[Any]:
    """What PostgreSQL is asked for a list's first page and its second."""
    client = local_client(afternoon, catalog)
    url = path if path.startswith("/") else f"/api/v1/{path}{'&' if '?' in path else '?'}limit=1"
    with asked(catalog.engine) as statements:
        answer = client.get(url.format(study=afternoon.uid("done"), job=afternoon.jobs["done"]))
        assert answer.status_code == 200, answer.text
        if answer.headers["content-type"] == "application/json" and answer.json().get("next"):
            assert client.get(f"{answer.url}&after={answer.json()['next']}").json()["items"]
    return statements


@pytest.mark.parametrize("path", LISTS)
def test_postgresql_reads_a_list_in_its_order(afternoon: Scene, on_postgresql: Catalog, path: str) -> None:
    statements = _asked_of(afternoon, on_postgresql, path)
    assert sorted_for_a_page(on_postgresql.engine, statements) == []
    assert read_whole(on_postgresql.engine, statements) == []


@pytest.mark.parametrize("path", [*OF_UID, *OF_FEW, "overview", "/metrics"])
def test_postgresql_reads_no_table_whole(afternoon: Scene, on_postgresql: Catalog, path: str) -> None:
    assert read_whole(on_postgresql.engine, _asked_of(afternoon, on_postgresql, path)) == []
