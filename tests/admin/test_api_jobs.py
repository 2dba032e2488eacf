"""Jobs on the API: which there are, what came of them, and moving them."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from admin.scene import FINDINGS, GRADES, Scene
from admin.test_api import JOB_STATES, get
from whyray.catalog import JobState, events, jobs


@pytest.mark.parametrize("state", sorted(JOB_STATES))
def test_jobs_can_be_filtered_by_each_state(client: TestClient, state: str) -> None:
    answer = get(client, "jobs", state=state)
    assert answer["total"] >= 1
    assert {job["state"] for job in answer["items"]} == {state}


def test_jobs_can_be_filtered_by_route_package_and_destination(scene: Scene, client: TestClient) -> None:
    assert get(client, "jobs", route="head CT")["total"] == 1
    assert get(client, "jobs", package="cxr-findings")["total"] == get(client, "jobs")["total"]
    assert get(client, "jobs", package="cxr-findings@2.0.0")["total"] == 0
    assert [job["id"] for job in get(client, "jobs", destination="pacs")["items"]] == [scene.jobs["done"]]
    assert get(client, "jobs", study=scene.uid("failed"))["items"][0]["id"] == scene.jobs["failed"]


def test_what_is_stuck_can_be_filtered_by_its_error(scene: Scene, client: TestClient) -> None:
    assert [job["id"] for job in get(client, "jobs", error="PackageError")["items"]] == [scene.jobs["failed"]]
    assert get(client, "jobs", error="PackageError", route="chest radiographs")["total"] == 0
    assert get(client, "jobs", error="PackageError", state="waiting")["total"] == 0
    assert get(client, "jobs", error="PackageError", study=scene.uid("failed"))["total"] == 1
    assert get(client, "jobs", error="no such")["total"] == 0
    waiting = get(client, "deliveries", error="PeerUnreachable", destination="research")
    assert {delivery["error"]["code"] for delivery in waiting["items"]} == {"PeerUnreachable"}
    assert waiting["total"] == 2
    assert get(client, "deliveries", error="PeerUnreachable", route="head CT")["total"] == 0


def test_a_job_shows_findings_results_and_what_the_pacs_answered(scene: Scene, client: TestClient) -> None:
    job = get(client, f"jobs/{scene.jobs['done']}")
    worst = GRADES | {"Cardiomegaly": "red"}  # its region-shares are withheld
    assert [(finding["name"], finding["probability"], finding["grade"]) for finding in job["findings"]] == [
        (finding["finding"], finding["probability"], worst[finding["finding"]]) for finding in FINDINGS
    ]
    assert [finding["name"] for finding in job["present"]] == ["Cardiomegaly", "Effusion"]
    assert [result["kind"] for result in job["results"]] == ["sc", "sc", "seg", "pm", "sr"]
    effusion = job["results"][1]
    assert (effusion["probability"], effusion["grade"]) == (0.61, "amber")
    (reason,) = effusion["reasons"]
    assert effusion["trust"]["sentence"].startswith("Use with caution: changing the highlighted area")
    assert reason == f"Grad-CAM: {effusion['trust']['sentence']}"
    to_pacs = {delivery["state"]: delivery for result in job["results"] for delivery in result["deliveries"][:1]}
    assert to_pacs["committed"]["status"] == 0xB000
    assert "coercion" in to_pacs["committed"]["status_text"]
    assert to_pacs["waiting"]["status"] == 0xA700
    assert to_pacs["failed"]["error"]["advice"]


def test_a_failed_job_shows_its_error_and_advice(scene: Scene, client: TestClient) -> None:
    job = get(client, f"jobs/{scene.jobs['failed']}")
    assert job["error"]["code"] == "PackageError"
    assert "found no such folder" in job["error"]["message"]
    assert job["error"]["advice"]
    assert job["actions"] == ["retry"]


def test_a_running_job_shows_its_progress(scene: Scene, client: TestClient) -> None:
    job = get(client, f"jobs/{scene.jobs['running']}")
    assert (job["progress"], job["progress_text"], job["worker"]) == (0.45, "grad-cam 6 of 14", "worker-1")


def test_retry_and_cancel_act_on_the_catalog_and_are_events_of_the_actor(scene: Scene, client: TestClient) -> None:
    failed, queued = scene.jobs["failed"], scene.jobs["queued"]
    assert client.post(f"/api/v1/jobs/{failed}/retry").json() == {"id": failed, "state": "queued"}
    assert client.post(f"/api/v1/jobs/{queued}/cancel").json() == {"id": queued, "state": "cancelled"}
    with scene.catalog.read() as session:
        assert jobs.get(session, failed).state is JobState.QUEUED
        assert jobs.get(session, queued).state is JobState.CANCELLED
        (event,) = events.recent(session, job=queued)
    assert (event.kind, event.actor) == ("admin.cancel", "local")


def test_a_bulk_action_moves_all_that_match_and_nothing_else(scene: Scene, client: TestClient) -> None:
    wanted = {"of": "deliveries", "action": "retry", "state": "waiting", "destination": "research"}
    tried = client.post("/api/v1/bulk", json=wanted | {"dry_run": True})
    assert tried.json() == {"matched": 2, "moved": 0, "refused": 0}
    assert client.post("/api/v1/bulk", json=wanted).json() == {"matched": 2, "moved": 2, "refused": 0}
    assert get(client, "deliveries", state="waiting")["total"] == 1  # the one to pacs is left alone
    assert get(client, "events", kind="admin.bulk-retry")["items"][0]["message"].startswith("retry of 2 deliveries")


def test_a_bulk_action_of_one_route_leaves_the_other_routes_alone(scene: Scene, client: TestClient) -> None:
    wanted = {"of": "jobs", "action": "retry", "state": "failed", "route": "chest radiographs"}
    assert client.post("/api/v1/bulk", json=wanted).json()["matched"] == 0
    assert client.post("/api/v1/bulk", json=wanted | {"route": "head CT"}).json()["moved"] == 1


def test_a_job_tells_its_explanations_by_type_with_state_reasons_and_results(scene: Scene, client: TestClient) -> None:
    explanations = {
        (explanation["finding"], explanation["method"]): explanation
        for explanation in get(client, f"jobs/{scene.jobs['done']}")["explanations"]
    }
    shown, withheld, refused = (
        explanations["Cardiomegaly", name] for name in ("grad-cam", "region-shares", "similar-cases")
    )
    assert (shown["type"], shown["state"], shown["grade"]) == ("attribution map", "shown", "green")
    assert scene.uid("done", "result", 0) in shown["results"]
    assert shown["measurements"][0]["name"] == "deletion AUC"
    assert (withheld["type"], withheld["state"], withheld["grade"]) == ("anatomical prior", "withheld", "red")
    assert "shares add up" in withheld["reasons"][0]
    assert withheld["title"] == "Share of each structure"
    assert (shown["trust"]["level"], withheld["trust"]["level"], refused["trust"]) == ("reliable", "not_shown", None)
    assert (refused["type"], refused["state"], refused["reasons"]) == ("case-based", "refused", ["no reference index"])
    finding = next(
        finding
        for finding in get(client, f"jobs/{scene.jobs['done']}")["findings"]
        if finding["name"] == "Cardiomegaly"
    )
    assert finding["grade"] == "red"  # graded by its worst explanation, of whatever type


def test_a_job_tells_what_was_noted_of_its_images_once_with_the_images(scene: Scene, client: TestClient) -> None:
    (note,) = get(client, f"jobs/{scene.jobs['done']}")["notes"]
    assert note["kind"] == "window-replaced"
    assert "Window" in note["detail"]
    assert len(note["images"]) == 1
    assert get(client, f"jobs/{scene.jobs['queued']}")["notes"] == []


def test_a_job_of_before_notes_were_kept_is_still_told(scene: Scene, client: TestClient) -> None:
    job_id = scene.jobs["done"]
    with scene.catalog.begin() as session:
        row = jobs.get(session, job_id)
        row.findings = [{name: value for name, value in finding.items() if name != "notes"} for finding in row.findings]
    job = get(client, f"jobs/{job_id}")
    assert job["notes"] == []
    assert len(job["findings"]) == 3
