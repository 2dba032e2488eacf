"""Lists of the admin page read what they show: by an index, never by sorting or reading a table whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from admin.scene import Scene

LISTS = [
    "jobs",
    "jobs?sort=created",
    "jobs?state=failed",
    "jobs?destination=pacs",
    "deliveries",
    "deliveries?state=failed",
    "deliveries?destination=pacs",
    "results",
    "events",
    "studies",
]


@contextmanager
def asked(scene: Scene) -> Iterator[list[tuple[str, Any]]]:
    """What the catalog is asked meanwhile: statements with their parameters."""
    statements: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    event.listen(scene.catalog.engine, "before_cursor_execute", keep)
    try:
        yield statements
    finally:
        event.remove(scene.catalog.engine, "before_cursor_execute", keep)


def plans(scene: Scene, statements: list[tuple[str, Any]]) -> list[str]:
    with scene.catalog.engine.connect() as connection:
        return [
            row[-1]
            for statement, parameters in statements
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


@pytest.mark.parametrize("path", LISTS)
def test_a_list_is_sorted_by_an_index(scene: Scene, client: TestClient, path: str) -> None:
    with asked(scene) as statements:
        assert client.get(f"/api/v1/{path}").json()["items"]
    steps = plans(scene, [(statement, values) for statement, values in statements if "LIMIT" in statement])
    if "deliveries?destination" not in path:  # few of one destination are sorted, where its index finds them
        assert [step for step in steps if "FOR ORDER BY" in step] == []
    assert [step for step in plans(scene, statements) if step in ("SCAN jobs", "SCAN deliveries")] == []


def test_the_overview_reads_no_job_and_no_delivery_whole(scene: Scene, client: TestClient) -> None:
    with asked(scene) as statements:
        assert client.get("/api/v1/overview").status_code == 200
    assert [step for step in plans(scene, statements) if step in ("SCAN jobs", "SCAN deliveries")] == []
