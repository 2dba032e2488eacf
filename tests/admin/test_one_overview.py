"""The page, its API and `whyray status` tell the same of an installation: it is counted in one place."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from admin.scene import Scene
from cli.conftest import Cli, cli
from whyray.catalog import Announcement, Delivery, DeliveryState, JobState, announcements
from whyray.config import ResultKind

__all__ = ["cli"]


def test_status_tells_what_the_page_tells_of_work_that_is_stuck(scene: Scene, client: TestClient, cli: Cli) -> None:
    shown = client.get("/api/v1/overview").json()
    config = scene.folder / "whyray.yaml"
    config.write_text(f"state: {scene.folder}\n" + CONFIG_WITHOUT_RESEARCH)
    said = cli("status", "--json", "--config", config)
    told = json.loads(said.out)
    assert said.code == 1, "its roles have been silent since that afternoon"

    about_work = ("jobs.failed", "jobs.waiting", "deliveries.failed", "deliveries.waiting")
    titles = {item["title"]: item["advice"] for item in shown["attention"] if item["kind"] in about_work}
    assert len(titles) >= 4
    assert titles.items() <= {item["title"]: item["advice"] for item in told["attention"]}.items()
    kinds = {item["kind"] for item in told["attention"]}
    assert {"destination.unknown", "jobs.no-worker"} <= kinds

    counted = {(what, state): number for what, state, number in told["tallies"]}
    assert {state: counted["jobs", state] for state in shown["jobs"]} == shown["jobs"]
    assert {state: counted["studies", state] for state in shown["studies"]} == shown["studies"]
    for destination in shown["deliveries"]:
        name = f"deliveries to {destination['destination']}"
        assert {state: counted[name, state] for state in destination["states"]} == destination["states"]


def test_status_says_in_words_what_failed_and_what_to_do(scene: Scene, cli: Cli) -> None:
    _announcement_that_failed(scene)
    config = scene.folder / "whyray.yaml"
    config.write_text(f"state: {scene.folder}\n" + CONFIG_WITHOUT_RESEARCH)
    said = cli("status", "--config", config).everything
    assert re.search("1 job of route “head CT” failed: PackageError \\(began .* ago\\): study", said)
    told = (
        "1 announcement of results at pacs failed: PeerUnreachable \\(began .* ago\\): RIS is off What to do: Start it."
    )
    assert re.search(told, said)


def a_catalog(folder: Path, content: bytes | None) -> Path:
    """A configuration whose catalog has this content; its path."""
    config = folder / "whyray.yaml"
    config.write_text(f"state: {folder}\n" + CONFIG_WITHOUT_RESEARCH)
    if content is not None:
        (folder / "catalog.sqlite").write_bytes(content)
    return config


@pytest.mark.parametrize("content", [b"SQLite format 3\0" + bytes(range(256)) * 64, b"no database " * 400])
def test_status_says_of_a_damaged_catalog_that_it_is_damaged(tmp_path: Path, cli: Cli, content: bytes) -> None:
    """It said that the server should be looked at."""
    said = cli("status", "--config", a_catalog(tmp_path, content))
    said.refused("CatalogDamaged: ", "restore the last backup")


@pytest.mark.parametrize(
    ("refusal", "name", "told"),
    [
        ("database or disk is full", "SQLITE_FULL", ("ResourceExhausted: ", "the disk of the catalog is full")),
        ("disk I/O error", "SQLITE_IOERR_SHMSIZE", ("ResourceExhausted: ", "the disk of the catalog is full")),
        ("unable to open database file", "SQLITE_CANTOPEN", ("PeerUnreachable: ", "owns the state folder")),
    ],
)
def test_status_says_what_keeps_the_catalog_from_being_read(
    scene: Scene, cli: Cli, monkeypatch: pytest.MonkeyPatch, refusal: str, name: str, told: tuple[str, ...]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError(refusal)
        error.sqlite_errorname = name
        raise OperationalError("PRAGMA", {}, error)

    monkeypatch.setattr("whyray.catalog.is_newest", refuse)
    cli("status", "--config", a_catalog(scene.folder, None)).refused(*told)


def test_status_says_of_a_catalog_of_an_earlier_version_that_serve_brings_it_up(tmp_path: Path, cli: Cli) -> None:
    config = a_catalog(tmp_path, None)
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('0001')")
        connection.commit()
    said = cli("status", "--config", config)
    said.refused("PeerUnreachable: the catalog can't be read: OperationalError", "`whyray serve` of this version")


def _announcement_that_failed(scene: Scene) -> None:
    with scene.catalog.begin() as session:
        (sent,) = session.query(Delivery).filter_by(destination="pacs", state=DeliveryState.SENT)
        announcements.gather(session, sent, "2.25.5", scene.now)
        session.flush()
        session.execute(
            update(Announcement).values(
                state=DeliveryState.FAILED,
                error_code="PeerUnreachable",
                error_message="RIS is off",
                error_advice="Start it.",
            )
        )


def test_the_page_offers_as_filters_every_value_that_the_service_knows(client: TestClient) -> None:
    offered = client.get("/api/v1/choices").json()
    assert set(offered["result_kinds"]) == set(get_args(ResultKind)) >= {"blend", "gsps"}
    assert offered["job_states"] == [state.value for state in JobState]
    for kind in offered["result_kinds"]:
        assert client.get("/api/v1/results", params={"kind": kind}).status_code == 200
    for state in offered["study_states"]:
        assert client.get("/api/v1/studies", params={"state": state}).status_code == 200
    for grade in offered["grades"]:
        assert client.get("/api/v1/results", params={"grade": grade}).status_code == 200


CONFIG_WITHOUT_RESEARCH = "destinations: {pacs: {ae_title: PACS_MAIN, host: 127.0.0.1, port: 104}}\n"
