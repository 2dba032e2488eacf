"""The admin page while storage is away: it is where that is looked up, and it failed with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from admin.scene import Scene


@pytest.fixture
def disk(scene: Scene) -> Iterator[Path]:
    """Where the storage lies meanwhile; its folder is empty, as one is on which a disk is to be mounted."""
    root = scene.storage.root
    disk = root.with_name("disk")
    root.rename(disk)
    root.mkdir()
    yield disk
    if disk.exists():
        put_back(scene, disk)


def put_back(scene: Scene, disk: Path) -> None:
    scene.storage.root.rmdir()
    disk.rename(scene.storage.root)


def test_the_overview_says_that_it_is_away_and_tells_the_rest(scene: Scene, client: TestClient, disk: Path) -> None:
    answer = client.get("/api/v1/overview")
    assert answer.status_code == 200
    overview = answer.json()
    (away,) = [item for item in overview["attention"] if item["kind"] == "storage.away"]
    assert away["severity"] == "error"
    assert away["message"] == f"storage at {scene.storage.root} is not there"
    assert "mounted" in away["advice"]
    assert overview["storage_free_bytes"] == 0
    assert overview["jobs"]
    assert not client.get("/readyz").json()["storage"]
    put_back(scene, disk)
    again = client.get("/api/v1/overview").json()
    assert "storage.away" not in [item["kind"] for item in again["attention"]]
    assert client.get("/readyz").json()["storage"]


@pytest.mark.usefixtures("disk")
def test_metrics_go_on_so_that_somebody_is_alarmed(client: TestClient) -> None:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert "whyray_storage_free_bytes 0.0" in answer.text


def test_a_folder_that_can_t_be_written_is_told(
    scene: Scene, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    attention = client.get("/api/v1/overview").json()["attention"]
    (away,) = [item for item in attention if item["kind"] == "storage.away"]
    assert away["message"].endswith("its rights were changed, or it is mounted read-only")
