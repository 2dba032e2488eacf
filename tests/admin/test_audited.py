"""Who was given which picture and file, who logged in, and who did what: each exactly once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from admin.conftest import local_client
from admin.scene import Scene, config_of
from admin.test_access import SECURED, TOKEN, log_in
from audit.trail import in_short, trail
from whyray.catalog import DeliveryState, deliveries

Act = Callable[[TestClient, Scene], object]


def pictured(client: TestClient) -> str:
    return str(client.get("/api/v1/results", params={"pictured": True}).json()["items"][0]["sop_instance_uid"])


def failed_job(client: TestClient) -> str:
    return str(client.get("/api/v1/jobs", params={"state": "failed"}).json()["items"][0]["id"])


ACTS: dict[str, tuple[str, Act]] = {
    "a picture": ("view", lambda client, _: client.get(f"/api/v1/results/{pictured(client)}/picture")),
    "a small picture": (
        "view",
        lambda client, _: client.get(f"/api/v1/results/{pictured(client)}/picture", params={"width": 64}),
    ),
    "a file": ("export", lambda client, _: client.get(f"/api/v1/results/{pictured(client)}/dicom")),
    "a retry": ("steering", lambda client, _: client.post(f"/api/v1/jobs/{failed_job(client)}/retry")),
}


@pytest.mark.parametrize("what", ACTS)
def test_what_somebody_does_is_one_message_that_names_them(scene: Scene, client: TestClient, what: str) -> None:
    kind, act = ACTS[what]
    before = len(trail(scene.catalog))
    answer = act(client, scene)
    assert answer.status_code in (200, 204), answer.text  # type: ignore[attr-defined]
    done = trail(scene.catalog)[before:]
    assert in_short(done) == [(kind, 0, "local")]
    assert done[0].participants[0].address == "127.0.0.1"
    if kind != "steering":
        assert done[0].studies[0].uid


def test_many_retried_at_once_are_one_message_each(scene: Scene, client: TestClient) -> None:
    with scene.catalog.read() as session:
        waiting = sum(states.get(DeliveryState.WAITING, 0) for states in deliveries.tally(session).values())
    before = len(trail(scene.catalog))
    wanted = {"action": "retry", "of": "deliveries", "state": "waiting"}
    assert client.post("/api/v1/bulk", json=wanted).json()["moved"] == waiting > 0
    assert in_short(trail(scene.catalog)[before:]) == [("steering", 0, "local")] * waiting


def test_a_log_in_right_and_wrong_and_a_log_out_are_one_message_each(scene: Scene) -> None:
    scene.config = config_of(SECURED, scene.folder, TOKEN=TOKEN, PASSWORD="correct horse battery")
    before = len(trail(scene.catalog))
    with local_client(scene, client=("10.0.0.77", 50000)) as client:
        log_in(client, password="wrong")
        log_in(client)
        client.post("/logout", headers={"Origin": "http://localhost:8080"})
    done = trail(scene.catalog)[before:]
    assert [short[:2] for short in in_short(done)] == [("login", 4), ("login", 0), ("logout", 0)]
    assert [event.participants[0].name for event in done[1:]] == ["ada", "ada"]
    assert {event.participants[0].address for event in done} == {"10.0.0.77"}


def test_what_nobody_was_given_is_not_audited(scene: Scene, client: TestClient) -> None:
    before = len(trail(scene.catalog))
    assert client.get("/api/v1/results/1.2.3/picture").status_code == 404
    assert client.get("/api/v1/results/1.2.3/dicom").status_code == 404
    client.get("/api/v1/studies")
    assert trail(scene.catalog)[before:] == []
