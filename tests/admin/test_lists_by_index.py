"""Lists of the admin page read what they show: by an index, never by sorting or reading a table whole."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from admin.query_plans import asked, plan, read_whole, sorted_for_a_page
from admin.scene import Scene

LISTS = [
    "studies",
    "studies?sort=received",
    "studies?state=receiving",
    "studies?state=done",
    "studies?uid=5",
    "jobs",
    "jobs?sort=created",
    "jobs?state=failed",
    "jobs?state=running&state=queued&state=cancelling&limit=8",
    "jobs?route=head%20CT",
    "jobs?route=chest%20radiographs&state=done&sort=created",
    "jobs?package=cxr-findings",
    "jobs?package=cxr-findings@1.0.0&route=chest%20radiographs&state=done",
    "jobs?destination=pacs",
    "deliveries",
    "deliveries?state=failed",
    "deliveries?state=failed&state=waiting",
    "deliveries?destination=pacs",
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
        assert [step for step in steps if re.match(r"SCAN (?!tallies|anon)", step)] == [], statement[0]


@pytest.mark.parametrize("path", ["/api/v1/overview", "/metrics", "/api/v1/studies/{study}", "/api/v1/jobs/{job}"])
def test_what_is_asked_again_and_again_reads_no_table_whole(scene: Scene, client: TestClient, path: str) -> None:
    with asked(scene.catalog.engine) as statements:
        found = client.get(path.format(study=scene.uid("done"), job=scene.jobs["done"]))
        assert found.status_code == 200
    assert read_whole(scene.catalog.engine, statements) == []


@pytest.mark.parametrize("path", ["jobs", "results?finding=Effusion", "deliveries?state=failed"])
def test_a_list_does_not_read_findings_again(scene: Scene, client: TestClient, path: str) -> None:
    first = client.get(f"/api/v1/{path}").json()
    assert first["items"]
    with asked(scene.catalog.engine) as statements:
        assert client.get(f"/api/v1/{path}").json() == first
    of_ended = [statement for statement, _ in statements if "jobs.findings" in statement]
    assert len(of_ended) <= (path == "jobs"), "of jobs that have not ended, which have none, alone"
