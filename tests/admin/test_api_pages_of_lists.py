"""Lists of the API are turned page by page, without losing or repeating a row, however many there are."""

from __future__ import annotations

import base64

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.exc import DataError

from admin.scene import Scene
from admin.test_api import get


def test_a_list_is_paged_without_losing_or_repeating_anything(client: TestClient) -> None:
    pages = [get(client, "studies", limit=4, offset=offset, sort="received") for offset in (0, 4, 8)]
    uids = [row["study_instance_uid"] for page in pages for row in page["items"]]
    assert len(uids) == len(set(uids)) == pages[0]["total"] == 10
    times = [row["last_received_at"] for page in pages for row in page["items"]]
    assert times == sorted(times)


def test_pages_are_turned_from_row_to_row_there_and_back(scene: Scene, client: TestClient) -> None:
    for path, filters in (
        ("studies", {}),
        ("studies", {"sort": "received"}),
        ("jobs", {}),
        ("jobs", {"package": "cxr-findings", "sort": "created"}),
        ("jobs", {"state": ["done", "failed", "queued", "running"]}),
        ("deliveries", {"state": ["sent", "committed", "waiting", "queued", "failed"]}),
        ("results", {"superseded": True}),
        ("results", {"grade": "amber"}),
        ("events", {"severity": ["info", "warning", "error"]}),
    ):
        whole = get(client, path, limit=500, **filters)
        assert (whole["next"], whole["previous"]) == (None, None)
        page = get(client, path, limit=3, **filters)
        there, back = [page], []
        while page["next"]:
            page = get(client, path, limit=3, after=page["next"], **filters)
            there.append(page)
        while page["previous"]:
            page = get(client, path, limit=3, after=page["previous"], **filters)
            back.append(page)
        assert [row for page in there for row in page["items"]] == whole["items"], path
        assert [page["items"] for page in back] == [page["items"] for page in there[-2::-1]], path
        assert [page["offset"] for page in there] == [3 * number for number in range(len(there))]
        assert {page["total"] for page in (*there, *back)} == {len(whole["items"])}


@pytest.mark.parametrize(
    "path", ["results?kind=sc", "results?grade=amber", "events?severity=info", "events?kind=admin"]
)
def test_a_list_of_many_streams_is_the_same(client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    of_streams = get(client, path)
    monkeypatch.setattr("whyray.admin.lists._MANY", 0)
    assert get(client, path) == of_streams
    assert of_streams["total"] == len(of_streams["items"]) > 0


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


NO_CURSORS = (
    "",
    "x",
    "ä",
    cursor("null"),
    cursor("[" * 200),
    cursor('[0, 0, "x", "y"]'),
    cursor("[0, 0, 1]"),
    cursor('[0, 0, "0001-01-01T00:00:00+14:00", "x"]'),
    cursor('[0, 0, "2026-01-01T00:00:00+00:00", "\\ud800"]'),
    cursor('[0, 1e999, "2026-01-01T00:00:00+00:00", "x"]'),
)


@pytest.mark.parametrize("after", NO_CURSORS)
def test_a_cursor_of_no_list_is_refused(client: TestClient, after: str) -> None:
    response = client.get("/api/v1/jobs", params={"after": after})
    assert (response.status_code, response.json()["code"]) == (422, "InvalidRequest")


def test_counting_stops_where_the_catalog_has_no_count(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    states = ["done", "failed", "working"]
    whole = get(client, "studies", state=states, limit=2)
    assert (whole["total"] > 3, whole["at_least"], len(whole["items"])) == (True, False, 2)
    monkeypatch.setattr("whyray.admin.lists._MOST_LOOKED_UP", 3)
    answer = get(client, "studies", state=states, limit=2)
    assert (answer["total"], answer["at_least"], answer["items"]) == (3, True, whole["items"])
    assert get(client, "studies", limit=2)["total"] == 10, "known without counting"


@pytest.mark.parametrize("query", ["offset=99999999999999999999", "offset=-1", "limit=0"])
def test_a_number_that_no_database_can_count_to_is_a_malformed_request(client: TestClient, query: str) -> None:
    assert client.get(f"/api/v1/jobs?{query}").status_code == 422


def test_a_value_that_the_database_can_not_look_up_is_a_malformed_request(scene: Scene, client: TestClient) -> None:
    def as_postgresql_would(*_: object) -> None:
        raise DataError("SELECT", {}, Exception("PostgreSQL text fields cannot contain NUL (0x00) bytes"))

    event.listen(scene.catalog.engine, "before_cursor_execute", as_postgresql_would)
    try:
        answer = client.get("/api/v1/jobs?study=%00")
    finally:
        event.remove(scene.catalog.engine, "before_cursor_execute", as_postgresql_would)
    assert (answer.status_code, answer.json()["code"]) == (422, "InvalidRequest")
